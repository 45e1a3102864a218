import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { beforeEach, test } from 'node:test';
import { load } from './fakes/load.ts';

// biome-ignore lint/suspicious/noExplicitAny: VS Code's own types want all of its API
type Any = any;
const { deleteAccepted, pickAdapter, vscode } = await load<Any>('asked');
const { fake } = vscode;
const CARD = { version: 1, folder: '', made: 'today', languages: [], workspaces: [], figures: {} };

let home = '';
let [old, log] = ['', ''];

/** A Python that answers each question with this. */
function answers(answer: unknown): string {
  const python = path.join(home, 'python');
  writeFileSync(path.join(home, 'answer.json'), JSON.stringify(answer));
  writeFileSync(python, `#!/bin/sh\ncat ${home}/answer.json\n`);
  chmodSync(python, 0o700);
  return python;
}

beforeEach(() => {
  home = mkdtempSync(path.join(tmpdir(), 'starling-asked-'));
  [old, log] = [path.join(home, 'accepted.old.jsonl'), path.join(home, 'accepted.jsonl')];
  fake.messages = [];
  fake.answer = undefined;
});

test('the log is deleted with its older part, once its owner says so', async () => {
  writeFileSync(old, '');
  writeFileSync(log, '');
  await deleteAccepted(answers([old, log]), home);
  assert.deepEqual([existsSync(old), existsSync(log)], [true, true]);
  fake.answer = 'Delete';
  await deleteAccepted(answers([old, log]), home);
  assert.deepEqual([existsSync(old), existsSync(log)], [false, false]);
});

test('where only the older part is left, that is deleted; where nothing is, it says so', async () => {
  writeFileSync(old, '');
  fake.answer = 'Delete';
  await deleteAccepted(answers([old, log]), home);
  assert.ok(!existsSync(old));
  assert.deepEqual(fake.messages.at(-1)?.buttons, ['Delete']);
  await deleteAccepted(answers([old, log]), home);
  assert.match(fake.messages.at(-1)?.text, /keeps no log/);
});

test('adapters are picked from, not the usage tables that are listed with them', async () => {
  const rows = [
    { kind: 'adapters', name: 'shop', ...CARD },
    { kind: 'usage', name: 'shop-usage', ...CARD },
  ];
  await pickAdapter(answers(rows), home);
  assert.deepEqual(fake.offered, ['Automatic', 'None', 'shop']);
});
