import assert from 'node:assert/strict';
import { test } from 'node:test';
import { leveled } from '../src/levels.ts';

const record = (level: string) =>
  `2026-01-02 03:04:05,678 4711 lsp_server.app ${level} basedpyright: ERROR is no level here`;

test('a record has its own level, and neither time nor level twice', () => {
  const levels = ['DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL'].map((level) => leveled(record(level)).level);
  assert.deepEqual(levels, ['debug', 'info', 'warn', 'error', 'error']);
  assert.equal(leveled(record('INFO')).text, '4711 lsp_server.app basedpyright: ERROR is no level here');
});

test('whatever else is on standard error is an error, as it stands', () => {
  for (const line of ['Traceback (most recent call last):', '  File "INFO.py", line 1', 'Segmentation fault', 'INFO']) {
    assert.deepEqual(leveled(line), { level: 'error', text: line });
  }
});
