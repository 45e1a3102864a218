/**
 * The real workbench: code-server with the packaged extension, in headless Chromium.
 *
 * Environment: CODE_SERVER (its entry.js), STARLING_PYTHON (a Python with Starling and a wrapped server), SHOTS (where screenshots
 * go; dist/screenshots).
 */

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import { CodeServer, type Options } from './code-server.ts';
import { chromiumPath, PATIENCE, until } from './system.ts';

const SHOTS = process.env.SHOTS ?? path.resolve(import.meta.dirname, '..', 'dist', 'screenshots');

export class Workbench {
  private readonly server: CodeServer;
  private browser: Browser | undefined;
  private profile!: BrowserContext;
  private address = '';
  page!: Page;

  private constructor(options: Options) {
    this.server = new CodeServer(options);
  }

  /** Start it over a project of these files (path to text). */
  static async open(files: Readonly<Record<string, string>>, options: Options = {}): Promise<Workbench> {
    const workbench = new Workbench(options);
    try {
      await workbench.start(files, options);
    } catch (error) {
      await workbench.close();
      throw error;
    }
    return workbench;
  }

  private async start(files: Readonly<Record<string, string>>, options: Options): Promise<void> {
    this.address = await this.server.start(files);
    this.browser = await chromium.launch({
      executablePath: chromiumPath(),
      args: [
        '--no-sandbox',
        '--disable-gpu',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
      ],
    });
    this.profile = await this.browser.newContext({ viewport: { width: 1180, height: 640 } });
    this.profile.setDefaultTimeout(PATIENCE);
    await this.openWindow((options.folder ?? true) ? this.project : undefined);
  }

  /** A window of the same profile, in which all that follows is done. */
  async openWindow(folder: string | undefined): Promise<void> {
    this.page = await this.profile.newPage();
    await this.page.goto(
      `${this.address}/?${folder === undefined ? 'ew=true' : `folder=${encodeURIComponent(folder)}`}`,
    );
    await this.page
      .locator(`.monaco-workbench ${folder === undefined ? '.statusbar-item' : '.explorer-folders-view'}`)
      .first()
      .waitFor();
  }

  async close(): Promise<void> {
    await this.browser?.close();
    await this.server.close();
  }

  get project(): string {
    return this.server.project;
  }

  path(name: string): string {
    return this.server.path(name);
  }

  // What a person does

  /** Open a file and wait until its editor is there. */
  async edit(name: string): Promise<void> {
    const row = this.page.locator('.explorer-folders-view .monaco-list-row', { hasText: path.basename(name) });
    await row.first().dblclick();
    await this.page.locator(`.tab.active[data-resource-name="${path.basename(name)}"]`).waitFor();
    await this.page.locator('.monaco-editor .view-line').first().waitFor();
  }

  /** Open a file where no folder is open. */
  async openAlone(name: string): Promise<void> {
    await this.page.keyboard.press('Control+O');
    await this.page.locator('.quick-input-widget input').fill(this.path(name));
    await this.page
      .locator('.quick-input-list .monaco-list-row', { hasText: path.basename(name) })
      .first()
      .waitFor();
    await this.page.keyboard.press('Enter');
    await this.page.locator(`.tab.active[data-resource-name="${path.basename(name)}"]`).waitFor();
    await this.page.locator('.quick-input-widget').waitFor({ state: 'hidden' });
  }

  /** Put the cursor there, 1-based. */
  async goTo(line: number, column: number): Promise<void> {
    await this.page.keyboard.press('Escape');
    await this.page.keyboard.press('Control+G');
    await this.page.locator('.quick-input-widget input').fill(`:${line}:${column}`);
    await this.page
      .locator('.quick-input-list .monaco-list-row', { hasText: `${line}` })
      .first()
      .waitFor();
    await this.page.keyboard.press('Enter');
    await this.page.locator('.quick-input-widget').waitFor({ state: 'hidden' });
  }

  async run(command: string): Promise<void> {
    await this.openPalette(`>${command}`);
    await this.page.locator('.quick-input-list .monaco-list-row', { hasText: command }).first().click();
  }

  /** Open the command palette with this text, again if it closes before the text is in it: on a busy machine it sometimes does. */
  private async openPalette(text: string): Promise<void> {
    const input = this.page.locator('.quick-input-widget input');
    for (let tries = 1; ; tries++) {
      await this.page.keyboard.press('F1');
      try {
        await input.fill(text, { timeout: PATIENCE / 3 });
        return;
      } catch (error) {
        if (tries === 3) {
          throw error;
        }
      }
    }
  }

  async type(text: string): Promise<void> {
    await this.page.keyboard.type(text, { delay: 30 });
  }

