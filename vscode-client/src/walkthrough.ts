/** The walkthrough opens by itself once: when the extension starts for the first time on a machine. */

import * as vscode from 'vscode';

const OPENED = 'walkthrough.opened';
const SETTING = 'workbench.welcomePage.walkthroughs.openOnInstall';

/**
 * VS Code does so itself, but only after an install from its own view. That starts us too (`onWalkthrough`), and what is opened here
 * is the same page. Nobody sees a window in the background: the next one that is looked at shows it.
 */
export async function openOnce(context: vscode.ExtensionContext): Promise<void> {
  const isWanted = vscode.workspace.getConfiguration().get(SETTING, true);
  if (!isWanted || context.globalState.get(OPENED, false) || !vscode.window.state.focused) {
    return;
  }
  await context.globalState.update(OPENED, true);
  await vscode.commands.executeCommand('workbench.action.keepEditor'); // or the page takes the place of a file in preview
  await vscode.commands.executeCommand('workbench.action.openWalkthrough', `${context.extension.id}#start`, false);
}
