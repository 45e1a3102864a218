/** Two servers for one language behind Starling: what a person sees of both, each thing once. */

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { Workbench } from './harness.ts';
import { scenarios } from './scenarios.ts';
import { PATIENCE, until } from './system.ts';

const BASKET = `import os


class Basket:
    """A basket of things."""

    def weigh(self) -> int:
        return 1


basket: Basket = 5
basket.weigh()
`;
const IN_WEIGH = { line: 12, column: 10 };

let workbench: Workbench;

before(async () => {
  workbench = await Workbench.open(
    { 'basket.py': BASKET },
    { settings: { 'starling.servers': { python: ['basedpyright', 'ruff'] } } },
  );
  await workbench.edit('basket.py');
});
after(() => workbench?.close());
const test = scenarios(() => workbench);

/** The texts once there are some that hold all of these. */
function shown(read: () => Promise<string[]>, holding: readonly string[]): Promise<string[]> {
  return until(
    read,
    (texts) => holding.every((part) => texts.some((text) => text.includes(part))),
    2 * PATIENCE,
    (last) => `there is ${JSON.stringify(last)}`,
  );
}

test('the problems of both, each once', async () => {
  await workbench.run('Problems: Focus on Problems View');
  const rows = workbench.page.locator(
    '.markers-panel .monaco-list-row .marker-message-details-container, .markers-panel .monaco-list-row .details-container',
  );
  const texts = await shown(() => rows.allTextContents(), ['basedpyright', 'Ruff']);
  assert.deepEqual(texts.toSorted(), [...new Set(texts)].toSorted());
  await workbench.shot('two-servers-problems');
});

test('one hover of a method', async () => {
  await workbench.goTo(IN_WEIGH.line, IN_WEIGH.column);
  await workbench.run('Show or Focus Hover');
  const parts = workbench.page.locator('.monaco-hover:not(.hidden) .hover-row');
  const texts = await shown(() => parts.allTextContents(), ['weigh']);
  assert.equal(texts.filter((text) => text.includes('weigh')).length, 1, JSON.stringify(texts));
  await workbench.page.keyboard.press('Escape');
});

test('each member once in the list', async () => {
  await workbench.goTo(IN_WEIGH.line, 8);
  const rows = await workbench.suggestUntil((all) => all.some((row) => row.includes('weigh')));
  assert.deepEqual(rows.toSorted(), [...new Set(rows)].toSorted());
  await workbench.page.keyboard.press('Escape');
});

test('each action once', async () => {
  await workbench.goTo(1, 9);
  await workbench.page.keyboard.press('Control+.');
  const rows = workbench.page.locator('.action-widget .monaco-list-row.action');
  const texts = await shown(() => rows.allTextContents(), ['os']);
  assert.deepEqual(texts.toSorted(), [...new Set(texts)].toSorted());
  await workbench.page.keyboard.press('Escape');
});
