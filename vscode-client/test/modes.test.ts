import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Circumstances, modesIn } from '../src/modes.ts';

function given(some: Partial<Circumstances>): Circumstances {
  return { chosen: {}, isInstalled: () => false, isTrusted: true, setting: () => undefined, ...some };
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

test('an extension that holds several servers counts where its setting has it serve', () => {
  const mode = (installed: string[], server: string | undefined) =>
    modesIn(given({ isInstalled: (id) => installed.includes(id), setting: () => server })).modes.get('python');
  const [pylance, python] = ['ms-python.vscode-pylance', 'ms-python.python'];
  assert.equal(mode([python], 'Default'), 'companion'); // Jedi
  assert.equal(mode([python], 'None'), 'server');
  assert.equal(mode([python, pylance], 'Default'), 'companion');
  assert.equal(mode([python, pylance], 'None'), 'server');
  assert.equal(mode([pylance], undefined), 'companion');
  assert.equal(mode(['anysphere.cursorpyright'], 'None'), 'companion');
});
