import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from './fakes/load.ts';

// biome-ignore lint/suspicious/noExplicitAny: VS Code's own types want all of its API
type Any = any;
const { KeptList, vscode } = await load<{ KeptList: Any }>('kept');
const AGAIN = { triggerKind: vscode.CompletionTriggerKind.TriggerForIncompleteCompletions };

function listed(...labels: string[]) {
  return labels.map((label, rank) => {
    const item = new vscode.CompletionItem(label);
    item.sortText = String(rank).padStart(5, '0');
    return item;
  });
}

function kept(text = 'a.', isIncomplete = false) {
  const at = new vscode.Position(0, text.length);
  return KeptList.of(
    new vscode.CompletionList(listed('get', 'gather', 'set'), isIncomplete),
    vscode.document(text),
    at,
  );
}

function answers(list: Any, text: string, context: object = AGAIN): boolean {
  return list.answers(vscode.document(text), new vscode.Position(0, text.length), context);
}

test('a list answers while its word is typed on, and no longer', () => {
  assert.ok(answers(kept(), 'a.g'));
  assert.ok(answers(kept(), 'a.'));
  for (const other of ['a.g.', 'b.g', 'a.g(']) {
    assert.ok(!answers(kept(), other), other);
  }
});

test('what the user asks for anew, or what is not all known, is asked of the server', () => {
  assert.ok(!answers(kept(), 'a.g', { triggerKind: vscode.CompletionTriggerKind.Invoke }));
  assert.ok(!answers(kept('a.', true), 'a.g'));
});

test('a list that Starling did not rank is not kept', () => {
  const list = new vscode.CompletionList([new vscode.CompletionItem('get')]);
  assert.equal(KeptList.of(list, vscode.document('a.'), new vscode.Position(0, 2)), undefined);
});

test('the order holds at each letter', () => {
  const list = kept();
  const shown = list.at(vscode.document('a.g'), new vscode.Position(0, 3)).items as Any[];
  const byKey = [...shown].sort((a, b) => (a.sortText < b.sortText ? -1 : 1)).map((item) => item.label);
  assert.deepEqual(byKey.slice(0, 2), ['get', 'gather']);
});
