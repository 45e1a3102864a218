/**
 * Companion mode: another extension is the language support. Its items are asked for, ranked by the server, and the likely few
 * are put on top, each inserting what the original would.
 */

import * as vscode from 'vscode';
import type { LanguageClient } from 'vscode-languageclient/node';
import type { Focus } from './focus.ts';
import { KeptList } from './kept.ts';
import { nameOf } from './order.ts';
import * as settings from './settings.ts';

/** The server's answer to starling/rank: item indices, best first; 1 to 5 stars, or 0, of each; why, for those with stars. */
interface Ranking {
  readonly order: readonly number[];
  readonly stars: readonly number[];
  readonly why: Readonly<Record<string, string>>;
}

/** Where a starred item comes from: the original is looked up again when it is resolved. */
export interface Origin {
  readonly uri: vscode.Uri;
  readonly trigger: string | undefined;
  readonly place: number;
  readonly original: vscode.CompletionItem;
  readonly why: string;
}

const ON_TOP = '\u0000'; // stands before every sort key of others
const MOST = 5000; // items to rank
const NEAR = 60; // place of an item up to which it is resolved as it gets the focus: all before it are resolved with it
export const FINISH = 'starling.finishAccepted';
const NO_NAMES = new Set([vscode.CompletionItemKind.Snippet, vscode.CompletionItemKind.Text]);

export class Companion implements vscode.CompletionItemProvider {
  private readonly asking = new Set<string>();
  private readonly origins = new WeakMap<vscode.CompletionItem, Origin>();
  private readonly originals = new WeakMap<Origin, Promise<vscode.CompletionItem | undefined>>();
  private kept: KeptList | undefined;
  private cursor: { readonly uri: vscode.Uri; readonly position: vscode.Position } | undefined;

  constructor(
    private readonly client: () => LanguageClient | undefined,
    private readonly isOff: (languageId: string) => boolean,
    private readonly focus: Focus,
    private readonly shown: () => void,
  ) {}

  async provideCompletionItems(
    document: vscode.TextDocument,
    position: vscode.Position,
    token: vscode.CancellationToken,
    context: vscode.CompletionContext,
  ): Promise<vscode.CompletionList | undefined> {
    const client = this.client();
    if (client === undefined || this.asking.has(where(document.uri, position)) || this.isOff(document.languageId)) {
      return undefined; // it is ourselves that ask, or there is nothing to say
    }
    this.cursor = { uri: document.uri, position };
    if (!this.kept?.answers(document, position, context)) {
      const list = await this.starred(client, document, position, context.triggerCharacter, token);
      this.kept = list && KeptList.of(list, document, position, ON_TOP);
      this.shown();
    }
    return this.kept?.at(document, position);
  }

  private async starred(
    client: LanguageClient,
    document: vscode.TextDocument,
    position: vscode.Position,
    trigger: string | undefined,
    token: vscode.CancellationToken,
  ): Promise<vscode.CompletionList | undefined> {
    const all = await this.others(document.uri, position, trigger, 0);
    const items = all.items.filter((item) => item.kind === undefined || !NO_NAMES.has(item.kind)).slice(0, MOST);
    if (items.length === 0 || token.isCancellationRequested) {
      return undefined;
    }
    const ranking = await client
      .sendRequest<Ranking>(
        'starling/rank',
        {
          textDocument: client.code2ProtocolConverter.asTextDocumentIdentifier(document),
          position: client.code2ProtocolConverter.asPosition(position),
          items: items.map(described),
        },
        token,
      )
      .catch(() => undefined); // the ranker is off, still starting, or was too late: the others' list stands
    if (ranking === undefined) {
      return undefined;
    }
    const chosen = ranking.order.filter((index) => (ranking.stars[index] ?? 0) > 0);
    const marked = chosen.flatMap((index, rank) => {
      const original = items[index];
      const place = original === undefined ? -1 : all.items.indexOf(original);
      if (original === undefined) {
        return [];
      }
      const item = likeness(original, rank);
      this.origins.set(item, { uri: document.uri, trigger, place, original, why: ranking.why[index] ?? '' });
      return [item];
    });
    return new vscode.CompletionList(marked, false);
  }

  /** The original's own resolving: its documentation, its further edits, its command. */
  async resolveCompletionItem(item: vscode.CompletionItem): Promise<vscode.CompletionItem> {
    const origin = this.origins.get(item);
    if (origin === undefined) {
      return item;
    }
    const isNear = origin.place <= NEAR;
    const original = (isNear ? await this.resolvedOnce(origin) : undefined) ?? origin.original;
    for (const name of ['detail', 'additionalTextEdits', 'command', 'insertText'] as const) {
      if (original[name] !== undefined) {
        Object.assign(item, { [name]: original[name] });
      }
    }
    if (!isNear) {
      item.command = { title: '', command: FINISH, arguments: [origin] };
    }
    item.documentation = explained(original.documentation, origin.why);
    this.focus.on(item);
    return item;
  }

