import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Circumstances, modesIn } from '../src/modes.ts';

function given(some: Partial<Circumstances>): Circumstances {
  return { chosen: {}, isInstalled: () => false, isTrusted: true, ...some };
}

test('a language that nothing else supports is served', () => {
  assert.equal(modesIn(given({})).modes.get('python'), 'server');
});

test('where another extension supports it, Starling is its companion', () => {
  const { modes, problems } = modesIn(given({ isInstalled: (id) => id === 'vscode.typescript-language-features' }));
  assert.equal(modes.get('typescriptreact'), 'companion');
  assert.equal(modes.get('python'), 'server');
  assert.deepEqual(problems, []);
});

test('never two lists: server mode beside another support is refused, with what to do', () => {
  const { modes, problems } = modesIn(given({ chosen: { java: 'server' }, isInstalled: (id) => id === 'redhat.java' }));
  assert.equal(modes.get('java'), 'companion');
  assert.match(problems.join(), /redhat\.java is its language support.*Disable that extension/);
});

test('the user decides by language', () => {
  const { modes } = modesIn(given({ chosen: { python: 'companion', go: 'off' } }));
  assert.deepEqual([modes.get('python'), modes.get('go'), modes.get('rust')], ['companion', 'off', 'server']);
});

test('no server starts in a workspace that is not trusted', () => {
  const { modes } = modesIn(given({ isTrusted: false, chosen: { python: 'server' } }));
  assert.ok([...modes.values()].every((mode) => mode === 'companion'));
});
