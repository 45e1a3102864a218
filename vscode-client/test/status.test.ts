import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from './fakes/load.ts';

// biome-ignore lint/suspicious/noExplicitAny: VS Code's own types want all of its API
type Any = any;
const { StatusBar, vscode } = await load<{ StatusBar: Any }>('status');
const { fake } = vscode;
const RANKER = { index: true, files: 1, model: 'ready', reason: '', last: null };
const STATUS = { servers: [], rankerPid: 1, settings: { ranker: 'model' }, ranker: RANKER };

/** The item after the bar has looked: once at each state that it is given. */
async function after(states: object[], answer: () => Promise<unknown>, languageId: string | undefined = 'python') {
  fake.editor = languageId === undefined ? undefined : { document: { languageId } };
  const bar = new StatusBar(
    () => ({ sendRequest: answer }),
    (id: string) => (id === 'python' ? 'server' : undefined),
    () => false,
  );
  for (const state of states) {
    bar.enter(state);
  }
  await new Promise((done) => setImmediate(done));
  bar.dispose();
  const item = fake.items.at(-1);
  assert.ok(item);
  return item as Any;
}

test('the item says what is done before there is a server, with no editor open as well', async () => {
  const item = await after([{ name: 'not-installed' }], async () => STATUS, undefined);
  assert.ok(item.shown);
  assert.match(item.tooltip.value, /not installed\. Click to install/);
});

test('running, it says which ranker works, and hides in other languages', async () => {
  assert.equal((await after([{ name: 'running' }], async () => STATUS)).text, '★ model');
  assert.equal((await after([{ name: 'running' }], async () => STATUS, 'latex')).shown, false);
});

test('a server that does not answer is shown', async () => {
  const item = await after([{ name: 'running' }], () => Promise.reject(new Error('it hangs')));
  assert.match(item.text, /warning/);
});

test('a state that came later is not overwritten by an answer that came late', async () => {
  const item = await after([{ name: 'running' }, { name: 'failed', why: 'a | b' }], async () => STATUS);
  assert.match(item.text, /error/);
  assert.match(item.tooltip.value, /a \\\| b/);
});
