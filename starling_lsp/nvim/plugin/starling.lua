-- Defines Starling's commands, and remembers what is accepted. Loads nothing else until one of them is used.
if vim.g.loaded_starling then
  return
end
vim.g.loaded_starling = true

vim.api.nvim_create_user_command('StarlingWhy', function()
  require('starling.why').show()
end, { desc = 'Why the selected completion item stands where it does' })

vim.api.nvim_create_user_command('StarlingStatus', function()
  require('starling.status').show()
end, { desc = 'What Starling has loaded: servers, ranker, index, model, adapter' })

vim.api.nvim_create_user_command('StarlingRestart', function(given)
  require('starling.restart').run(given.args)
end, { nargs = '?', desc = 'Start the wrapped servers anew: [name of one]' })

vim.api.nvim_create_user_command('StarlingTrain', function(given)
  require('starling.train').run(given.fargs)
end, { nargs = '*', complete = 'dir', desc = 'Train an adapter on a repository: [path] [options of train]' })

vim.api.nvim_create_autocmd('LspAttach', {
  group = vim.api.nvim_create_augroup('starling', {}),
  callback = function(event)
    local client = vim.lsp.get_client_by_id(event.data.client_id)
    if client and client.name == 'starling' then
      require('starling.why').remember(event.buf)
    end
  end,
})
