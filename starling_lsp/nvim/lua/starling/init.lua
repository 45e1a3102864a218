-- What Starling's commands share: its client, its command line, and the Python that runs it.
local M = {}

M.name = 'starling' -- the client's, as in vim.lsp.enable('starling')
M.star = '★ Starling: ' -- what the line of reasons in an item's documentation starts with

--- Starling's client of a buffer (0 for the current one), or else any: there is mostly one a repository.
function M.client(buffer)
  return vim.lsp.get_clients({ name = M.name, bufnr = buffer })[1] or vim.lsp.get_clients({ name = M.name })[1]
end

--- A message to the user, under Starling's name.
function M.notify(text, level)
  vim.notify('Starling: ' .. text, level or vim.log.levels.INFO, { title = 'Starling' })
end

--- The command line that starts the server, as configured.
function M.command()
  local config = vim.lsp.config[M.name]
  local command = config and config.cmd
  return type(command) == 'table' and command or { 'starling', '--stdio' }
end

--- A setting's value, from `init_options` or from the command line; nil where it has its default.
function M.setting(name)
  local config = vim.lsp.config[M.name] or {}
  local value = vim.tbl_get(config, 'init_options', 'starling', name)
  local command = M.command()
  for place, word in ipairs(command) do
    if word == '--' then
      break
    end
    local given = word:match('^%-%-' .. name .. '=(.*)$')
    if given or word == '--' .. name then
      value = value or given or command[place + 1]
    end
  end
  return value
end

-- What Neovim handles when it is registered later, but does not say so of: Starling then starts each language's server with its first
-- file. Semantic tokens are not among it: Neovim 0.11 takes those with the answer to initialize only.
local REGISTERED_LATER = {
  'references',
  'documentSymbol',
  'signatureHelp',
  'documentHighlight',
  'typeDefinition',
  'implementation',
  'declaration',
}

--- Client capabilities with which no server starts before a file of its language is open; see docs/editors/neovim.md for the price.
function M.lazy_capabilities()
  local given = {}
  for _, name in ipairs(REGISTERED_LATER) do
    given[name] = { dynamicRegistration = true }
  end
  return { textDocument = given }
end

local function first_lines(path)
  local file = io.open(path, 'rb')
  if not file then
    return '', ''
  end
  local first, second = file:read('*l'), file:read('*l')
  file:close()
  return first or '', second or ''
end

--- The Python that runs the configured `starling`: it has the other modules too. Nil and why, where there is none.
function M.python()
  local program = vim.fn.exepath(M.command()[1])
  if program == '' then
    return nil, ("'%s' is not on PATH"):format(M.command()[1])
  end
  if vim.fs.basename(program):match('^python') then
    return program
  end
  local script = vim.uv.fs_realpath(program) or program
  local first, second = first_lines(script)
  -- pip writes the interpreter into the script; behind /bin/sh where its path is long or has spaces.
  local written = first:match('^#!%s*(%S*python%S*)%s*$') or second:match('^\'\'\'exec\' "?(.-)"? "%$0"')
  if written and vim.fn.executable(written) == 1 then
    return written
  end
  for _, name in ipairs({ 'python', 'python3', 'python.exe' }) do
    local beside = vim.fs.joinpath(vim.fs.dirname(script), name)
    if vim.fn.executable(beside) == 1 then
      return beside
    end
  end
  return nil, ("no Python is known that runs '%s'"):format(program)
end

return M
