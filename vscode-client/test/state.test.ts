import assert from 'node:assert/strict';
import { test } from 'node:test';
import { counted, face, isOlder, type ServerStatus } from '../src/state.ts';

const STATUS: ServerStatus = {
  servers: [{ name: 'ty', state: 'running', languages: ['python'] }],
  rankerPid: 7,
  settings: { ranker: 'model' },
  ranker: {
    index: true,
    files: 1,
    model: 'ready',
    reason: '',
    last: { items: 30, ranker: 'model', complete: false, adapter: '' },
  },
};
const PYTHON = { languageId: 'python', mode: 'server', isOff: false } as const;
const RUNNING = { name: 'running' } as const;

function text(here: Parameters<typeof face>[1]): string | undefined {
  return face(RUNNING, here)?.text;
}

test('each state before the server runs is shown, whatever editor is open', () => {
  for (const state of [
    { name: 'looking' },
    { name: 'no-python' },
    { name: 'not-installed' },
    { name: 'installing', step: 'pip' },
    { name: 'starting' },
    { name: 'failed', why: 'it ended' },
  ] as const) {
    assert.match(face(state, { isOff: false })?.text ?? '', /Starling/);
    assert.notEqual(face(state, { isOff: false })?.rows.length, 0);
  }
});

test('running: which ranker works, and nothing in languages that are not known', () => {
  assert.equal(text({ ...PYTHON, status: STATUS }), '★ model');
  const signals = { ...STATUS, ranker: { ...STATUS.ranker, model: 'loading' } } as ServerStatus;
  assert.equal(text({ ...PYTHON, status: signals }), '★ signals');
  assert.equal(text({ languageId: 'latex', isOff: false, status: STATUS }), undefined);
  assert.equal(text({ isOff: false }), '★ Starling');
  assert.equal(text({ ...PYTHON, isOff: true, status: STATUS }), '☆ off');
});

test('a server that failed, a ranker that was killed and a server without an answer are warned of', () => {
  const failed = { ...STATUS, servers: [{ name: 'ty', state: 'failed', languages: ['python'] }] };
  const killed = { ...STATUS, rankerPid: null, ranker: null };
  for (const status of [failed, killed, undefined]) {
    assert.equal(text({ ...PYTHON, status }), '$(warning) Starling');
  }
  const turnedOff = { ...killed, settings: { ranker: 'off' } };
  assert.notEqual(text({ ...PYTHON, status: turnedOff }), '$(warning) Starling');
});

test('what another language’s server does is not shown here', () => {
  const other = { ...STATUS, servers: [...STATUS.servers, { name: 'gopls', state: 'failed', languages: ['go'] }] };
  assert.equal(text({ ...PYTHON, status: other }), '★ model');
});

test('the tooltip counts in words', () => {
  const rows = new Map(face(RUNNING, { ...PYTHON, status: STATUS })?.rows);
  assert.equal(rows.get('index'), '1 file');
  assert.equal(rows.get('last list'), '30 items, by model, cut short by the deadline');
  assert.equal(counted(2100, 'file'), '2,100 files');
});

test('where no model is wanted, nothing is said of adapters', () => {
  const signals = { ...STATUS, ranker: { ...STATUS.ranker, model: 'off' } } as ServerStatus;
  assert.equal(new Map(face(RUNNING, { ...PYTHON, status: signals })?.rows).has('adapter'), false);
});

test('a team’s engine is shown while it ranks, and what is wrong with it otherwise', () => {
  const remote = { host: 'engine.example', state: 'ready', model: 'starling', reason: '' };
  const of = (status: Partial<typeof remote>): ServerStatus =>
    ({ ...STATUS, ranker: { ...STATUS.ranker, remote: { ...remote, ...status } } }) as ServerStatus;
  assert.equal(text({ ...PYTHON, status: of({}) }), '★ remote');
  assert.equal(new Map(face(RUNNING, { ...PYTHON, status: of({}) })?.rows).get('remote'), 'starling at engine.example');
  const away = of({ state: 'away', reason: 'it did not answer in time' });
  assert.equal(text({ ...PYTHON, status: away }), '★ model');
  const rows = new Map(face(RUNNING, { ...PYTHON, status: away })?.rows);
  assert.equal(rows.get('remote'), 'engine.example away: it did not answer in time');
});

test('versions are compared by number', () => {
  assert.ok(isOlder('0.9.0', '0.10.0'));
  assert.ok(!isOlder('0.10.0', '0.10.0'));
  assert.ok(!isOlder('1.0.0', '0.10.0'));
  assert.ok(!isOlder('unknown', '0.10.0'));
});
