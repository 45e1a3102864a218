-- :StarlingWhy. Finds the item that is meant, asks Starling to resolve it, and shows its line of reasons.
local starling = require('starling')

local M = {}

local accepted = {} -- buffer -> the item accepted last, and its reasons once they are known

--- An item by the name that it was sent with, without its star.
local function name_of(item)
  return item.filterText and vim.trim(item.filterText) or item.label
end

--- The line of reasons in a resolved item's documentation, or nil.
local function reasons_in(item)
  local documentation = item and item.documentation
  local text = type(documentation) == 'table' and documentation.value or documentation
  for line in vim.gsplit(type(text) == 'string' and text or '', '\n', { plain = true }) do
    if vim.startswith(line, starling.star) then
      return line
    end
  end
end

local function resolve(client, item, buffer, done)
  local known = reasons_in(item)
  if known then
    return done(known)
  end
  client:request('completionItem/resolve', item, function(error, resolved)
    done(not error and reasons_in(resolved) or nil, error and error.message)
  end, buffer)
end

--- The item of a completion plugin that is selected, or else its first: item, client id.
local function in_plugin()
  local cmp = package.loaded['cmp']
  if cmp and cmp.visible and cmp.visible() then
    local entry = cmp.get_selected_entry() or (cmp.get_entries() or {})[1]
    local client = entry and vim.tbl_get(entry, 'source', 'source', 'client')
    return entry and entry.completion_item, client and client.id
  end
  local blink = package.loaded['blink.cmp']
  if blink and blink.is_visible and blink.is_visible() then
    local item = blink.get_selected_item() or blink.get_items()[1]
    return item, item and item.client_id
  end
end

local function of_builtin(entry)
  local lsp = vim.tbl_get(entry or {}, 'user_data', 'nvim', 'lsp')
  if lsp then
    return lsp.completion_item, lsp.client_id
  end
end

--- The item of Neovim's own popup that is selected, or else its first.
local function in_popup()
  local info = vim.fn.complete_info({ 'selected', 'completed', 'matches' })
  return of_builtin(info.selected >= 0 and info.completed or info.matches[1])
end

local function tell(item, client, buffer, away)
  resolve(client, item, buffer, function(reasons, problem)
    if reasons then
      require('starling.float').show(name_of(item), { reasons }, away)
    elseif problem then
      starling.notify(problem, vim.log.levels.WARN)
    else
      starling.notify(("nothing is known of '%s': its list was not ranked, or is too old"):format(name_of(item)))
    end
  end)
end

--- The first item of Starling's order at the cursor, where no list is shown and none was accepted.
local function first_here(client, buffer)
  local params = vim.lsp.util.make_position_params(0, client.offset_encoding)
  client:request('textDocument/completion', params, function(error, result)
    local items = result and (result.items or result) or {}
    local first = items[1]
    for _, item in ipairs(items) do
      if (item.sortText or item.label) < (first.sortText or first.label) then
        first = item
      end
    end
    if error then
      starling.notify(error.message, vim.log.levels.WARN)
    elseif first then
      tell(first, client, buffer, false)
    else
      starling.notify('no completion here to say anything of')
    end
  end, buffer)
end

--- Say why the selected item stands where it does; with no popup, the one accepted last in this buffer, or the first one here.
function M.show()
  local buffer = vim.api.nvim_get_current_buf()
  local client = vim.lsp.get_clients({ name = starling.name, bufnr = buffer })[1]
  if not client then
    return starling.notify("is not attached to this buffer; see :checkhealth starling", vim.log.levels.WARN)
  end
  local item, owner = in_plugin()
  if not item and vim.fn.pumvisible() == 1 then
    item, owner = in_popup()
    if not item then
      return starling.notify('the selected item is of no language server')
    end
  end
  if item then
    if owner ~= client.id then
      return starling.notify(("'%s' is not an item of Starling's"):format(item.label))
    end
    return tell(item, client, buffer, true)
  end
  local last = accepted[buffer]
  if not last then
    return first_here(client, buffer)
  end
  if last.reasons then
    return require('starling.float').show(name_of(last.item), { last.reasons })
  end
  tell(last.item, client, buffer, false)
end

--- Keep an accepted item's reasons: Starling has the last few lists only, and each key asks for another.
local function keep(buffer, item, owner)
  local client = owner and vim.lsp.get_client_by_id(owner)
  if not (item and client and client.name == starling.name) then
    return
  end
  local entry = { item = item }
  accepted[buffer] = entry
  resolve(client, item, buffer, function(reasons)
    entry.reasons = reasons
  end)
end

--- Listen for what is accepted in a buffer: from Neovim's own popup, nvim-cmp or blink.cmp.
function M.remember(buffer)
  local group = vim.api.nvim_create_augroup('starling.accepted.' .. buffer, {})
  vim.api.nvim_create_autocmd('CompleteDone', {
    group = group,
    buffer = buffer,
    callback = function()
      if vim.v.event.reason == 'accept' then
        keep(buffer, of_builtin(vim.v.completed_item))
      end
    end,
  })
  vim.api.nvim_create_autocmd('User', {
    group = group,
    pattern = 'BlinkCmpAccept',
    callback = function(event)
      local item = event.data and event.data.item
      if item and vim.api.nvim_get_current_buf() == buffer then
        keep(buffer, item, item.client_id)
      end
    end,
  })
  vim.api.nvim_create_autocmd('BufWipeout', {
    group = group,
    buffer = buffer,
    callback = function()
      accepted[buffer] = nil
      vim.api.nvim_del_augroup_by_id(group)
    end,
  })
  M.listen_to_cmp()
end

local listening = false

--- nvim-cmp has no autocommand for what is accepted, but an event of its own. It may be loaded later than Starling attaches.
function M.listen_to_cmp()
  local function listen()
    local cmp = package.loaded['cmp']
    if listening or not (cmp and cmp.event) then
      return
    end
    listening = true
    cmp.event:on('confirm_done', function(event)
      local client = vim.tbl_get(event.entry, 'source', 'source', 'client')
      keep(vim.api.nvim_get_current_buf(), event.entry.completion_item, client and client.id)
    end)
  end
  listen()
  if not listening then
    vim.api.nvim_create_autocmd('InsertEnter', { group = vim.api.nvim_create_augroup('starling.cmp', {}), callback = listen })
  end
end

return M
