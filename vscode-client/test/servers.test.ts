import assert from 'node:assert/strict';
import { test } from 'node:test';
import { namesWithout, serverNames, serversWithout } from '../src/servers.ts';

test('the servers that are asked are those that run', () => {
  assert.deepEqual(serverNames({}, ''), []);
  assert.deepEqual(serverNames({}, 'ty, tsgo,'), ['ty', 'tsgo']);
  const byLanguage = { python: ['basedpyright', 'ruff'], lua: [['lua-language-server']], java: ['jdtls'] };
  assert.deepEqual(serverNames(byLanguage, 'ty'), ['basedpyright', 'ruff', 'jdtls', 'ty']);
});

test('a server that another extension runs is left to it', () => {
  const taken = new Set(['ruff']);
  assert.equal(namesWithout('basedpyright,ruff', taken), 'basedpyright');
  const given = { python: ['ty', 'ruff', { server: 'ruff', only: [] }], lua: [['lua-language-server']] };
  assert.deepEqual(serversWithout(given, taken), { python: ['ty'], lua: [['lua-language-server']] });
});
