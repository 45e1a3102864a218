-- Attaches Starling in a headless Neovim, asks it things as a user would, and prints what it got as JSON.
local command = vim.json.decode(vim.env.STARLING_COMMAND)
local root = vim.env.STARLING_ROOT
local out = {}

vim.lsp.config('starling', { cmd = command, filetypes = { 'python' }, root_dir = root })
vim.lsp.enable('starling')
vim.cmd.edit(root .. '/shop.py')
vim.bo.filetype = 'python'

local buffer = vim.api.nvim_get_current_buf()
assert(vim.wait(30000, function() return #vim.lsp.get_clients({ bufnr = buffer }) > 0 end, 20), 'not attached')
local client = vim.lsp.get_clients({ bufnr = buffer })[1]
out.name = client.name
out.initialized = vim.wait(30000, function() return client.initialized end, 20)

local function ask(method, params)
  local reply = client:request_sync(method, params, 30000, buffer)
  assert(reply and not reply.err, vim.inspect(reply))
  return reply.result
end

local function here(line, character)
  return { textDocument = { uri = vim.uri_from_bufnr(buffer) }, position = { line = line, character = character } }
end

assert(vim.wait(30000, function()
  local status = ask('starling/status', vim.empty_dict())
  return type(status.ranker) == 'table' and status.ranker.index
end, 100), 'the index is not ready')

local list = ask('textDocument/completion', here(29, 13))
local items = list.items or list
table.sort(items, function(a, b) return (a.sortText or a.label) < (b.sortText or b.label) end)
out.labels = vim.tbl_map(function(item) return item.label end, items)
out.resolved = ask('completionItem/resolve', items[1])
out.hover = ask('textDocument/hover', here(29, 9))

-- The popup itself: what Neovim's own completion shows, and what it inserts.
vim.lsp.completion.enable(true, client.id, buffer, { autotrigger = false })
vim.api.nvim_create_autocmd('CompleteChanged', {
  callback = function()
    out.popup = vim.tbl_map(function(item) return item.abbr end, vim.fn.complete_info({ 'items' }).items)
  end,
})
vim.api.nvim_win_set_cursor(0, { 30, 13 })
vim.api.nvim_create_autocmd('InsertEnter', { once = true, callback = function() vim.lsp.completion.get() end })
vim.defer_fn(function()
  vim.api.nvim_input('<C-y>')
  vim.defer_fn(function()
    out.line = vim.api.nvim_buf_get_lines(buffer, 29, 30, false)[1]
    io.stdout:write(vim.json.encode(out))
    vim.cmd('qall!')
  end, 300)
end, 3000)
vim.api.nvim_feedkeys(vim.api.nvim_replace_termcodes('A', true, false, true), 'n', false)
