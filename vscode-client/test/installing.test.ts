import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { load } from './fakes/load.ts';

// biome-ignore lint/suspicious/noExplicitAny: VS Code's own types want all of its API
type Any = any;
const { Installing, vscode } = await load<{ Installing: Any }>('installing');
const { fake } = vscode;

beforeEach(() => {
  fake.messages = [];
  fake.settings.clear();
});

test('an environment is offered, unless the setting names a Python: it says how to install there', () => {
  const installing = new Installing();
  installing.offerToInstall();
  fake.settings.set('python', '/opt/python');
  installing.offerToInstall();
  const [offered, told] = fake.messages;
  assert.deepEqual(offered?.buttons, ['Install', 'Name a Python']);
  assert.match(told?.text ?? '', /\/opt\/python -m pip install starling-lsp/);
  assert.deepEqual(told?.buttons, ['Open Setting']);
});
