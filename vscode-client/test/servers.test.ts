import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serverNames } from '../src/servers.ts';

test('the servers that are asked are those that run', () => {
  assert.deepEqual(serverNames({}, ''), []);
  assert.deepEqual(serverNames({}, 'ty, tsgo,'), ['ty', 'tsgo']);
  const byLanguage = { python: ['basedpyright', 'ruff'], lua: [['lua-language-server']], java: ['jdtls'] };
  assert.deepEqual(serverNames(byLanguage, 'ty'), ['basedpyright', 'ruff', 'jdtls', 'ty']);
});
