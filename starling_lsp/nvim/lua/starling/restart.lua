-- :StarlingRestart. Has Starling start its wrapped servers anew, those that it had given up too.
local starling = require('starling')

local M = {}

--- `server`: the name of one, as :StarlingStatus shows it; '' for all.
function M.run(server)
  local client = starling.client(0)
  if not client then
    return starling.notify('is not running; see :checkhealth starling', vim.log.levels.WARN)
  end
  local params = server ~= '' and { server = server } or vim.empty_dict()
  client:request('starling/restart', params, function(error, result)
    if error then
      return starling.notify(error.message, vim.log.levels.WARN)
    end
    local names = #result.servers > 0 and table.concat(result.servers, ', ') or 'no server was running'
    starling.notify('restarts: ' .. names, vim.log.levels.INFO)
  end, 0)
end

return M
