-- The configuration of a user who follows docs/editors/neovim.md; what a test changes comes by the environment.
vim.opt.runtimepath:append(vim.env.STARLING_RUNTIME)
vim.opt.completeopt = vim.env.COMPLETEOPT or 'menuone,noselect'
vim.o.pumheight = 10 -- the popup fits below the cursor
vim.o.more = false

local name = vim.env.CLIENT or 'starling'
if vim.env.COMMAND then
  vim.lsp.config(name, { cmd = vim.json.decode(vim.env.COMMAND), filetypes = { 'python' }, root_markers = { '.git' } })
end
if vim.env.LAZY then
  vim.lsp.config(name, { capabilities = require('starling').lazy_capabilities() })
end
vim.lsp.enable(name)
if vim.env.BESIDE then
  vim.lsp.config('beside', { cmd = vim.json.decode(vim.env.BESIDE), filetypes = { 'python' }, root_markers = { '.git' } })
  vim.lsp.enable('beside')
end

vim.api.nvim_create_autocmd('LspAttach', {
  callback = function(event)
    vim.lsp.completion.enable(true, event.data.client_id, event.buf, { autotrigger = true })
    vim.api.nvim_echo({ { name .. ' is attached' } }, false, {})
  end,
})
-- How many lists have come, so that a test can tell the list of the last letter from the one before.
vim.g.lists = 0
vim.o.statusline = '%f  lists: %{g:lists}'
vim.api.nvim_create_autocmd('LspRequest', {
  callback = function(event)
    local request = event.data.request
    if request.method == 'textDocument/completion' and request.type == 'complete' then
      vim.g.lists = vim.g.lists + 1
      vim.schedule(vim.cmd.redrawstatus)
    end
  end,
})
vim.keymap.set('i', '<C-g>w', '<Cmd>StarlingWhy<CR>')
