-- :StarlingStatus. Asks `starling/status` and lays it out for a person; the health check reads the same lines.
local starling = require('starling')

local M = {}

local function row(name, text)
  return ('%-9s %s'):format(name, text)
end

local function ranker_line(settings, ranker)
  if not ranker then
    return settings.ranker == 'off' and 'off' or settings.ranker .. ' (its process is not there yet)'
  end
  if type(ranker.remote) == 'table' and ranker.remote.state == 'ready' then
    return 'remote'
  end
  if settings.ranker == 'model' and ranker.model ~= 'ready' then
    return 'model; signals until it is loaded'
  end
  return settings.ranker
end

local function model_line(ranker)
  local reason = ranker.reason ~= '' and ': ' .. ranker.reason or ''
  return ranker.model .. reason
end

local function remote_line(remote)
  if remote.state == 'ready' then
    return ('%s at %s'):format(remote.model, remote.host)
  end
  return remote.host .. ' ' .. remote.state .. (remote.reason ~= '' and ': ' .. remote.reason or '')
end

local function last_line(last)
  local how = last.complete and 'finished' or 'cut off by the deadline'
  return ('%d items ranked by %s in %d ms, %s'):format(last.items, last.ranker, last.milliseconds, how)
end

--- The reply to `starling/status` as lines.
function M.lines(status)
  local settings, ranker = status.settings, status.ranker
  local lines = { row('ranker', ranker_line(settings, ranker)), row('deadline', settings.deadline .. ' ms') }
  if ranker then
    local index = ranker.index and ('ready, %d files'):format(ranker.files) or 'being made'
    table.insert(lines, row('index', index))
    table.insert(lines, row('model', model_line(ranker)))
    if type(ranker.remote) == 'table' then -- vim.NIL where there is none
      table.insert(lines, row('remote', remote_line(ranker.remote)))
    end
    if ranker.last then
      local adapter = ranker.last.adapter
      table.insert(lines, row('adapter', adapter and adapter ~= '' and vim.fn.fnamemodify(adapter, ':~') or 'none of its own'))
      table.insert(lines, row('last list', last_line(ranker.last)))
    end
  end
  for _, server in ipairs(status.servers) do
    if server.state ~= 'idle' then
      local name = ('%s (%s)'):format(server.name, table.concat(server.languages, ', '))
      table.insert(lines, row('wraps', name .. ': ' .. server.state))
    end
  end
  return lines
end

function M.show()
  local client = starling.client(0)
  if not client then
    return starling.notify('is not running; see :checkhealth starling', vim.log.levels.WARN)
  end
  client:request('starling/status', vim.empty_dict(), function(error, status)
    if error then
      return starling.notify(error.message, vim.log.levels.WARN)
    end
    local root = client.root_dir and ' in ' .. vim.fn.fnamemodify(client.root_dir, ':~') or ''
    require('starling.float').show('Starling' .. root, M.lines(status))
  end, 0)
end

return M
