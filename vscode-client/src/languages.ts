/** The languages that Starling's server knows, and what else in VS Code may be their language support. Data; nothing else names one. */

/** An extension that is a language's support: always, or where a setting of it has one of these values. */
export interface Other {
  readonly extension: string;
  readonly where?: { readonly setting: string; readonly values: readonly unknown[] };
}

/** Extensions that run a server beside a language's support, by that server's name. */
export const BESIDE: ReadonlyMap<string, string> = new Map([['charliermarsh.ruff', 'ruff']]);

export interface LanguageSupport {
  readonly ids: readonly string[];
  /** Extensions that offer completion in these languages. Where one is there, Starling is its companion. */
  readonly others: readonly Other[];
  /** Sections of the settings that its servers read. */
  readonly sections: readonly string[];
  readonly triggers: readonly string[];
  /** The setting in which its servers look for the interpreter of the workspace. */
  readonly interpreter?: { readonly section: string; readonly key: string };
}

export const LANGUAGES: readonly LanguageSupport[] = [
  {
    ids: ['python'],
    others: [
      {
        extension: 'ms-python.vscode-pylance',
        where: { setting: 'python.languageServer', values: [undefined, 'Default', 'Pylance'] },
      },
      ...always('detachhead.basedpyright', 'ms-pyright.pyright', 'meta.pyrefly', 'astral-sh.ty'),
      ...always('anysphere.cursorpyright', 'codeium.windsurfpyright'), // the forks' own
      {
        extension: 'ms-python.python', // has Jedi in it, which serves where Pylance is not
        where: { setting: 'python.languageServer', values: ['Default', 'Jedi', 'JediLSP'] },
      },
    ],
    sections: ['python', 'basedpyright', 'pyright', 'ty', 'pyrefly'],
    triggers: ['.'],
    interpreter: { section: 'python', key: 'pythonPath' },
  },
  {
    ids: ['typescript', 'typescriptreact', 'javascript', 'javascriptreact'],
    others: always('vscode.typescript-language-features'),
    sections: ['typescript', 'javascript'],
    triggers: ['.', '"', "'", '/', '@', '<', '#'],
  },
  { ids: ['java'], others: always('redhat.java'), sections: ['java'], triggers: ['.', '@', '#'] },
  {
    ids: ['c', 'cpp'],
    others: always('ms-vscode.cpptools', 'llvm-vs-code-extensions.vscode-clangd'),
    sections: ['clangd'],
    triggers: ['.', '>', ':', '<', '"', '/'],
  },
  { ids: ['go'], others: always('golang.go'), sections: ['gopls'], triggers: ['.'] },
  { ids: ['rust'], others: always('rust-lang.rust-analyzer'), sections: ['rust-analyzer'], triggers: ['.', ':'] },
  {
    ids: ['php'],
    // VS Code's own extension completes little of PHP, so it does not count.
    others: always(
      'bmewburn.vscode-intelephense-client',
      'devsense.phptools-vscode',
      'phpactor.vscode-phpactor',
      'zobo.php-intellisense',
    ),
    sections: ['intelephense', 'phpactor'],
    triggers: ['$', '>', ':', '\\'],
  },
  {
    ids: ['csharp'],
    others: always('ms-dotnettools.csharp', 'anysphere.csharp', 'muhammad-sammy.csharp'), // the last two are the forks' own
    sections: ['csharp', 'omnisharp'],
    triggers: ['.'],
  },
  {
    ids: ['shellscript'],
    others: always('mads-hartmann.bash-ide-vscode'),
    sections: ['bashIde'],
    triggers: ['$', '{'],
  },
];

function always(...extensions: string[]): Other[] {
  return extensions.map((extension) => ({ extension }));
}

export function supportOf(languageId: string): LanguageSupport | undefined {
  return LANGUAGES.find((language) => language.ids.includes(languageId));
}
