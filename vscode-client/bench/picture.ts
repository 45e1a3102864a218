/**
 * The frames of the README's moving picture: the real workbench, typed in as a person would.
 *
 *     make picture        docs/starling.gif, assembled by bench/picture.py
 *
 * Environment: CODE_SERVER, STARLING_PYTHON as for the workbench's tests; FRAMES, the folder that the frames are written to. A frame is
 * NUMBER-MILLISECONDS.png: how long it is shown.
 */

import { mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { Workbench } from '../workbench/harness.ts';

const FRAMES = process.env.FRAMES ?? path.resolve(import.meta.dirname, '..', 'dist', 'frames');
const EXAMPLE = readFileSync(path.resolve(import.meta.dirname, '..', '..', 'examples', 'shop.py'), 'utf8').replace(
  '        self.\n',
  '        \n',
);
const PLACE = { line: 30, column: 9 };
const TYPED = 'if self.';
const CHOSEN = ':';

async function main(): Promise<void> {
  mkdirSync(FRAMES, { recursive: true });
  const workbench = await Workbench.open({ 'shop.py': EXAMPLE });
  let count = 0;
  const frame = async (milliseconds: number): Promise<void> => {
    const name = `${String(count++).padStart(3, '0')}-${milliseconds}.png`;
    await workbench.page.screenshot({ path: path.join(FRAMES, name) });
  };
  try {
    await workbench.edit('shop.py');
    await workbench.goTo(PLACE.line, PLACE.column);
    await workbench.type(TYPED); // once before: the language server and the index load
    await workbench.suggestUntil((rows) => rows[0]?.startsWith('★') ?? false);
    await workbench.revert();
    await workbench.run('View: Close Primary Side Bar');
    await workbench.goTo(PLACE.line, PLACE.column);
    await frame(800);
    for (const key of TYPED) {
      await workbench.page.keyboard.type(key);
      await frame(140);
    }
    await workbench.rowsWhere((rows) => rows[0]?.startsWith('★') ?? false);
    await frame(1200);
    await workbench.details();
    await frame(2200);
    await workbench.page.keyboard.press('Enter');
    await workbench.page.waitForTimeout(300);
    await frame(400);
    for (const key of CHOSEN) {
      await workbench.page.keyboard.type(key);
      await frame(120);
    }
    await frame(1500);
  } finally {
    await workbench.close();
  }
}

await main();
