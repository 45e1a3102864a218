-- :checkhealth starling. What is installed, what is attached, whether it is ready, and what the settings do to its order.
local starling = require('starling')

local M = {}

local health = vim.health
local PATIENCE = 60000 -- ms for `starling doctor`, which loads the model once

local function check_neovim()
  local now = vim.version()
  local version = ('%d.%d.%d'):format(now.major, now.minor, now.patch)
  if vim.fn.has('nvim-0.11') == 1 then
    health.ok('Neovim ' .. version)
  else
    health.error('Neovim ' .. version .. ': 0.11 or newer is needed', { 'vim.lsp.config and vim.lsp.enable came with 0.11' })
  end
end

local function run(command)
  local started, process = pcall(vim.system, command, { text = true })
  return started and process:wait(PATIENCE) or { code = -1, stdout = '', stderr = tostring(process) }
end

--- Options that `doctor` takes, of the command line that starts the server.
local function flags()
  local words = vim.list_slice(starling.command(), 2)
  local out = {}
  for place, word in ipairs(words) do
    if word == '--' then
      return vim.list_extend(out, vim.list_slice(words, place))
    elseif word ~= '--stdio' then
      table.insert(out, word)
    end
  end
  return out
end

--- True where the executable is there and says a version.
local function check_executable()
  local program = starling.command()[1]
  local path = vim.fn.exepath(program)
  if path == '' then
    health.error(("'%s' is not on Neovim's PATH"):format(program), {
      'install it (its README says how) into an environment whose folder of programs is on PATH',
      "or give its whole path: vim.lsp.config('starling', { cmd = { '/path/to/starling', '--stdio' } })",
    })
    return false
  end
  if vim.fs.basename(path):match('^python') then
    health.info(table.concat(starling.command(), ' ') .. ': run by hand, so starling doctor is not asked')
    return false
  end
  local done = run({ path, '--version' })
  if done.code ~= 0 then
    health.error(('%s does not run: %s'):format(path, vim.trim(done.stderr)))
    return false
  end
  health.ok(('%s: %s'):format(path, vim.trim(done.stdout)))
  local python, problem = starling.python()
  if python then
    health.ok('Python of :StarlingTrain: ' .. python)
  else
    health.warn('for :StarlingTrain ' .. problem)
  end
  return true
end

--- What `starling doctor` found. A server of a language that one does not write may well be missing, so that is information.
local function check_doctor()
  health.start('starling doctor')
  local command = vim.list_extend({ vim.fn.exepath(starling.command()[1]), 'doctor', '--json' }, flags())
  local done = run(command)
  local read, findings = pcall(vim.json.decode, done.stdout)
  if not read or type(findings) ~= 'table' then
    local said = vim.trim(done.stderr ~= '' and done.stderr or done.stdout)
    health.error(('starling doctor ended with code %d: %s'):format(done.code, said))
    return
  end
  for _, finding in ipairs(findings) do
    local text = ('%s: %s'):format(finding.what, finding.found)
    if finding.remedy == '' then
      health.ok(text)
    elseif finding.needed then
      health.error(text, { finding.remedy })
    elseif finding.offer then
      health.info(text .. '; for that language: ' .. finding.remedy)
    else
      health.warn(text, { finding.remedy })
    end
  end
end

--- Another client in the same buffers that is a server which Starling runs itself.
local function check_twins(client, status)
  for buffer in pairs(client.attached_buffers) do
    for _, other in ipairs(vim.lsp.get_clients({ bufnr = buffer })) do
      local command = type(other.config.cmd) == 'table' and other.config.cmd or {}
      for _, server in ipairs(status.servers) do
        local same = command[1] and vim.fs.basename(command[1]) == vim.fs.basename(server.command[1])
        if other.id ~= client.id and same then
          health.warn(
            ("'%s' is attached beside Starling, which runs it itself: every item comes twice"):format(other.name),
            { ("vim.lsp.enable('%s', false)"):format(other.name) }
          )
          return
        end
      end
    end
  end
end

local function check_clients()
  health.start('attached')
  if not vim.lsp.is_enabled(starling.name) then
    health.warn("not enabled", { "vim.lsp.enable('starling') in your configuration" })
  end
  local clients = vim.lsp.get_clients({ name = starling.name })
  if #clients == 0 then
    health.info('no client: open a file of ' .. table.concat((vim.lsp.config.starling or {}).filetypes or {}, ', '))
  end
  for _, client in ipairs(clients) do
    local buffers = vim.tbl_count(client.attached_buffers)
    health.ok(('client %d in %s, %d buffers'):format(client.id, client.root_dir or 'no folder', buffers))
    local reply = client:request_sync('starling/status', vim.empty_dict(), 6000, 0)
    local status = reply and reply.result
    if not status then
      health.error('it does not answer starling/status', { 'look into the file that vim.lsp.log.get_filename() names, and into the log file that starling doctor names' })
    else
      for _, line in ipairs(require('starling.status').lines(status)) do
        health.info(line)
      end
      if status.ranker and status.ranker.model == 'failed' then
        health.warn('signals rank without the model', { 'starling install-model' })
      end
      check_twins(client, status)
    end
  end
end

--- What 'completeopt' does to the order and to what is inserted.
local function check_popup()
  health.start('completion popup')
  for _, plugin in ipairs({ { 'cmp', 'nvim-cmp', 'starling.cmp' }, { 'blink.cmp', 'blink.cmp', 'starling.blink' } }) do
    if package.loaded[plugin[1]] then
      health.info(("%s shows completion: what it does to the order, and require('%s'), see :help starling-plugins"):format(plugin[2], plugin[3]))
    end
  end
  local set = {}
  for word in vim.gsplit(vim.o.completeopt, ',') do
    set[word] = true
  end
  if set.noselect or set.noinsert then
    health.ok("'completeopt' does not insert the first item unasked")
  else
    health.warn("'completeopt' has neither noselect nor noinsert: the first item is inserted as the popup opens", {
      'vim.opt.completeopt:append("noselect")',
    })
  end
  if set.fuzzy and not set.nosort then
    health.warn("'completeopt' has fuzzy: where a server's list is whole, its fuzzy score decides once letters are typed", {
      'vim.opt.completeopt:append("nosort") keeps the fuzzy matching and Starling\'s order',
    })
  else
    health.ok("'completeopt' keeps Starling's order while letters are typed")
  end
end

function M.check()
  health.start('installed')
  check_neovim()
  local runs = check_executable()
  check_clients()
  check_popup()
  if runs then
    check_doctor()
  end
end

return M
