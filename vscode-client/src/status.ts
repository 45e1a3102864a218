/** The status bar item: what Starling is doing, and the way to everything else. */

import * as vscode from 'vscode';
import type { LanguageClient } from 'vscode-languageclient/node';
import type { Mode } from './modes.ts';
import { type Face, face, type ServerStatus, type State } from './state.ts';

const AFTER = 250; // ms after a list: keys come first

export class StatusBar {
  private readonly item = vscode.window.createStatusBarItem('status', vscode.StatusBarAlignment.Right, 90);
  private state: State = { name: 'looking' };
  private waiting: NodeJS.Timeout | undefined;

  constructor(
    private readonly client: () => LanguageClient | undefined,
    private readonly modeOf: (languageId: string) => Mode | undefined,
    private readonly isOff: (languageId: string) => boolean,
  ) {
    this.item.name = 'Starling';
    this.item.command = 'starling.menu';
  }

  dispose(): void {
    clearTimeout(this.waiting);
    this.item.dispose();
  }

  /** Another state: shown at once. */
  enter(state: State): void {
    this.state = state;
    void this.look();
  }

  /** Something may have changed: look soon. */
  changed(): void {
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => void this.look(), AFTER);
  }

  private async look(): Promise<void> {
    const state = this.state;
    const languageId = vscode.window.activeTextEditor?.document.languageId;
    const here = {
      languageId,
      mode: languageId === undefined ? undefined : this.modeOf(languageId),
      isOff: languageId !== undefined && this.isOff(languageId),
      status: state.name === 'running' ? await this.status() : undefined,
    };
    if (state !== this.state) {
      return; // it changed meanwhile, and was shown
    }
    this.show(face(state, here));
    const { status } = here;
    if (status !== undefined && (status.ranker?.model === 'loading' || !status.ranker?.index)) {
      clearTimeout(this.waiting);
      this.waiting = setTimeout(() => void this.look(), 8 * AFTER);
    }
  }

  private async status(): Promise<ServerStatus | undefined> {
    return this.client()
      ?.sendRequest<ServerStatus>('starling/status')
      .catch(() => undefined);
  }

  private show(shown: Face | undefined): void {
    if (shown === undefined) {
      this.item.hide();
      return;
    }
    this.item.text = shown.text;
    this.item.tooltip = tooltip(shown);
    this.item.show();
  }
}

function tooltip({ rows }: Face): vscode.MarkdownString {
  const sentences = rows.filter(([name]) => name === '').map(([, value]) => escaped(value));
  const table = rows.filter(([name]) => name !== '').map(([name, value]) => `| ${name} | ${escaped(value)} |`);
  const parts = [
    '**Starling**',
    ...sentences,
    ...(table.length > 0 ? [`| | |\n| --- | --- |\n${table.join('\n')}`] : []),
  ];
  return new vscode.MarkdownString(parts.join('\n\n'));
}

function escaped(text: string): string {
  return text.replace(/[|\\`*_{}[\]<>#]/g, '\\$&').replace(/\s+/g, ' ');
}
