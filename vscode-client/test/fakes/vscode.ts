/** As much of VS Code's API as the parts under test use, in memory. What tests set and read is in `fake`. */

import { rm } from 'node:fs/promises';

export const fake = {
  commands: new Map<string, (...words: never[]) => unknown>(),
  settings: new Map<string, unknown>(),
  items: [] as { text: string; shown: boolean; tooltip: unknown }[],
  editor: undefined as unknown,
  messages: [] as { text: string; buttons: string[] }[],
  answer: undefined as string | undefined, // the button that is pressed
  offered: [] as string[], // the rows of the last pick
};

/** Show a message, with options or without. */
async function message(text: string, ...more: (string | object)[]): Promise<string | undefined> {
  const buttons = more.filter((one) => typeof one === 'string');
  fake.messages.push({ text, buttons });
  return buttons.find((button) => button === fake.answer);
}

export class Position {
  constructor(
    readonly line: number,
    readonly character: number,
  ) {}

  translate(lines: number, characters: number): Position {
    return new Position(this.line + lines, this.character + characters);
  }

  isBefore(other: Position): boolean {
    return this.line < other.line || (this.line === other.line && this.character < other.character);
  }
}

export class Range {
  constructor(
    readonly start: Position,
    readonly end: Position,
  ) {}

  with({ start = this.start, end = this.end }: { start?: Position; end?: Position }): Range {
    return new Range(start, end);
  }
}

export class CompletionItem {
  sortText?: string;
  filterText?: string;
  constructor(
    readonly label: string | { label: string },
    readonly kind?: number,
  ) {}
}

export class CompletionList {
  constructor(
    readonly items: CompletionItem[],
    readonly isIncomplete = false,
  ) {}
}

export class MarkdownString {
  constructor(public value = '') {}

  appendText(text: string): this {
    this.value += text;
    return this;
  }

  appendMarkdown(text: string): this {
    this.value += text;
    return this;
  }
}

export const CompletionItemKind = { Text: 0, Method: 1, Snippet: 14 };
export const CompletionTriggerKind = { Invoke: 0, TriggerCharacter: 1, TriggerForIncompleteCompletions: 2 };
export const StatusBarAlignment = { Right: 2 };
export class CancellationError extends Error {}

export const commands = {
  executeCommand: async (name: string, ...words: never[]) => fake.commands.get(name)?.(...words),
};

export const Uri = { file: (fsPath: string) => ({ fsPath }) };

export const workspace = {
  isTrusted: true,
  fs: { delete: (uri: { fsPath: string }) => rm(uri.fsPath) },
  getConfiguration: () => ({ get: (name: string, other: unknown) => fake.settings.get(name) ?? other }),
};

export const extensions = { getExtension: () => undefined };

export const window = {
  get activeTextEditor() {
    return fake.editor;
  },
  showInformationMessage: message,
  showWarningMessage: message,
  async showQuickPick(rows: { label: string }[]) {
    fake.offered = rows.map((row) => row.label);
    return undefined;
  },
  createStatusBarItem() {
    const item = { text: '', shown: false, tooltip: undefined, show: () => {}, hide: () => {}, dispose: () => {} };
    item.show = () => {
      item.shown = true;
    };
    item.hide = () => {
      item.shown = false;
    };
    fake.items.push(item);
    return item;
  },
};

/** A document of this text. */
export function document(text: string, uri = 'file:///a.py') {
  const lines = text.split('\n');
  return {
    uri: { toString: () => uri },
    languageId: 'python',
    lineCount: lines.length,
    getText: () => text,
    lineAt: (line: number) => ({ text: lines[line] ?? '' }),
    getWordRangeAtPosition(position: Position) {
      const word = /[\w$]+$/.exec((lines[position.line] ?? '').slice(0, position.character))?.[0] ?? '';
      return word === ''
        ? undefined
        : new Range(new Position(position.line, position.character - word.length), position);
    },
  };
}
