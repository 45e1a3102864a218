/** The walkthrough opens by itself when the extension starts for the first time, and only then. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Workbench } from './harness.ts';

const WALKTHROUGH = '.tab[data-resource-name="vscode_getting_started_page"]';
const FILE = '.tab[data-resource-name="main.py"]';
const STATUS = '#starling\\.starling\\.status';

async function withWorkbench(openOnInstall: boolean, run: (workbench: Workbench) => Promise<void>): Promise<void> {
  const settings = { 'workbench.welcomePage.walkthroughs.openOnInstall': openOnInstall };
  const workbench = await Workbench.open({ 'main.py': 'import os\n', 'other/main.py': 'import os\n' }, { settings });
  try {
    await run(workbench);
  } catch (error) {
    await workbench.shot(`failed-walkthrough-${openOnInstall}`);
    throw error;
  } finally {
    await workbench.close();
  }
}

/** Look at a file in preview: that starts the extension. */
async function peek(workbench: Workbench): Promise<void> {
  await workbench.page.locator('.explorer-folders-view .monaco-list-row', { hasText: 'main.py' }).click();
  await workbench.page.locator(FILE).waitFor();
}

/** Wait until the extension works, and what it opens as it starts is open. */
async function started(workbench: Workbench): Promise<void> {
  await workbench.page.locator(STATUS, { hasText: '★' }).waitFor();
}

test('a new profile shows it beside the file that was opened, and a second window does not', () =>
  withWorkbench(true, async (workbench) => {
    await peek(workbench);
    await workbench.page.locator(`${WALKTHROUGH}.active`).waitFor();
    await workbench.page.locator('.gettingStartedContainer', { hasText: 'Install the server' }).waitFor();
    const install = workbench.page.locator('.getting-started-step', { hasText: 'Install the server' });
    await install.locator('.codicon-getting-started-step-checked').waitFor(); // it is there already
    await workbench.shot('walkthrough');
    assert.equal(await workbench.page.locator(FILE).count(), 1);
    assert.equal(await workbench.page.locator(WALKTHROUGH).count(), 1);
    await workbench.page.keyboard.press('Control+W');
    await workbench.page.locator(WALKTHROUGH).waitFor({ state: 'detached' });
    await started(workbench);
    await workbench.openWindow(workbench.path('other')); // of another folder: one of this would restore its tabs
    await peek(workbench);
    await started(workbench);
    assert.equal(await workbench.page.locator(WALKTHROUGH).count(), 0);
  }));

test('who wants no walkthroughs gets none', () =>
  withWorkbench(false, async (workbench) => {
    await peek(workbench);
    await started(workbench);
    assert.equal(await workbench.page.locator(WALKTHROUGH).count(), 0);
  }));
