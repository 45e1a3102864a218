/** "Train on This Repository": the command line's `train`, with its lines as a notification's progress. Cancelled, it goes on next time. */

import * as vscode from 'vscode';
import { ran } from './child.ts';
import { offer, showing } from './offer.ts';
import { moduleOf } from './python.ts';
import * as settings from './settings.ts';

const DONE = /^(.*): ([\d,]+) of ([\d,]+)$/;
const NOT_BETTER = 1; // exit codes of `train`
const TOO_LITTLE = 2;

interface Trained {
  readonly code: number | null;
  readonly said: readonly string[];
  readonly isCancelled: boolean;
}

export async function train(python: string, cwd: string, log: vscode.LogOutputChannel): Promise<void> {
  const folder = await repository();
  if (folder === undefined) {
    void vscode.window.showWarningMessage('Starling: open the folder of a repository first: it is learned from.');
    return;
  }
  const options = {
    location: vscode.ProgressLocation.Notification,
    title: `Starling learns from ${folder.name}`,
    cancellable: true,
  };
  const words = ['--repo', folder.uri.fsPath, ...settings.forTraining()];
  const done = await vscode.window.withProgress(options, (progress, token) =>
    learned(python, words, cwd, log, progress, token),
  );
  tell(done, folder.name, log);
}

async function repository(): Promise<vscode.WorkspaceFolder | undefined> {
  const active = vscode.window.activeTextEditor;
  const own = active && vscode.workspace.getWorkspaceFolder(active.document.uri);
  const folders = vscode.workspace.workspaceFolders ?? [];
  return own ?? (folders.length > 1 ? vscode.window.showWorkspaceFolderPick() : folders[0]);
}

async function learned(
  python: string,
  words: readonly string[],
  cwd: string,
  log: vscode.LogOutputChannel,
  progress: vscode.Progress<{ message: string }>,
  token: vscode.CancellationToken,
): Promise<Trained> {
  const said: string[] = [];
  const command = {
    command: python,
    words: moduleOf('starling_lsp', 'train', ...words),
    cwd,
    env: { ...process.env, COLUMNS: '200', NO_COLOR: '1' },
  };
  const code = await ran(command, token, (line) => {
    said.push(line);
    log.info(line);
    const [, what, count, total] = DONE.exec(line) ?? [];
    progress.report({ message: what === undefined ? line.slice(0, 100) : `${what}, ${count} of ${total}` });
  });
  return { code, said, isCancelled: token.isCancellationRequested };
}

function tell(done: Trained, name: string, log: vscode.LogOutputChannel): void {
  const { showInformationMessage: inform, showWarningMessage: warn, showErrorMessage: fail } = vscode.window;
  const gained = done.said.find((line) => line.startsWith('R@1 ')) ?? '';
  const last = done.said.at(-1) ?? '';
  const buttons = showing(log);
  if (done.isCancelled) {
    offer(inform, 'Starling: training is stopped. Train again to go on.', buttons);
  } else if (done.code === 0) {
    const choose = { 'Choose Adapter': () => vscode.commands.executeCommand('starling.chooseAdapter') };
    const message = `Starling: what it learned from ${name} is installed (${gained}), and used from the next completion on.`;
    offer(inform, message, { ...buttons, ...choose });
  } else if (done.code === NOT_BETTER && gained !== '') {
    offer(inform, `Starling: what it learned from ${name} is not better (${gained}), so all stays as it is.`, buttons);
  } else if (done.code === TOO_LITTLE) {
    offer(warn, `Starling can't learn from ${name}: ${last}`, buttons);
  } else {
    offer(fail, `Starling: training failed: ${last}`, buttons);
  }
}
