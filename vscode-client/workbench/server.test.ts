/** Server mode: Starling in front of basedpyright, as a person sees it. */

import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before } from 'node:test';
import { acceptedAlone } from './alone.ts';
import { Workbench } from './harness.ts';
import { scenarios } from './scenarios.ts';
import { PATIENCE, until } from './system.ts';

const BASKET = `from dataclasses import dataclass


@dataclass
class Basket:
    tag: str
    total: int = 0
    total_weight: int = 0
    taken: bool = False

    def weigh(self) -> int:
        self.total_weight = 2 * self.total_weight + 1
        return self.total_weight

    def take(self) -> None:
        if self.total_weight > 3:
            print(self.total_weight)
        self.total_weight = round(self.total_weight)
        self.
`;
const cell = (source: string) => ({ cell_type: 'code', execution_count: null, metadata: {}, outputs: [], source });
const NOTEBOOK = JSON.stringify({
  cells: [
    cell('class Crate:\n    weight = 0\n    width = 0\n    def weigh(self):\n        return self.weight\n'),
    cell('crate = Crate()\ncrate.weight = 4\nprint(crate.weight)\ncrate'),
  ],
  metadata: { language_info: { name: 'python' } },
  nbformat: 4,
  nbformat_minor: 5,
});
const FREE = { line: 19, column: 14 };
const PATHS = `import json


def load():
    return Pat
`;
const STAR = '★ ';
const plain = (row: string) => row.replace(STAR, '');
const isStarred = (rows: string[]) => rows.some((row) => row.startsWith(STAR));
const BASEDPYRIGHT = [path.join(path.dirname(process.env.STARLING_PYTHON ?? ''), 'basedpyright-langserver'), '--stdio'];

let workbench: Workbench;

before(async () => {
  workbench = await Workbench.open({ 'basket.py': BASKET, 'paths.py': PATHS, 'notes.ipynb': NOTEBOOK });
});
after(() => workbench?.close());
const test = scenarios(() => workbench);

/** The list in a fresh basket.py, at the free line. */
async function listed(): Promise<string[]> {
  await workbench.edit('basket.py');
  await workbench.revert();
  await workbench.goTo(FREE.line, FREE.column);
  return workbench.suggestUntil(isStarred);
}

test('starred items first, and the order holds at 0, 1, 2 and 3 letters', async () => {
  const all = await listed();
  await workbench.shot('python');
  assert.equal(all[0], '★ total_weight');
  const stars = all.map((row) => row.startsWith(STAR));
  assert.deepEqual(stars, stars.toSorted().reverse(), 'a starred item stands below one without a star');
  let typed = '';
  for (const letter of 'tot') {
    await workbench.type(letter);
    typed += letter;
    const expected = all.map(plain).filter((name) => name.startsWith(typed));
    const rows = await workbench.rowsWhere((now) => now.length > 0 && now.every((row) => plain(row).includes(typed)));
    assert.deepEqual(rows.map(plain).slice(0, expected.length), expected, `after "${typed}"`);
  }
});

test('what was typed in full is first, whatever ranks above it', async () => {
  await listed();
  await workbench.type('total');
  await workbench.rowsWhere((rows) => plain(rows[0] ?? '') === 'total');
});

test('letters taken back bring the list back', async () => {
  const all = await listed();
  await workbench.type('to');
  await workbench.page.keyboard.press('Backspace');
  const expected = all.map(plain).filter((name) => name.startsWith('t'));
  await workbench.rowsWhere((rows) => rows.map(plain).slice(0, expected.length).join() === expected.join());
});

test('an accepted item inserts what the server alone would', async () => {
  await listed();
  await workbench.type('tak');
  await workbench.rowsWhere((rows) => plain(rows[0] ?? '') === 'taken' || plain(rows[0] ?? '') === 'take');
  const [first] = await workbench.rows();
  const name = plain(first ?? '');
  await workbench.page.keyboard.press('Enter');
  const expected = acceptedAlone({ file: workbench.path('basket.py'), ...FREE, name }, BASEDPYRIGHT);
  await workbench.save();
  assert.equal(workbench.text('basket.py'), expected);
  workbench.write('basket.py', BASKET);
});

