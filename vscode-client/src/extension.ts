/** Where the extension is put together: the one place that builds its parts and connects them. */

import * as vscode from 'vscode';
import type { LanguageClient } from 'vscode-languageclient/node';
import * as asked from './asked.ts';
import { ended, newClient, SCHEMES, tellConfiguration } from './client.ts';
import { Companion, FINISH, type Origin } from './companion.ts';
import { completionMiddleware } from './completion.ts';
import { Environment, type Found } from './environment.ts';
import { Focus } from './focus.ts';
import { Installing } from './installing.ts';
import { onInterpreterChange } from './interpreter.ts';
import { LANGUAGES } from './languages.ts';
import { type Modes, modesIn } from './modes.ts';
import { offer, showing } from './offer.ts';
import * as settings from './settings.ts';
import { NO_PYTHON } from './state.ts';
import { StatusBar } from './status.ts';
import { Supervisor } from './supervisor.ts';
import { Switches } from './switches.ts';
import { openOnce } from './walkthrough.ts';

const ALL = LANGUAGES.flatMap((language) => language.ids);

let starling: Starling | undefined;

/** Waits for nothing: looking for a Python and starting a server go on behind it. */
export function activate(context: vscode.ExtensionContext): void {
  starling = new Starling(context, openOnce(context));
  void starling.supervisor.start();
}

export async function deactivate(): Promise<void> {
  await starling?.supervisor.stop();
}

class Starling {
  readonly supervisor = new Supervisor(
    (isCurrent) => this.begin(isCurrent),
    () => this.end(),
  );
  private readonly log = vscode.window.createOutputChannel('Starling', { log: true });
  private readonly environment: Environment;
  private readonly switches: Switches;
  private readonly focus = new Focus();
  private readonly status: StatusBar;
  private readonly companion: Companion;
  private readonly installing: Installing;
  private modes: Modes['modes'] = new Map();
  private client: LanguageClient | undefined;
  private found: Found | undefined;
  private companions: vscode.Disposable[] = [];

  constructor(
    private readonly context: vscode.ExtensionContext,
    private readonly walkthrough: Promise<void>,
  ) {
    this.environment = new Environment(context, this.log);
    this.switches = new Switches(context.workspaceState, ALL);
    const isOff = (id: string) => this.switches.isOff(id);
    const client = () => this.client;
    this.status = new StatusBar(client, (id) => this.modes.get(id), isOff);
    this.companion = new Companion(client, isOff, this.focus, () => this.status.changed());
    this.installing = new Installing(
      context,
      this.environment,
      this.status,
      this.log,
      () => this.found !== undefined,
      () => this.supervisor.restart(),
    );
    context.subscriptions.push(this.log, this.status, ...this.commands());
    context.subscriptions.push(
      vscode.commands.registerCommand(FINISH, (origin: Origin) => this.companion.finish(origin)),
    );
    void onInterpreterChange(() => this.interpreterChanged()).then((listening) => {
      if (listening !== undefined) {
        context.subscriptions.push(listening);
      }
    });
    context.subscriptions.push(
      vscode.window.onDidChangeActiveTextEditor(() => this.status.changed()),
      vscode.extensions.onDidChange(() => this.reconsider()),
      vscode.workspace.onDidGrantWorkspaceTrust(() => this.supervisor.restart()),
      vscode.workspace.onDidChangeConfiguration((event) => {
        if (settings.needsRestart(event)) {
          void this.supervisor.restart();
        } else {
          this.reconsider();
          this.configure();
        }
      }),
    );
  }

  /** Start the server, or show why there is none. */
  private async begin(isCurrent: () => boolean): Promise<void> {
    try {
      await this.started(isCurrent);
    } catch (error) {
      if (isCurrent()) {
        this.failed(error);
      }
    }
  }

  /** End the server, and what ranks with it. */
  private async end(): Promise<void> {
    for (const companion of this.companions.splice(0)) {
      companion.dispose();
    }
    const client = this.client;
    this.client = undefined;
    if (client !== undefined) {
      await ended(client, this.log);
    }
  }

  private async started(isCurrent: () => boolean): Promise<void> {
    this.status.enter({ name: 'looking' });
    await vscode.workspace.fs.createDirectory(this.context.globalStorageUri);
    const chosen = this.chosenModes();
    this.modes = chosen.modes;
    for (const problem of chosen.problems) {
      void vscode.window.showWarningMessage(problem);
    }
    const found = await this.environment.find();
    if (!isCurrent()) {
      return;
    }
    this.found = found;
    void this.tellReady(found !== undefined);
    if (found === undefined) {
      await this.notInstalled(isCurrent);
      return;
    }
    this.status.enter({ name: 'starting' });
    const client = newClient({
      python: found.python,
      modes: this.modes,
      switches: this.switches,
      log: this.log,
      middleware: completionMiddleware(this.focus, () => this.status.changed()),
      isWanted: isCurrent,
    });
    this.client = client;
    await client.start();
    if (!isCurrent()) {
      return;
    }
    this.status.enter({ name: 'running' });
    this.registerCompanion();
    this.configure();
    await this.environment.removeOld();
    this.installing.offerUpdate(found);
  }

  /** VS Code ticks a walkthrough's step where its key becomes true while the walkthrough is known: not before it was opened. */
  private async tellReady(isReady: boolean): Promise<void> {
    await this.walkthrough.catch((error: unknown) => this.log.warn(`the walkthrough did not open: ${error}`));
    await vscode.commands.executeCommand('setContext', 'starling.ready', isReady);
  }

