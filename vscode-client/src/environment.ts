/** Which Python runs the server: found, or made in a folder of the extension's own when the user says so. */

import { execFile } from 'node:child_process';
import { mkdir, readdir, rm } from 'node:fs/promises';
import * as path from 'node:path';
import { promisify } from 'node:util';
import * as vscode from 'vscode';
import { ran } from './child.ts';
import { moduleOf } from './python.ts';
import * as settings from './settings.ts';

const run = promisify(execFile);
const CHECK = 'import lsp_server; print(lsp_server.__version__)';
const OLDEST = 'import sys; sys.exit(sys.version_info < (3, 11))';
const PATIENCE = 20_000; // ms

export class Environment {
  constructor(
    private readonly context: vscode.ExtensionContext,
    private readonly log: vscode.LogOutputChannel,
  ) {}

  /** A Python that has Starling, or undefined: then `install` makes one. */
  async python(): Promise<string | undefined> {
    const chosen = settings.python();
    for (const candidate of chosen === '' ? [this.own(), 'python3', 'python'] : [chosen]) {
      if (await this.has(candidate)) {
        return candidate;
      }
    }
    const active = chosen === '' && vscode.workspace.isTrusted ? await activeInterpreter() : undefined;
    return active !== undefined && (await this.has(active)) ? active : undefined;
  }

  private async has(python: string): Promise<boolean> {
    try {
      const { stdout } = await run(python, ['-I', '-c', CHECK], { timeout: PATIENCE, cwd: this.folder() });
      this.log.info(`Starling ${stdout.trim()} is in ${python}`);
      return true;
    } catch (error) {
      this.log.info(`no Starling in ${python}: ${firstLine(error)}`);
      return false;
    }
  }

  /** Make an environment of our own and install the server that came with the extension into it. Throws what went wrong. */
  async install(progress: vscode.Progress<{ message: string }>, token: vscode.CancellationToken): Promise<string> {
    const base = await this.basePython();
    const [wheel] = (await readdir(path.join(this.context.extensionPath, 'server'))).filter((name) =>
      name.endsWith('.whl'),
    );
    if (wheel === undefined) {
      throw new Error(
        'This build of the extension has no server in it: name a Python that has one in starling.python.',
      );
    }
    const venv = path.join(this.folder(), 'venv');
    await mkdir(this.folder(), { recursive: true });
    await rm(venv, { recursive: true, force: true });
    progress.report({ message: 'making a Python environment' });
    await this.streamed(base, moduleOf('venv', venv), progress, token);
    const what = `${path.join(this.context.extensionPath, 'server', wheel)}[model,corpus,python]`;
    await this.streamed(this.own(), moduleOf('pip', 'install', '--disable-pip-version-check', what), progress, token);
    return this.own();
  }

  private async basePython(): Promise<string> {
    for (const python of [settings.python(), 'python3', 'python', 'py'].filter((name) => name !== '')) {
      try {
        await run(python, ['-I', '-c', OLDEST], { timeout: PATIENCE });
        return python;
      } catch (error) {
        this.log.info(`not ${python}: ${firstLine(error)}`);
      }
    }
    throw new Error('Starling needs Python 3.11 or newer, and found none: install one, or name it in starling.python.');
  }

  /** Run a command, its last line as the progress. Rejects with its last words. */
  private async streamed(
    command: string,
    words: readonly string[],
    progress: vscode.Progress<{ message: string }>,
    token: vscode.CancellationToken,
  ): Promise<void> {
    this.log.info(`${command} ${words.join(' ')}`);
    let last = '';
    const code = await ran({ command, words, cwd: this.folder() }, token, (line) => {
      last = line;
      this.log.info(line);
      progress.report({ message: line.slice(0, 80) });
    });
    if (code !== 0) {
      throw token.isCancellationRequested ? new vscode.CancellationError() : new Error(last);
    }
  }

  /** The interpreter of the environment that we made. */
  private own(): string {
    const [bin, name] = process.platform === 'win32' ? ['Scripts', 'python.exe'] : ['bin', 'python'];
    return path.join(this.folder(), 'venv', bin, name);
  }

  /** Where commands run and things are kept: never the workspace, whose files Python would take for modules. */
  folder(): string {
    return this.context.globalStorageUri.fsPath;
  }
}

interface PythonExtension {
  readonly environments?: { getActiveEnvironmentPath(): { readonly path: string } };
}

async function activeInterpreter(): Promise<string | undefined> {
  const extension = vscode.extensions.getExtension<PythonExtension>('ms-python.python');
  return (await extension?.activate())?.environments?.getActiveEnvironmentPath().path;
}

function firstLine(error: unknown): string {
  return String(error instanceof Error ? error.message : error).split('\n')[0] ?? '';
}
