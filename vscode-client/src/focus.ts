/** The item that the suggest widget last showed details of, and why it stands where it does. VS Code tells of no other. */

import * as vscode from 'vscode';
import { nameOf } from './order.ts';

const REASONS = /★ Starling: (.+)$/m;

export class Focus {
  private label = '';
  private reasons = '';

  on(item: vscode.CompletionItem): void {
    const documentation = item.documentation;
    const text = typeof documentation === 'string' ? documentation : (documentation?.value ?? '');
    this.label = nameOf(item);
    this.reasons = REASONS.exec(text)?.[1] ?? '';
  }

  explain(): void {
    if (this.label === '') {
      void vscode.window.showInformationMessage(
        'Starling: no list was shown yet. Type, move to an item, and ask again: its details say why, too.',
      );
    } else if (this.reasons === '') {
      void vscode.window.showInformationMessage(
        `Starling did not rank ${this.label}: it is off here, or was too late.`,
      );
    } else {
      void vscode.window.showInformationMessage(`${this.label}: ${this.reasons}`);
    }
  }
}
