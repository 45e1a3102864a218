/** The status bar item: which ranker works, how long its last list took, and the way to everything else. */

import * as vscode from 'vscode';
import type { LanguageClient } from 'vscode-languageclient/node';
import type { ServerStatus } from './client.ts';
import type { Mode } from './modes.ts';

const AFTER = 250; // ms after a list: keys come first

export class StatusBar {
  private readonly item = vscode.window.createStatusBarItem('status', vscode.StatusBarAlignment.Right, 90);
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

  /** Something may have changed: look soon. */
  changed(): void {
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => void this.look(), AFTER);
  }

  missing(what: string): void {
    this.item.text = '$(warning) Starling';
    this.item.tooltip = what;
    this.item.show();
  }

  private async look(): Promise<void> {
    const languageId = vscode.window.activeTextEditor?.document.languageId;
    const mode = languageId === undefined ? undefined : this.modeOf(languageId);
    if (languageId === undefined || mode === undefined || mode === 'off') {
      this.item.hide();
      return;
    }
    if (this.isOff(languageId)) {
      this.item.text = '☆ off';
      this.item.tooltip = `Starling is off for ${languageId} here.`;
      this.item.show();
      return;
    }
    const status = await this.client()
      ?.sendRequest<ServerStatus>('starling/status')
      .catch(() => undefined);
    if (status === undefined) {
      return;
    }
    this.item.text = text(status);
    this.item.tooltip = tooltip(status, languageId, mode);
    this.item.show();
    if (status.ranker?.model === 'loading' || status.ranker?.index === false || status.ranker === null) {
      this.waiting = setTimeout(() => void this.look(), 8 * AFTER);
    }
  }
}

function text(status: ServerStatus): string {
  const last = status.ranker?.last;
  if (status.ranker === null || !status.ranker.index) {
    return '★ $(loading~spin)';
  }
  return last ? `★ ${last.ranker} ${Math.round(last.milliseconds)} ms` : '★ Starling';
}

function tooltip(status: ServerStatus, languageId: string, mode: Mode): vscode.MarkdownString {
  const ranker = status.ranker;
  const last = ranker?.last;
  const rows = [
    ['mode', mode === 'server' ? `server (${servers(status, languageId)})` : 'companion of another extension'],
    ['index', ranker?.index ? `${ranker.files} files` : 'being made'],
    ['model', ranker?.model === 'failed' ? `none: ${ranker.reason}` : (ranker?.model ?? 'not started')],
    ['adapter', last?.adapter ? (last.adapter.split(/[\\/]/).slice(-2).join(' ') ?? '') : 'Starling’s own'],
    ...(last
      ? [
          [
            'last list',
            `${last.items} items in ${last.milliseconds} ms by ${last.ranker}${last.complete ? '' : ', cut short'}`,
          ],
        ]
      : []),
  ];
  const table = rows.map(([name, value]) => `| ${name} | ${escaped(value ?? '')} |`).join('\n');
  return new vscode.MarkdownString(`**Starling**\n\n| | |\n| --- | --- |\n${table}`);
}

function servers(status: ServerStatus, languageId: string): string {
  const own = status.servers.filter((server) => server.languages.includes(languageId));
  return own.map((server) => (server.state === 'running' ? server.name : `${server.name}: ${server.state}`)).join(', ');
}

function escaped(text: string): string {
  return text.replace(/[|\\`*_{}[\]<>#]/g, '\\$&').replace(/\s+/g, ' ');
}
