-- Starling for `vim.lsp.enable('starling')`: one process for all languages of a repository, in front of each language's own server.
-- Yours to change with `vim.lsp.config('starling', { … })`; Starling's settings go under `init_options = { starling = { … } }`.
return {
  cmd = { 'starling', '--stdio' },
  filetypes = {
    'python',
    'typescript',
    'typescriptreact',
    'javascript',
    'javascriptreact',
    'java',
    'c',
    'cpp',
    'go',
    'rust',
    'php',
    'cs',
    'sh',
    'bash',
  },
  -- The repository first: its index and its adapter are the whole repository's, not one package's.
  root_markers = {
    '.git',
    '.hg',
    '.jj',
    'pyproject.toml',
    'setup.py',
    'package.json',
    'tsconfig.json',
    'pom.xml',
    'build.gradle',
    'build.gradle.kts',
    'compile_commands.json',
    'go.mod',
    'Cargo.toml',
    'composer.json',
  },
}