test('an auto-import too, byte for byte', async () => {
  await workbench.edit('paths.py');
  await workbench.goTo(5, 15);
  const accepting = { file: workbench.path('paths.py'), line: 5, column: 15, name: 'Path', detail: 'pathlib' };
  const expected = acceptedAlone(accepting, BASEDPYRIGHT);
  const rows = await workbench.suggestUntil((all) => all.some((row) => plain(row) === 'Path'));
  await workbench.focusOnRow(rows.find((row) => plain(row) === 'Path') ?? '', 'pathlib');
  await workbench.page.keyboard.press('Enter');
  await workbench.page.locator('.view-line', { hasText: 'from pathlib import Path' }).waitFor();
  await workbench.save();
  assert.equal(workbench.text('paths.py'), expected);
});

test('a cell of a notebook is ranked, by what the cells above it hold', async () => {
  await workbench.edit('notes.ipynb');
  await workbench.page.locator('.notebookOverlay .view-line', { hasText: 'print(crate.weight)' }).click();
  await workbench.page.keyboard.press('Control+End');
  await workbench.type('.'); // the list by itself: Escape would leave the cell
  const rows = await workbench.rowsWhere(isStarred);
  await workbench.shot('notebook');
  assert.equal(rows[0], '★ weight');
});

test('the details of an item say why it stands where it does, and so does the command', async () => {
  await listed();
  const details = await workbench.details();
  assert.match(
    details,
    /★ Starling: \d+ % likely · (used like this .+ · )?(moved up from \d+(st|nd|rd|th)|1st in your server's order too)/,
  );
  await workbench.shot('why');
  await workbench.page.keyboard.press('Control+Alt+Y');
  await workbench.notified(/total_weight: \d+ % likely · /);
});

test('the status bar says what ranks', async () => {
  await listed();
  const status = workbench.page.locator('#starling\\.starling\\.status', { hasText: '★ signals' });
  await status.waitFor();
  await workbench.page.keyboard.press('Escape');
  await status.hover();
  await workbench.page.locator('.workbench-hover', { hasText: /last list\s*31 items, by signals/ }).waitFor();
  await workbench.shot('status');
});

test('off for a language: the list is the server’s own; on again: ranked', async () => {
  const ranked = await listed();
  await workbench.run('Starling: Turn On or Off for This Language');
  await workbench.page.locator('#starling\\.starling\\.status', { hasText: 'off' }).waitFor();
  await workbench.goTo(FREE.line, FREE.column);
  const own = await workbench.suggestUntil((rows) => rows.length > 0 && !isStarred(rows));
  assert.notDeepEqual(own, ranked.map(plain));
  assert.deepEqual(own.slice(0, 7), ['tag', 'take', 'taken', 'total', 'total_weight', 'weigh', '__annotations__']);
  await workbench.run('Starling: Turn On or Off for This Language');
  await workbench.goTo(FREE.line, FREE.column);
  await workbench.suggestUntil(isStarred);
});

test('a server that is killed comes back, and that is told once', async () => {
  await listed();
  for (let times = 0; times < 2; times++) {
    const [pid] = servers(workbench);
    assert.ok(pid !== undefined);
    process.kill(pid, 'SIGKILL');
    await until(
      () => servers(workbench),
      (now) => now.length > 0 && !now.includes(pid),
      PATIENCE,
      () => 'no new server',
    );
    await listed();
  }
  const told = (await workbench.notifications()).filter((text) => text.includes('ended and is started again'));
  assert.equal(told.length, 1);
});

test('health is a page with what doctor finds and what runs', async () => {
  await workbench.run('Starling: Show Health');
  await workbench.page.locator('.tab.active[data-resource-name="health.txt"]').waitFor();
  await workbench.page.locator('.view-line', { hasText: /Starling's.Python:/ }).waitFor();
  await workbench.page
    .locator('.view-line', { hasText: /basedpyright/ })
    .first()
    .waitFor();
  await workbench.shot('health');
  await workbench.page.keyboard.press('Control+W');
});

test('too little to learn from is said, and what to do', async () => {
  await workbench.run('Starling: Train on This Repository');
  await workbench.notified(/Starling can’t learn from project: |Starling can't learn from project: /);
});

/** The pids of this workbench's Starling servers. */
function servers(of: Workbench): number[] {
  return of
    .processes()
    .filter((words) => words.includes('-m lsp_server --stdio'))
    .map((words) => Number.parseInt(words, 10));
}
