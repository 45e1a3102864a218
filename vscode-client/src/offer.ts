/** A message with buttons, each of which does something. Returns at once: nobody waits for an answer. */

import type * as vscode from 'vscode';

type Show = (message: string, ...buttons: string[]) => Thenable<string | undefined>;

export function offer(show: Show, message: string, buttons: Readonly<Record<string, () => unknown>>): void {
  void show(message, ...Object.keys(buttons)).then((answer) =>
    answer === undefined ? undefined : buttons[answer]?.(),
  );
}

/** The button that most messages have. */
export function showing(log: vscode.LogOutputChannel): { readonly 'Show Log': () => void } {
  return { 'Show Log': () => log.show() };
}