  private async notInstalled(isCurrent: () => boolean): Promise<void> {
    const hasPython = settings.python() !== '' || (await this.environment.newEnoughPython()) !== undefined;
    if (!isCurrent()) {
      return;
    }
    if (!hasPython) {
      this.status.enter({ name: 'no-python' });
      offer(vscode.window.showWarningMessage, NO_PYTHON, {
        'Open Setting': () => vscode.commands.executeCommand('workbench.action.openSettings', 'starling.python'),
      });
      return;
    }
    this.status.enter({ name: 'not-installed' });
    this.installing.offerToInstall();
  }

  private failed(error: unknown): void {
    this.log.error(String(error));
    this.status.enter({ name: 'failed', why: 'Starling’s server did not start: see its log. Click to restart it.' });
    offer(vscode.window.showErrorMessage, 'Starling’s server did not start.', {
      ...showing(this.log),
      Restart: () => vscode.commands.executeCommand('starling.restart'),
      'Show Health': () => vscode.commands.executeCommand('starling.health'),
    });
  }

  private chosenModes(): Modes {
    return modesIn({
      chosen: settings.chosenModes(),
      isInstalled: (id) => vscode.extensions.getExtension(id) !== undefined,
      isTrusted: vscode.workspace.isTrusted,
      setting: (name) => vscode.workspace.getConfiguration().get(name),
    });
  }

  /** Another interpreter was chosen: its language server reads that one's packages, and Starling may be installed there. */
  private async interpreterChanged(): Promise<void> {
    const found = await this.environment.find();
    if (found?.python === this.found?.python) {
      this.configure();
    } else {
      await this.supervisor.restart();
    }
  }

  /** Extensions came or went, or another serves a language now: another mode may be right. */
  private reconsider(): void {
    const now = this.chosenModes().modes;
    if (ALL.some((id) => now.get(id) !== this.modes.get(id))) {
      void this.supervisor.restart();
    }
  }

  private registerCompanion(): void {
    for (const language of LANGUAGES) {
      const ids = language.ids.filter((id) => this.modes.get(id) === 'companion');
      // The schemes that the language's own support names: a provider for others would be asked alone, or not at all.
      const selector = ids.flatMap((id) => SCHEMES.map((scheme) => ({ language: id, scheme })));
      if (ids.length > 0) {
        this.companions.push(
          vscode.languages.registerCompletionItemProvider(selector, this.companion, ...language.triggers),
        );
      }
    }
  }

  private configure(): void {
    if (this.client?.isRunning()) {
      tellConfiguration(this.client, this.modes, this.switches).catch((error: unknown) =>
        this.log.error(String(error)),
      );
    }
    this.status.changed();
  }

  // What a person asks for

  private commands(): vscode.Disposable[] {
    const table: Record<string, () => unknown> = {
      restart: () => this.supervisor.restart(),
      why: () => this.focus.explain(),
      train: () => this.installing.train(this.found),
      chooseAdapter: () => this.withPython((python) => this.chooseAdapter(python)),
      health: () => this.withPython((python) => asked.showHealth(python, this.environment.folder(), this.client)),
      toggleLanguage: () => this.toggleLanguage(),
      toggleWorkspace: () => this.toggled(this.switches.toggleWorkspace()),
      install: () => this.installing.install(),
      installModel: () => this.withPython((python) => this.installing.installModel(python)),
      showAccepted: () => this.withPython((python) => asked.showAccepted(python, this.environment.folder())),
      deleteAccepted: () => this.withPython((python) => asked.deleteAccepted(python, this.environment.folder())),
      menu: () => this.menu(),
    };
    return Object.entries(table).map(([name, run]) =>
      vscode.commands.registerCommand(`starling.${name}`, async () => {
        try {
          await run();
        } catch (error) {
          this.log.error(String(error));
          void vscode.window.showErrorMessage(`Starling: ${error instanceof Error ? error.message : error}`);
        }
      }),
    );
  }

  private async withPython(run: (python: string) => unknown): Promise<void> {
    if (this.found === undefined) {
      this.installing.offerToInstall();
    } else {
      await run(this.found.python);
    }
  }

  private async chooseAdapter(python: string): Promise<void> {
    const adapter = await asked.pickAdapter(python, this.environment.folder());
    if (adapter !== undefined) {
      await this.switches.chooseAdapter(adapter === '' ? undefined : adapter);
      await this.supervisor.restart();
    }
  }

  private async toggleLanguage(): Promise<void> {
    const id = vscode.window.activeTextEditor?.document.languageId;
    if (id !== undefined && this.modes.has(id)) {
      await this.toggled(this.switches.toggleLanguage(id));
    }
  }

  private async toggled(change: Promise<void>): Promise<void> {
    await change;
    this.configure();
  }

  private async menu(): Promise<void> {
    const id = vscode.window.activeTextEditor?.document.languageId;
    const known = id !== undefined && this.modes.has(id);
    const rows = [
      ...(this.found === undefined ? [['$(cloud-download) Install the Server', 'install']] : []),
      ...(known
        ? [[`$(circle-slash) Turn ${this.switches.isOff(id) ? 'On' : 'Off'} for ${id}`, 'toggleLanguage']]
        : []),
      [`$(circle-slash) Turn ${this.switches.isWorkspaceOff ? 'On' : 'Off'} in This Workspace`, 'toggleWorkspace'],
      ['$(question) Show Why an Item Stands Where It Does', 'why'],
      ['$(mortar-board) Train on This Repository', 'train'],
      ['$(layers) Choose Adapter', 'chooseAdapter'],
      ['$(pulse) Show Health', 'health'],
      ['$(debug-restart) Restart', 'restart'],
    ] as const;
    const picked = await vscode.window.showQuickPick(
      rows.map(([label, command]) => ({ label: label ?? '', command })),
      { title: 'Starling' },
    );
    if (picked !== undefined) {
      await vscode.commands.executeCommand(`starling.${picked.command}`);
    }
  }
}
