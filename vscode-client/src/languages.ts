/** The languages that Starling's server knows, and what else in VS Code may be their language support. Data; nothing else names one. */

export interface LanguageSupport {
  readonly ids: readonly string[];
  /** Extensions that offer completion in these languages. Where one is there, Starling is its companion. */
  readonly others: readonly string[];
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
      'ms-python.vscode-pylance',
      'detachhead.basedpyright',
      'ms-pyright.pyright',
      'meta.pyrefly',
      'astral-sh.ty',
    ],
    sections: ['python', 'basedpyright', 'pyright', 'ty', 'pyrefly'],
    triggers: ['.'],
    interpreter: { section: 'python', key: 'pythonPath' },
  },
  {
    ids: ['typescript', 'typescriptreact', 'javascript', 'javascriptreact'],
    others: ['vscode.typescript-language-features'],
    sections: ['typescript', 'javascript'],
    triggers: ['.', '"', "'", '/', '@', '<', '#'],
  },
  { ids: ['java'], others: ['redhat.java'], sections: ['java'], triggers: ['.', '@', '#'] },
  {
    ids: ['c', 'cpp'],
    others: ['ms-vscode.cpptools', 'llvm-vs-code-extensions.vscode-clangd'],
    sections: ['clangd'],
    triggers: ['.', '>', ':', '<', '"', '/'],
  },
  { ids: ['go'], others: ['golang.go'], sections: ['gopls'], triggers: ['.'] },
  { ids: ['rust'], others: ['rust-lang.rust-analyzer'], sections: ['rust-analyzer'], triggers: ['.', ':'] },
  { ids: ['shellscript'], others: ['mads-hartmann.bash-ide-vscode'], sections: ['bashIde'], triggers: ['$', '{'] },
];

export function supportOf(languageId: string): LanguageSupport | undefined {
  return LANGUAGES.find((language) => language.ids.includes(languageId));
}