  /** After an item was accepted that stands too far down to be resolved before: its further edits and its command. */
  async finish(origin: Origin): Promise<void> {
    const editor = vscode.window.activeTextEditor;
    if (editor?.document.uri.toString() !== origin.uri.toString()) {
      return;
    }
    this.cursor = { uri: origin.uri, position: editor.selection.active };
    const asked = editor.document.getText();
    const original = await this.resolved(origin);
    const edits = original?.additionalTextEdits ?? [];
    if (edits.length > 0 && isUnchanged(asked, editor.document, edits)) {
      const edit = new vscode.WorkspaceEdit();
      edit.set(origin.uri, edits);
      await vscode.workspace.applyEdit(edit);
    }
    if (original?.command !== undefined) {
      await vscode.commands.executeCommand(original.command.command, ...(original.command.arguments ?? []));
    }
  }

  /** The list is shown again at each key, and its focused item resolved again: the other extension is asked for it once. */
  private async resolvedOnce(origin: Origin): Promise<vscode.CompletionItem | undefined> {
    const asked = this.originals.get(origin) ?? this.resolved(origin);
    this.originals.set(origin, asked);
    const original = await asked;
    if (original === undefined) {
      this.originals.delete(origin); // it could not be had then, and may be later
    }
    return original;
  }

  /** VS Code resolves an item of another's by its place in the list, with all before it. */
  private async resolved(origin: Origin): Promise<vscode.CompletionItem | undefined> {
    if (this.cursor === undefined || this.cursor.uri.toString() !== origin.uri.toString()) {
      return undefined;
    }
    let place = origin.place;
    for (let tries = 0; tries < 2; tries++) {
      const list = await this.others(origin.uri, this.cursor.position, origin.trigger, place + 1);
      const found = list.items.findIndex((item) => isSame(item, origin.original));
      if (found <= place) {
        return list.items[found];
      }
      place = found;
    }
    return undefined;
  }

  private async others(
    uri: vscode.Uri,
    position: vscode.Position,
    trigger: string | undefined,
    resolve: number,
  ): Promise<vscode.CompletionList> {
    const place = where(uri, position);
    this.asking.add(place);
    try {
      return await vscode.commands.executeCommand<vscode.CompletionList>(
        'vscode.executeCompletionItemProvider',
        uri,
        position,
        trigger,
        resolve,
      );
    } finally {
      this.asking.delete(place);
    }
  }
}

/** Whether a document is up to the last of the edits as it was: it may have been typed on below them. */
function isUnchanged(before: string, document: vscode.TextDocument, edits: readonly vscode.TextEdit[]): boolean {
  const end = Math.max(...edits.map((edit) => document.offsetAt(edit.range.end)));
  return document.getText().slice(0, end) === before.slice(0, end);
}

function where(uri: vscode.Uri, position: vscode.Position): string {
  return `${uri.toString()}#${position.line}:${position.character}`;
}

/** An item as the server looks at it; its kinds are LSP's, one more than VS Code's. */
function described(item: vscode.CompletionItem): object {
  const label = typeof item.label === 'string' ? undefined : item.label;
  return {
    label: nameOf(item),
    ...(label === undefined ? {} : { labelDetails: { detail: label.detail, description: label.description } }),
    ...(item.kind === undefined ? {} : { kind: item.kind + 1 }),
    ...(item.detail === undefined ? {} : { detail: item.detail }),
    ...(item.sortText === undefined ? {} : { sortText: item.sortText }),
    ...(item.filterText === undefined ? {} : { filterText: item.filterText }),
    ...(item.tags === undefined ? {} : { tags: item.tags }),
  };
}

/** A starred item that inserts what the original does. */
function likeness(original: vscode.CompletionItem, rank: number): vscode.CompletionItem {
  const label = typeof original.label === 'string' ? { label: original.label } : original.label;
  const item = new vscode.CompletionItem({ ...label, label: settings.starText() + label.label });
  Object.assign(item, original, { label: item.label });
  item.insertText = original.insertText ?? label.label;
  item.filterText = original.filterText ?? label.label;
  item.sortText = String(rank).padStart(5, '0');
  item.preselect = rank === 0;
  return item;
}

function isSame(a: vscode.CompletionItem, b: vscode.CompletionItem): boolean {
  const description = (item: vscode.CompletionItem) =>
    typeof item.label === 'string' ? '' : `${item.label.detail ?? ''}|${item.label.description ?? ''}`;
  return nameOf(a) === nameOf(b) && a.kind === b.kind && description(a) === description(b);
}

function explained(documentation: vscode.CompletionItem['documentation'], why: string): vscode.MarkdownString {
  const text = documentation instanceof vscode.MarkdownString ? documentation : new vscode.MarkdownString();
  if (typeof documentation === 'string') {
    text.appendText(documentation);
  }
  return why === '' ? text : text.appendMarkdown(`${text.value === '' ? '' : '\n\n---\n'}★ Starling: ${why}`);
}
