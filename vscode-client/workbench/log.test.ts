/** The output channel: what the server logs stands there at its own level, and what else it says on standard error as an error. */

import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before } from 'node:test';
import { Workbench } from './harness.ts';
import { scenarios } from './scenarios.ts';
import { PATIENCE, until } from './system.ts';

const COMPLAINT = 'a complaint that is no log record';
const folder = mkdtempSync(path.join(tmpdir(), 'starling-python-'));
let workbench: Workbench;
const test = scenarios(() => workbench);

before(async () => {
  const python = path.join(folder, 'python');
  writeFileSync(python, `#!/bin/sh\necho '${COMPLAINT}' >&2\nexec '${process.env.STARLING_PYTHON}' "$@"\n`);
  chmodSync(python, 0o755);
  workbench = await Workbench.open({ 'main.py': 'import os\n\nos.\n' }, { settings: { 'starling.python': python } });
});
after(async () => {
  await workbench?.close();
  rmSync(folder, { recursive: true });
});

/** Lines of the channel that hold a text, each from its level on, once there are any. The view shows only its last few. */
function said(text: string): Promise<string[]> {
  return until(
    () =>
      workbench
        .log()
        .filter((line) => line.includes(text))
        .map((line) => line.replace(/^[^[]*/, '')),
    (found) => found.length > 0,
    PATIENCE,
    () => `no line says ${text}`,
  );
}

test('records have their own level, and only what is none is an error', async () => {
  await workbench.edit('main.py');
  await workbench.goTo(3, 4);
  await workbench.suggestUntil((rows) => rows.length > 0);
  await workbench.run('Output: Show Output Channels...');
  await workbench.page.locator('.quick-input-list .monaco-list-row', { hasText: 'Starling' }).first().click();
  await workbench.page.locator('.output-view .view-line', { hasText: '[info]' }).first().waitFor();
  await workbench.shot('log');
  assert.deepEqual(await said(COMPLAINT), [`[error] ${COMPLAINT}`]);
  const records = await said(' lsp_server.');
  for (const record of records) {
    assert.match(record, /^\[info\] \d+ lsp_server\.[\w.]+ (?!INFO)/);
  }
});
