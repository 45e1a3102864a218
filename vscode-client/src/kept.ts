/**
 * The last list of a document, kept for while its word is typed on: VS Code asks again at each key, since the keys that hold an
 * order hold until the next letter only. Answered from here, that costs nothing, and the list does not change under the hand.
 */

import * as vscode from 'vscode';
import { keys, matched } from './order.ts';

type ItemRange = vscode.Range | { inserting: vscode.Range; replacing: vscode.Range } | undefined;

interface KeptItem {
  readonly item: vscode.CompletionItem;
  readonly filter: string;
  readonly sort: string;
  readonly range: ItemRange;
}

const RANKED = /^\d{5}$/; // a sortText that Starling's server wrote
const WORD = /[\p{ID_Continue}$]+$/u;

/** Where the word at a position starts, and what stands around it on its line: while these stay, only the word is typed. */
interface Place {
  readonly uri: string;
  readonly line: number;
  readonly lines: number;
  readonly before: string;
  readonly after: string;
}

function placeOf(document: vscode.TextDocument, position: vscode.Position): Place {
  const text = document.lineAt(position.line).text;
  const left = text.slice(0, position.character);
  return {
    uri: document.uri.toString(),
    line: position.line,
    lines: document.lineCount,
    before: left.replace(WORD, ''),
    after: text.slice(position.character),
  };
}

export class KeptList {
  private constructor(
    private readonly place: Place,
    private readonly cursor: vscode.Position,
    private readonly items: readonly KeptItem[],
    private readonly isComplete: boolean,
    private readonly first: string,
  ) {}

  /** A list that the server ranked; undefined for any other. `first` stands before every sort key. */
  static of(
    list: vscode.CompletionList,
    document: vscode.TextDocument,
    position: vscode.Position,
    first = '',
  ): KeptList | undefined {
    if (list.items.length === 0 || !list.items.every((item) => RANKED.test(item.sortText ?? ''))) {
      return undefined;
    }
    const items = list.items.map((item) => ({
      item,
      filter: matched(item),
      sort: item.sortText ?? '',
      range: item.range,
    }));
    return new KeptList(placeOf(document, position), position, items, !list.isIncomplete, first);
  }

  /**
   * Whether the list answers there too: VS Code asks for it again, all of it is known, and nothing but its word was typed or taken
   * back since.
   */
  answers(document: vscode.TextDocument, position: vscode.Position, context: vscode.CompletionContext): boolean {
    const isAskedAgain = context.triggerKind === vscode.CompletionTriggerKind.TriggerForIncompleteCompletions;
    const there = placeOf(document, position);
    const isThere = (Object.keys(there) as (keyof Place)[]).every((name) => there[name] === this.place[name]);
    return isAskedAgain && this.isComplete && isThere;
  }

  /** The list as it is shown at a position: the same items, with keys for what is typed, to be asked for again at the next key. */
  at(document: vscode.TextDocument, position: vscode.Position): vscode.CompletionList {
    const line = document.lineAt(position.line).text;
    const word = document.getWordRangeAtPosition(position)?.start ?? position;
    const further = position.character - this.cursor.character;
    for (const { item, filter, sort, range } of this.items) {
      const moved = movedEnd(range, this.cursor, further);
      if (moved !== undefined) {
        item.range = moved;
      }
      const start = moved === undefined ? word : startOf(moved);
      const given = keys({ filter, sort }, line.slice(start.character, position.character));
      item.filterText = given.filterText;
      item.sortText = this.first + given.sortText;
    }
    return new vscode.CompletionList(
      this.items.map((kept) => kept.item),
      true,
    );
  }
}

function startOf(range: Exclude<ItemRange, undefined>): vscode.Position {
  return range instanceof vscode.Range ? range.start : range.inserting.start;
}

function movedEnd(range: ItemRange, cursor: vscode.Position, further: number): ItemRange {
  const moved = (one: vscode.Range) =>
    one.end.isBefore(cursor) ? one : one.with({ end: one.end.translate(0, further) });
  if (range === undefined || further === 0) {
    return range;
  }
  return range instanceof vscode.Range
    ? moved(range)
    : { inserting: moved(range.inserting), replacing: moved(range.replacing) };
}
