import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { load } from './fakes/load.ts';

// biome-ignore lint/suspicious/noExplicitAny: VS Code's own types want all of its API
type Any = any;
const { Companion, vscode } = await load<{ Companion: Any }>('companion');
const { fake, Position } = vscode;
const INVOKED = { triggerKind: vscode.CompletionTriggerKind.TriggerCharacter, triggerCharacter: '.' };
const AGAIN = { triggerKind: vscode.CompletionTriggerKind.TriggerForIncompleteCompletions };
const NOT_CANCELLED = { isCancellationRequested: false };

let asked: { resolve: number }[] = [];
let companion: Any;
let ranking: object | undefined;

function original(label: string) {
  const item = new vscode.CompletionItem(label, vscode.CompletionItemKind.Method);
  return Object.assign(item, { detail: `detail of ${label}`, insertText: `${label}()` });
}

beforeEach(() => {
  asked = [];
  ranking = { order: [1, 0], stars: [0, 4], why: { 1: '75 % likely' } };
  fake.commands.set('vscode.executeCompletionItemProvider', async (...words: Any[]) => {
    asked.push({ resolve: words[3] });
    const again = await companion.provideCompletionItems(words[0].document, words[1], NOT_CANCELLED, INVOKED);
    assert.equal(again, undefined); // VS Code asks all providers, so ourselves as well
    return new vscode.CompletionList([original('add'), original('get')]);
  });
  const client = {
    code2ProtocolConverter: { asTextDocumentIdentifier: () => ({}), asPosition: () => ({}) },
    sendRequest: async () => {
      if (ranking === undefined) {
        throw new Error('the ranker is off');
      }
      return ranking;
    },
  };
  companion = new Companion(
    () => client,
    () => false,
    { on: () => {} },
    () => {},
  );
});

function opened(text: string) {
  const document: Any = vscode.document(text);
  document.uri.document = document;
  return document;
}

async function shown(text: string, context: object = INVOKED): Promise<Any[]> {
  const list = await companion.provideCompletionItems(
    opened(text),
    new Position(0, text.length),
    NOT_CANCELLED,
    context,
  );
  return list?.items ?? [];
}

test('only starred items are put on top, each inserting what the original does', async () => {
  const [item, ...others] = await shown('a.');
  assert.deepEqual(others, []);
  assert.equal(item.label.label, '★ get');
  assert.equal(item.insertText, 'get()');
  assert.equal(item.filterText, 'get');
  assert.ok(item.sortText < ' ');
});

test('the other extension is asked once a list, and once for what the focused item holds', async () => {
  await shown('a.');
  const [item] = await shown('a.g', AGAIN);
  assert.deepEqual(asked, [{ resolve: 0 }]);
  for (const text of ['a.ge', 'a.get']) {
    await companion.resolveCompletionItem(item);
    await shown(text, AGAIN);
  }
  assert.deepEqual(asked, [{ resolve: 0 }, { resolve: 2 }]);
  assert.match(item.documentation.value, /75 % likely/);
});

test('without a ranking the others’ list stands alone', async () => {
  ranking = undefined;
  assert.deepEqual(await shown('a.'), []);
});
