-- A small window for a few lines, which goes with the next key. It never takes the cursor, so insert mode and the popup go on.
local M = {}

local window

--- What a window is shown for: the place in the text, and the item selected there. A popup whose list comes anew changes neither.
local function situation()
  local selected = vim.fn.complete_info({ 'completed' }).completed or {}
  local place = vim.fn.getcurpos()
  local mode = vim.api.nvim_get_mode().mode:sub(1, 1)
  return vim.inspect({ vim.api.nvim_get_current_buf(), mode, place[2], place[3], vim.api.nvim_get_current_line(), selected.word })
end

local function close()
  pcall(vim.api.nvim_del_augroup_by_name, 'starling.float')
  if window and vim.api.nvim_win_is_valid(window) then
    vim.api.nvim_win_close(window, true)
  end
  window = nil
end

--- Screen lines that the lines take at this width.
local function height_of(lines, width)
  local height = 0
  for _, line in ipairs(lines) do
    height = height + math.max(1, math.ceil(vim.fn.strdisplaywidth(line) / width))
  end
  return height
end

--- Show lines under a title: at the cursor, or with `away` at that edge of the screen which the cursor (and its popup) is farther from.
function M.show(title, lines, away)
  close()
  local buffer = vim.api.nvim_create_buf(false, true)
  vim.api.nvim_buf_set_lines(buffer, 0, -1, true, lines)
  vim.bo[buffer].bufhidden = 'wipe'
  local widest = vim.fn.strdisplaywidth(title) + 4
  for _, line in ipairs(lines) do
    widest = math.max(widest, vim.fn.strdisplaywidth(line))
  end
  local width = math.max(1, math.min(widest, vim.o.columns - 2))
  local config = {
    width = width,
    height = math.min(height_of(lines, width), math.max(1, vim.o.lines - 4)),
    style = 'minimal',
    border = 'rounded',
    title = ' ' .. title .. ' ',
    focusable = false,
    noautocmd = true,
    zindex = 300, -- over completion popups
  }
  if away then
    local below = vim.fn.screenrow() <= vim.o.lines / 2
    config.relative, config.col = 'editor', 0
    config.anchor = below and 'SW' or 'NW'
    config.row = below and vim.o.lines - vim.o.cmdheight - 1 or 0
  else
    config.relative, config.row, config.col = 'cursor', 1, 0
  end
  window = vim.api.nvim_open_win(buffer, false, config)
  vim.wo[window].wrap = true
  vim.wo[window].linebreak = true
  local shown_for = situation()
  vim.api.nvim_create_autocmd(
    { 'CursorMoved', 'CursorMovedI', 'CompleteChanged', 'TextChangedI', 'TextChangedP', 'ModeChanged', 'BufEnter', 'WinEnter' },
    {
      group = vim.api.nvim_create_augroup('starling.float', {}),
      callback = function()
        if situation() ~= shown_for then
          vim.schedule(close) -- no window may go while a popup changes
        end
      end,
    }
  )
end

return M
