/** Companion mode: Starling beside VS Code's own TypeScript service, which stays the language support. */

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { Workbench } from './harness.ts';
import { scenarios } from './scenarios.ts';

const BASKET = `export class Basket {
  tag = '';
  total = 0;
  totalWeight = 0;
  taken = false;

  weigh(): number {
    this.totalWeight = 2 * this.totalWeight + 1;
    return this.totalWeight;
  }

  take(): void {
    if (this.totalWeight > 3) {
      console.log(this.totalWeight);
    }
    this.totalWeight = Math.round(this.totalWeight);
    this.
  }
}
`;
const FREE = { line: 17, column: 10 };
const PARCELS = 'export function parcelWeight(grams: number): number {\n  return grams / 1000;\n}\n';
const USES = Array.from({ length: 8 }, (_, n) => `export const w${n} = parcelWeight(${n});`).join('\n');
const USER = `import { parcelWeight } from './parcels';\n\n${USES}\n`;
const IMPORTING = 'export function ship(grams: number): number {\n  return parcelW\n}\n';
const STAR = '★ ';
const plain = (row: string) => row.replace(STAR, '');
const isStarred = (rows: string[]) => rows.some((row) => row.startsWith(STAR));

let workbench: Workbench;
const test = scenarios(() => workbench);

before(async () => {
  workbench = await Workbench.open({
    'tsconfig.json':
      '{ "compilerOptions": { "strict": true, "target": "es2022", "module": "es2022", "moduleResolution": "bundler" } }\n',
    'basket.ts': BASKET,
    'original.ts': BASKET,
    'parcels.ts': PARCELS,
    'user.ts': USER,
    'starred.ts': IMPORTING,
    'plain.ts': IMPORTING,
  });
});
after(() => workbench?.close());

async function listed(file: string, place = FREE): Promise<string[]> {
  await workbench.edit(file);
  await workbench.revert();
  await workbench.goTo(place.line, place.column);
  return workbench.suggestUntil(isStarred);
}

test('the likely few are on top, and all of the service’s own items follow', async () => {
  const rows = await listed('basket.ts');
  await workbench.shot('companion');
  assert.equal(rows[0], '★ totalWeight');
  const starred = rows.filter((row) => row.startsWith(STAR));
  assert.deepEqual(rows.slice(0, starred.length), starred);
  const own = rows.filter((row) => !row.startsWith(STAR));
  assert.deepEqual(own, ['tag', 'take', 'taken', 'total', 'totalWeight', 'weigh']);
});

test('they stay on top at 1, 2 and 3 letters', async () => {
  const all = await listed('basket.ts');
  const starred = all.filter((row) => row.startsWith(STAR));
  let typed = '';
  for (const letter of 'tot') {
    await workbench.type(letter);
    typed += letter;
    const expected = starred.filter((row) => plain(row).startsWith(typed));
    await workbench.rowsWhere(
      (rows) =>
        rows.every((row) => plain(row).startsWith(typed)) &&
        rows.slice(0, expected.length).join() === expected.join() &&
        rows.includes('total') &&
        rows.includes('totalWeight'),
    );
  }
});

test('a starred member inserts what its original does', async () => {
  const texts: string[] = [];
  for (const [file, mark] of [
    ['basket.ts', STAR],
    ['original.ts', ''],
  ] as const) {
    await listed(file);
    await workbench.type('tot');
    await workbench.rowsWhere((rows) => rows.length === 3 && isStarred(rows));
    await workbench.focusOnRow(`${mark}totalWeight`);
    await workbench.page.keyboard.press('Enter');
    await workbench.page.locator('.view-line', { hasText: /^\s*this\.totalWeight$/ }).waitFor();
    await workbench.save();
    texts.push(workbench.text(file));
    workbench.write(file, BASKET);
  }
  assert.equal(texts[0], BASKET.replace('this.\n', 'this.totalWeight\n'));
  assert.equal(texts[0], texts[1]);
});

test('a starred auto-import brings its import, byte for byte as its original does', async () => {
  const place = { line: 2, column: 17 };
  const texts: string[] = [];
  for (const [file, mark] of [
    ['starred.ts', STAR],
    ['plain.ts', ''],
  ] as const) {
    await listed(file, place);
    await workbench.focusOnRow(`${mark}parcelWeight`);
    if (mark === STAR) {
      await workbench.shot('companion-import');
    }
    await workbench.page.keyboard.press('Enter');
    await workbench.page.locator('.view-line', { hasText: 'import' }).waitFor();
    await workbench.save();
    texts.push(workbench.text(file));
  }
  assert.match(texts[0] ?? '', /^import \{ parcelWeight \} from ['"]\.\/parcels['"];\n/);
  assert.equal(texts[0], texts[1]);
});

test('the details say why, and have the original’s own', async () => {
  await listed('basket.ts');
  const details = await workbench.details();
  assert.match(details, /\(property\) Basket\.totalWeight: number/);
  assert.match(details, /★ Starling: \d+ % likely · /);
});

test('off in this workspace: the service’s own list', async () => {
  await listed('basket.ts');
  await workbench.run('Starling: Turn On or Off in This Workspace');
  await workbench.page.locator('#starling\\.starling\\.status', { hasText: 'off' }).waitFor();
  await workbench.goTo(FREE.line, FREE.column);
  const own = await workbench.suggestUntil((rows) => rows.length > 0 && !isStarred(rows));
  assert.deepEqual(own, ['tag', 'take', 'taken', 'total', 'totalWeight', 'weigh']);
  await workbench.run('Starling: Turn On or Off in This Workspace');
  await workbench.goTo(FREE.line, FREE.column);
  await workbench.suggestUntil(isStarred);
});
