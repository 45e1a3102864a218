/** What a person sees before anything works: a workspace that is not trusted, a Python that is not there, no folder at all. */

import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { Workbench } from './harness.ts';
import { PATIENCE, until } from './system.ts';

const PROGRAM = 'import os\n\nos.\n';
const STATUS = '#starling\\.starling\\.status';

test('in a workspace that is not trusted no language server runs', async () => {
  const workbench = await Workbench.open(
    { 'main.py': PROGRAM },
    { isTrusted: false, settings: { 'security.workspace.trust.startupPrompt': 'never' } },
  );
  try {
    await workbench.edit('main.py');
    await workbench.page.locator(STATUS, { hasText: '★' }).waitFor();
    await workbench.goTo(3, 4);
    await workbench.page.keyboard.press('Control+Space');
    await workbench.page.locator('.suggest-widget.visible', { hasText: 'No suggestions' }).waitFor();
    const running = workbench.processes();
    assert.ok(running.some((words) => words.includes('-m lsp_server --stdio')));
    assert.ok(!running.some((words) => /langserver|-server\b.*--stdio/.test(words) && !words.includes('lsp_server')));
  } finally {
    await workbench.close();
  }
});

test('where the Python of the settings has no Starling it says so, and what to do', async () => {
  const workbench = await Workbench.open(
    { 'main.py': PROGRAM },
    { settings: { 'starling.python': '/nowhere/python' } },
  );
  try {
    await workbench.edit('main.py');
    await workbench.notified(/Starling needs its Python part\. The setting starling\.python names \/nowhere\/python/);
    await workbench.page.locator('.notification-toast .monaco-button', { hasText: 'Open Setting' }).first().waitFor();
    await workbench.page.locator(STATUS, { hasText: 'Starling' }).waitFor();
    await workbench.shot('missing');
  } finally {
    await workbench.close();
  }
});

/** A Python whose first server never answers. */
function hangsOnce(folder: string): string {
  const file = path.join(folder, 'python');
  const lines = [
    '#!/bin/sh',
    `case "$*" in *lsp_server*--stdio*) [ -e ${folder}/hung ] || { touch ${folder}/hung; exec sleep 600; } ;; esac`,
    `exec ${process.env.STARLING_PYTHON} "$@"`,
  ];
  writeFileSync(file, `${lines.join('\n')}\n`);
  chmodSync(file, 0o755);
  return file;
}

test('a start that hangs is shown, and Restart ends it', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'hangs-'));
  const workbench = await Workbench.open(
    { 'main.py': PROGRAM },
    { settings: { 'starling.python': hangsOnce(folder) } },
  );
  try {
    await workbench.edit('main.py');
    await workbench.page.locator(STATUS, { hasText: 'Starling' }).waitFor();
    await workbench.run('Starling: Restart');
    await workbench.page.locator(STATUS, { hasText: '★' }).waitFor();
    assert.ok(!workbench.processes().some((words) => words.includes('sleep 600')));
    assert.equal(workbench.processes().filter((words) => words.includes('-m lsp_server --stdio')).length, 1);
  } finally {
    await workbench.close();
    rmSync(folder, { recursive: true });
  }
});

test('Restart, clicked twice, starts one server, when the one that hangs is gone', async () => {
  const workbench = await Workbench.open({ 'main.py': PROGRAM });
  const servers = () => workbench.processes().filter((words) => words.includes('-m lsp_server --stdio'));
  const said = (words: string) => workbench.log().findLastIndex((line) => line.includes(words));
  try {
    await workbench.edit('main.py');
    await workbench.page.locator(STATUS, { hasText: '★' }).waitFor();
    const hung = Number.parseInt(servers()[0] ?? '', 10);
    process.kill(hung, 'SIGSTOP');
    await workbench.run('Starling: Restart');
    await workbench.run('Starling: Restart');
    await until(
      () => said('the server is killed'),
      (line) => line >= 0 && line < said(' is in '),
      PATIENCE,
      () => workbench.log().join('\n'),
    );
    await workbench.page.locator(STATUS, { hasText: '★' }).waitFor();
    assert.equal(servers().length, 1);
  } finally {
    await workbench.close();
  }
});

test('a file without a folder is ranked too', async () => {
  const workbench = await Workbench.open(
    { 'main.py': 'import os\n\nos.path.join("a", "b")\nos.path.\n' },
    { folder: false },
  );
  try {
    await workbench.openAlone('main.py');
    await workbench.goTo(4, 9);
    const rows = await workbench.suggestUntil((all) => all[0]?.endsWith('join') ?? false);
    assert.ok(rows.length > 5);
  } finally {
    await workbench.close();
  }
});
