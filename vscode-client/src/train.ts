/** "Train on This Repository": the command line's `train`, with its lines as a notification's progress. Cancelled, it goes on next time. */

import { spawn } from 'node:child_process';
import * as vscode from 'vscode';
import { lines } from './lines.ts';

const DONE = /^(.*): ([\d,]+) of ([\d,]+)$/;
const NOT_BETTER = 1; // exit codes of `train`
const TOO_LITTLE = 2;

export interface Trained {
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
  const done = await vscode.window.withProgress(options, (progress, token) =>
    ran(python, ['--repo', folder.uri.fsPath], cwd, log, progress, token),
  );
  await tell(done, folder.name, log);
}

async function repository(): Promise<vscode.WorkspaceFolder | undefined> {
  const active = vscode.window.activeTextEditor;
  const own = active && vscode.workspace.getWorkspaceFolder(active.document.uri);
  const folders = vscode.workspace.workspaceFolders ?? [];
  return own ?? (folders.length > 1 ? vscode.window.showWorkspaceFolderPick() : folders[0]);
}

function ran(
  python: string,
  words: readonly string[],
  cwd: string,
  log: vscode.LogOutputChannel,
  progress: vscode.Progress<{ message: string }>,
  token: vscode.CancellationToken,
): Promise<Trained> {
  return new Promise((resolve, reject) => {
    const child = spawn(python, ['-P', '-m', 'tuning.ranking', 'train', ...words], {
      cwd,
      env: { ...process.env, COLUMNS: '200', NO_COLOR: '1' },
    });
    const said: string[] = [];
    const cancelling = token.onCancellationRequested(() => child.kill());
    lines([child.stdout, child.stderr], (line) => {
      said.push(line);
      log.info(line);
      const [, what, count, total] = DONE.exec(line) ?? [];
      progress.report({ message: what === undefined ? line.slice(0, 100) : `${what}, ${count} of ${total}` });
    });
    child.on('error', reject);
    child.on('close', (code) => {
      cancelling.dispose();
      resolve({ code, said, isCancelled: token.isCancellationRequested });
    });
  });
}

async function tell(done: Trained, name: string, log: vscode.LogOutputChannel): Promise<void> {
  const gained = done.said.find((line) => line.startsWith('R@1 ')) ?? '';
  const last = done.said.at(-1) ?? '';
  let answer: string | undefined;
  if (done.isCancelled) {
    answer = await vscode.window.showInformationMessage(
      'Starling: training is stopped. Train again to go on.',
      'Show Log',
    );
  } else if (done.code === 0) {
    const message = `Starling: what it learned from ${name} is installed (${gained}), and used from the next completion on.`;
    answer = await vscode.window.showInformationMessage(message, 'Show Log', 'Choose Adapter');
  } else if (done.code === NOT_BETTER && gained !== '') {
    const message = `Starling: what it learned from ${name} is not better (${gained}), so all stays as it is.`;
    answer = await vscode.window.showInformationMessage(message, 'Show Log');
  } else if (done.code === TOO_LITTLE) {
    answer = await vscode.window.showWarningMessage(`Starling can't learn from ${name}: ${last}`, 'Show Log');
  } else {
    answer = await vscode.window.showErrorMessage(`Starling: training failed: ${last}`, 'Show Log');
  }
  if (answer === 'Show Log') {
    log.show();
  } else if (answer === 'Choose Adapter') {
    await vscode.commands.executeCommand('starling.chooseAdapter');
  }
}