  /** The suggest widget's rows from the top, as far as they are shown: "label" without what stands beside it. */
  async rows(): Promise<string[]> {
    const widget = this.page.locator('.suggest-widget.visible');
    const rows = await widget.locator('.monaco-list-row').evaluateAll((all) =>
      all.map((row) => ({
        place: Number(row.getAttribute('data-index')),
        label: row.querySelector('.monaco-icon-label .label-name')?.textContent ?? '',
      })),
    );
    return rows.sort((a, b) => a.place - b.place).map((row) => row.label.replaceAll('\u00a0', ' '));
  }

  /** Wait until the list is as wanted; fails with what it last was. */
  async rowsWhere(isAsWanted: (rows: string[]) => boolean, patience = PATIENCE): Promise<string[]> {
    return until(
      () => this.rows(),
      isAsWanted,
      patience,
      (last) => `the list is ${JSON.stringify(last)}`,
    );
  }

  /** Ask for a list here until it is as wanted: language servers load, and the index is made. */
  async suggestUntil(isAsWanted: (rows: string[]) => boolean): Promise<string[]> {
    const end = Date.now() + 2 * PATIENCE;
    let last: string[] = [];
    while (Date.now() < end) {
      await this.page.keyboard.press('Escape');
      await this.page.keyboard.press('Control+Space');
      try {
        return await this.rowsWhere((rows) => {
          last = rows;
          return isAsWanted(rows);
        }, 3000);
      } catch {
        // not yet: asked again, until there is no time left
      }
    }
    throw new Error(`the list is ${JSON.stringify(last)}`);
  }

  /** The file as it is on the disk. */
  async revert(): Promise<void> {
    await this.page.keyboard.press('Escape');
    await this.run('File: Revert File');
    await this.page.locator('.tab.active:not(.dirty)').waitFor();
  }

  async save(): Promise<void> {
    await this.page.keyboard.press('Control+S');
    await this.page.locator('.tab.active:not(.dirty)').waitFor();
  }

  text(name: string): string {
    return readFileSync(this.path(name), 'utf8');
  }

  write(name: string, text: string): void {
    writeFileSync(this.path(name), text);
  }

  /** Move down in the list to the item of this label, mark and all; the detail tells it from others of its name. */
  async focusOnRow(label: string, detail = ''): Promise<void> {
    const focused = this.page.locator('.suggest-widget.visible .monaco-list-row.focused');
    for (let place = 0; place < 50; place++) {
      const found = (await focused.locator('.label-name').textContent())?.replaceAll('\u00a0', ' ');
      if (found === label && ((await focused.textContent()) ?? '').includes(detail)) {
        return;
      }
      await this.page.keyboard.press('ArrowDown');
    }
    throw new Error(`no ${label} with ${detail} in ${JSON.stringify(await this.rows())}`);
  }

  /** The details beside the list, unfolded where they are not. */
  async details(): Promise<string> {
    const details = this.page.locator('.suggest-details-container .suggest-details');
    try {
      await details.waitFor({ timeout: PATIENCE / 15 }); // unfolded before, they come a little after the list
    } catch {
      await this.page.keyboard.press('Control+I');
    }
    await details.locator('.body').waitFor();
    return until(
      () => details.textContent().then((text) => text ?? ''),
      (text) => text.trim() !== '' && !text.includes('Loading'),
      PATIENCE,
      (last) => `the details are ${last}`,
    );
  }

  /** Wait until lists are ranked by the model. */
  async modelIsReady(): Promise<void> {
    const status = this.page.locator('#starling\\.starling\\.status');
    await until(
      async () => {
        await this.page.keyboard.press('Control+Space');
        await this.page.waitForTimeout(1000);
        await this.page.keyboard.press('Escape');
        return (await status.textContent()) ?? '';
      },
      (text) => text.includes('model'),
      2 * PATIENCE,
      (last) => `the status is ${last}`,
    );
  }

  async notified(message: RegExp, timeout = PATIENCE): Promise<void> {
    await this.page.locator('.notification-list-item-message', { hasText: message }).first().waitFor({ timeout });
  }

  /** Stop what a notification shows the progress of. */
  async cancel(title: string): Promise<void> {
    const notification = this.page.locator('.notification-toast .notification-list-item', { hasText: title });
    await notification.locator('.monaco-button', { hasText: 'Cancel' }).click();
  }

  /** The processes that this workbench started, as "PID words". */
  processes(): string[] {
    return this.server.processes();
  }

  /** What Starling's Python says, with this workbench's home. */
  python(...words: string[]): string {
    return this.server.python(...words);
  }

  /** All that was notified and not taken away, as the bell shows it. */
  async notifications(): Promise<string[]> {
    await this.run('Notifications: Show Notifications');
    await this.page.locator('.notifications-center.visible').waitFor();
    const found = await this.page.locator('.notifications-center .notification-list-item-message').allTextContents();
    await this.page.keyboard.press('Escape');
    return found;
  }

  /** The lines of the extension's output channel. */
  log(): string[] {
    return this.server.log();
  }

  async shot(name: string): Promise<void> {
    mkdirSync(SHOTS, { recursive: true });
    await this.page.screenshot({ path: path.join(SHOTS, `${name}.png`) });
  }
}
