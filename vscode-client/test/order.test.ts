import assert from 'node:assert/strict';
import { test } from 'node:test';
import { keys } from '../src/order.ts';

/** The labels of a list in the order that the keys give, with VS Code's score simplified to "begins with it or not". */
function shown(ranked: string[], typed: string): string[] {
  return ranked
    .map((label, rank) => ({ label, ...keys({ filter: label, sort: String(rank).padStart(5, '0') }, typed) }))
    .filter((item) => item.filterText.toLowerCase().startsWith(typed.toLowerCase()))
    .sort((a, b) => (a.sortText < b.sortText ? -1 : 1))
    .map((item) => item.label);
}

test('with nothing typed the rank decides, and nothing else is touched', () => {
  assert.deepEqual(shown(['total', 'add', '_x'], ''), ['total', 'add', '_x']);
  assert.equal(keys({ filter: 'total', sort: '00000' }, '').filterText, 'total');
});

test('what begins with the typed letters keeps its rank', () => {
  assert.deepEqual(shown(['total', 'tail', 'take', 'add'], 't'), ['total', 'tail', 'take']);
  assert.deepEqual(shown(['total', 'tail', 'take', 'add'], 'ta'), ['tail', 'take']);
});

test('what was typed in full is first, whatever its rank', () => {
  assert.deepEqual(shown(['items', 'item_of', 'item'], 'item'), ['item', 'items', 'item_of']);
});

test('small letters match capitals, capitals mean themselves', () => {
  assert.deepEqual(shown(['Rate', 'rate'], 'r'), ['Rate', 'rate']);
  assert.deepEqual(shown(['rate', 'Rate'], 'R'), ['Rate', 'rate']);
});

test('all that begin with the typed text score the same: they begin alike', () => {
  const texts = ['add', 'addItem', 'Advance'].map((filter) => keys({ filter, sort: '0' }, 'ad').filterText);
  assert.deepEqual(texts, ['ad_add', 'ad_addItem', 'ad_Advance']);
});

test('what matches only in its middle keeps its own text, behind the others', () => {
  const middle = keys({ filter: 'readAll', sort: '00000' }, 'all');
  const start = keys({ filter: 'allow', sort: '00009' }, 'all');
  assert.equal(middle.filterText, 'readAll');
  assert.ok(start.sortText < middle.sortText);
});

test('a range that begins before the letters is matched from there', () => {
  assert.equal(keys({ filter: '.at', sort: '0' }, '.a').filterText, '.a_.at');
  assert.equal(keys({ filter: '.at', sort: '0' }, '.').filterText, '._.at');
});
