-- :StarlingTrain. Runs `train` in a terminal below; closing that window ends it, and the same command goes on later.
local starling = require('starling')

local M = {}

local HEIGHT = 12
local running -- the job, while there is one

--- What a run that compared came to, by its exit code; `train` says the same at length in the terminal.
local ENDS = {
  [0] = { 'the adapter is better and is installed; it is used from the next completion on', vim.log.levels.INFO },
  [1] = { 'the adapter is not better than what is used now, so it is not installed', vim.log.levels.WARN },
}
local COMPARED = 'R@1 ' -- how the line begins that `train` ends a comparison with

--- The lines of the terminal that are not empty.
local function said(buffer)
  local words = {}
  local lines = vim.api.nvim_buf_is_valid(buffer) and vim.api.nvim_buf_get_lines(buffer, 0, -1, false) or {}
  for _, line in ipairs(lines) do
    local text = vim.trim(line)
    if text ~= '' and not text:match('^%[Process exited') then
      table.insert(words, text)
    end
  end
  return words
end

local function report(repo, code, buffer)
  local lines = said(buffer)
  local compared = vim.iter(lines):any(function(line)
    return vim.startswith(line, COMPARED)
  end)
  local what, level = unpack(compared and ENDS[code] or {})
  if not what then
    local last = table.concat(vim.list_slice(lines, #lines - 2), ' ')
    what = 'training ended' .. (code == 0 and '' or ' with code ' .. code) .. (last == '' and '' or ': ' .. last)
    level = code == 0 and vim.log.levels.INFO or vim.log.levels.ERROR
  end
  starling.notify(('%s: %s'):format(vim.fs.basename(repo), what), level)
end

--- The folder that is meant: as given, or the repository of the buffer, or the current folder.
local function repository(given)
  if given then
    return vim.fs.normalize(vim.fn.fnamemodify(given, ':p')):gsub('(.)/$', '%1')
  end
  local client = starling.client(0)
  return client and client.root_dir or vim.fs.root(0, '.git') or vim.fn.getcwd()
end

--- The command line for a repository, or nil and what is wrong. `-E -P` keeps modules of PYTHONPATH and of the current folder out.
function M.command(repo, options)
  local python, problem = starling.python()
  if not python then
    return nil, problem
  end
  local command = { python, '-E', '-P', '-m', 'starling_lsp', 'train', '--repo', repo }
  local base = starling.setting('base')
  if base and not vim.list_contains(options, '--base') then
    vim.list_extend(command, { '--base', base })
  end
  return vim.list_extend(command, options)
end

--- `words`: a path (or none), then options of `train`, as in `:StarlingTrain ~/code/shop --minutes 5`.
function M.run(words)
  if running then
    return starling.notify('is training already; close its window to end that', vim.log.levels.WARN)
  end
  local given = words[1] and not vim.startswith(words[1], '-') and table.remove(words, 1) or nil
  local repo = repository(given)
  if not vim.uv.fs_stat(repo) then
    return starling.notify(("there is no '%s' to train on: give a git repository or a folder"):format(repo), vim.log.levels.ERROR)
  end
  local command, problem = M.command(repo, words)
  if not command then
    return starling.notify(problem, vim.log.levels.ERROR)
  end
  local before = vim.api.nvim_get_current_win()
  vim.cmd(('botright %dnew'):format(HEIGHT))
  local window, buffer = vim.api.nvim_get_current_win(), vim.api.nvim_get_current_buf()
  vim.wo[window].winfixheight = true
  vim.wo[window].winbar = ' :StarlingTrain ' .. repo:gsub('%%', '%%%%') .. ' (closing this window ends it)'
  local cancelled = false
  local job = vim.fn.jobstart(command, {
    term = true,
    on_exit = function(_, code)
      running = nil
      vim.schedule(function()
        if cancelled then
          starling.notify(('%s: training was ended; the same command goes on where it stopped'):format(vim.fs.basename(repo)))
        else
          report(repo, code, buffer)
        end
      end)
    end,
  })
  running = job
  vim.api.nvim_create_autocmd('WinClosed', {
    pattern = tostring(window),
    once = true,
    callback = function()
      if running == job then
        cancelled = true
        vim.fn.jobstop(job)
      end
      vim.schedule(function()
        if vim.api.nvim_buf_is_valid(buffer) then
          vim.api.nvim_buf_delete(buffer, { force = true })
        end
      end)
    end,
  })
  vim.cmd('normal! G') -- the window follows what comes
  vim.api.nvim_set_current_win(before)
end

return M
