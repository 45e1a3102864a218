/** What the command line is asked for, and how its answers are shown. */

import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import * as path from 'node:path';
import { promisify } from 'node:util';
import * as vscode from 'vscode';
import type { LanguageClient } from 'vscode-languageclient/node';
import { offer, showing } from './offer.ts';
import { moduleOf, scriptOf } from './python.ts';
import type { ServerStatus } from './state.ts';

const run = promisify(execFile);
const WHERE =
  'import json; from tuning.ranking.serving.acceptance_log import files; print(json.dumps([*map(str, files())]))';

/** A row of `adapters --json`: an adapter, or a usage table. */
interface Installed {
  readonly kind: string;
  readonly name: string;
  readonly version: number;
  readonly folder: string;
  readonly made: string;
  readonly languages: readonly string[];
  readonly workspaces: readonly string[];
  readonly figures: Readonly<Record<string, number>>;
}

/** Output of our Python. `cwd` is a folder of ours; an exit code of 1 is an answer too (something is missing). */
async function answer(python: string, words: readonly string[], cwd: string): Promise<string> {
  const env = { ...process.env, COLUMNS: '120', NO_COLOR: '1' };
  try {
    return (await run(python, [...words], { cwd, env, timeout: 60_000 })).stdout;
  } catch (error) {
    const stdout = (error as { stdout?: string }).stdout;
    if (stdout) {
      return stdout;
    }
    throw error;
  }
}

/** A page with what doctor finds and what the running server says of itself. */
export async function showHealth(python: string, cwd: string, client: LanguageClient | undefined): Promise<void> {
  const options = { location: vscode.ProgressLocation.Notification, title: 'Starling looks at its parts' };
  const found = await vscode.window.withProgress(options, () =>
    answer(python, moduleOf('starling_lsp', 'doctor'), cwd),
  );
  const status = await client?.sendRequest<ServerStatus>('starling/status').catch(() => undefined);
  const running = status === undefined ? 'The server is not running.' : JSON.stringify(status, undefined, 2);
  const content = `Starling's Python: ${python}\n\n${found}\nThe running server:\n\n${running}\n`;
  const page = vscode.Uri.file(path.join(cwd, 'health.txt'));
  await vscode.workspace.fs.writeFile(page, new TextEncoder().encode(content));
  await vscode.window.showTextDocument(page, { preview: true });
}

/** The adapter that the user picks: a name, "none", or "" for the installed one; undefined where none was picked. */
export async function pickAdapter(python: string, cwd: string): Promise<string | undefined> {
  const all: Installed[] = JSON.parse(await answer(python, moduleOf('starling_lsp', 'adapters', '--json'), cwd));
  const installed = all.filter((one) => one.kind === 'adapters');
  const rows = installed.map((one) => ({
    label: one.name,
    description: `version ${one.version}, ${one.languages.join(', ') || 'all languages'}`,
    detail: `${one.made}${gain(one)} · ${one.workspaces.join(', ') || 'all workspaces'}`,
    adapter: one.name,
  }));
  const automatic = [
    {
      label: 'Automatic',
      description: 'the one that is installed for the workspace, else Starling’s own',
      adapter: '',
    },
    { label: 'None', description: 'the base as it was, without Starling’s own adapter', adapter: 'none' },
  ];
  const picked = await vscode.window.showQuickPick([...automatic, ...rows], {
    title: 'Starling: adapter in this workspace',
    placeHolder: installed.length === 0 ? 'None is installed yet: “Starling: Train on This Repository” makes one' : '',
  });
  return picked?.adapter;
}

function gain(one: Installed): string {
  const gained = one.figures['R@1 gained'];
  return gained === undefined ? '' : ` · R@1 ${gained < 0 ? '' : '+'}${gained.toFixed(3)} on its own later code`;
}

/** Open the log of what was accepted, for its owner to read. */
export async function showAccepted(python: string, cwd: string): Promise<void> {
  for (const file of await acceptedLog(python, cwd)) {
    await vscode.window.showTextDocument(file, { preview: false }); // beside the one before
  }
}

/** Delete the log of what was accepted, once its owner has said so. */
export async function deleteAccepted(python: string, cwd: string): Promise<void> {
  const files = await acceptedLog(python, cwd);
  if (files.length === 0) {
    return;
  }
  const detail = `${files.map((file) => file.fsPath).join('\n')}\nWhat Starling could learn from it is lost.`;
  const message = 'Delete the log of accepted completions?';
  if ((await vscode.window.showWarningMessage(message, { modal: true, detail }, 'Delete')) === 'Delete') {
    for (const file of files) {
      await vscode.workspace.fs.delete(file);
    }
  }
}

/** Those of the log's files that are there, oldest first. Where none is, says so. */
async function acceptedLog(python: string, cwd: string): Promise<vscode.Uri[]> {
  const paths: string[] = JSON.parse(await answer(python, scriptOf(WHERE), cwd));
  const files = paths.filter((file) => existsSync(file)).map((file) => vscode.Uri.file(file));
  if (files.length === 0) {
    void vscode.window.showInformationMessage(
      'Starling keeps no log of accepted completions: it does only where you turn on starling.logAccepted.',
    );
  }
  return files;
}

export async function installModel(python: string, cwd: string, log: vscode.LogOutputChannel): Promise<boolean> {
  const options = { location: vscode.ProgressLocation.Notification, title: 'Starling fetches its model (98 MB, once)' };
  try {
    await vscode.window.withProgress(options, () => run(python, moduleOf('starling_lsp', 'install-model'), { cwd }));
    return true;
  } catch (error) {
    log.error(String((error as { stderr?: string }).stderr ?? error));
    offer(vscode.window.showErrorMessage, 'Starling: the model could not be fetched.', showing(log));
    return false;
  }
}
