/** The interpreter that the Python extension has chosen for the workspace, and when it changes. */

import * as vscode from 'vscode';

interface PythonExtension {
  readonly environments?: {
    getActiveEnvironmentPath(): { readonly path: string };
    readonly onDidChangeActiveEnvironmentPath: vscode.Event<unknown>;
  };
}

async function environments(): Promise<PythonExtension['environments']> {
  const extension = vscode.extensions.getExtension<PythonExtension>('ms-python.python');
  try {
    return (await extension?.activate())?.environments;
  } catch {
    return undefined; // it says itself what is wrong with it
  }
}

/** Undefined where the extension is not there. */
export async function activeInterpreter(): Promise<string | undefined> {
  return (await environments())?.getActiveEnvironmentPath().path;
}

/** Hear of each change from here on. */
export async function onInterpreterChange(changed: () => unknown): Promise<vscode.Disposable | undefined> {
  return (await environments())?.onDidChangeActiveEnvironmentPath(changed);
}
