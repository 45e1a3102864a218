/** Which Python runs the server: found, or made in a folder of the extension's own when the user says so. */

import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import * as path from 'node:path';
import { promisify } from 'node:util';
import * as vscode from 'vscode';
import { ran } from './child.ts';
import { activeInterpreter } from './interpreter.ts';
import { moduleOf, scriptOf } from './python.ts';
import * as settings from './settings.ts';
import { NO_PYTHON } from './state.ts';

const run = promisify(execFile);
const CHECK = 'import lsp_server; print(lsp_server.__version__)';
const OLDEST = 'import sys; sys.exit(sys.version_info < (3, 11))';
const CAN_TRAIN =
  'from importlib.util import find_spec as f; print(all(map(f, ("torch", "transformers", "pygit2", "pyarrow"))))';
const PATIENCE = 20_000; // ms
const CURRENT = 'current.txt'; // the name of the environment in use
const SERVING = 'python'; // what ranks
const TRAINING = 'train,corpus,python'; // what learns, too

export interface Found {
  readonly python: string;
  readonly version: string;
  /** Whether it is an environment that `install` made. */
  readonly isOwn: boolean;
}

export class Environment {
  constructor(
    private readonly context: vscode.ExtensionContext,
    private readonly log: vscode.LogOutputChannel,
  ) {}

  /** A Python that has Starling: the one that the user named, else our own, the active interpreter, one on the path. */
  async find(): Promise<Found | undefined> {
    const chosen = settings.python();
    if (chosen !== '') {
      return this.inspected(chosen, false);
    }
    const own = await this.own();
    const active = vscode.workspace.isTrusted ? await activeInterpreter() : undefined;
    for (const candidate of [own, active, 'python3', 'python']) {
      const found = candidate === undefined ? undefined : await this.inspected(candidate, candidate === own);
      if (found !== undefined) {
        return found;
      }
    }
    return undefined;
  }

  private async inspected(python: string, isOwn: boolean): Promise<Found | undefined> {
    try {
      const { stdout } = await run(python, scriptOf(CHECK), { timeout: PATIENCE, cwd: this.folder() });
      this.log.info(`Starling ${stdout.trim()} is in ${python}`);
      return { python, version: stdout.trim(), isOwn };
    } catch (error) {
      this.log.info(`no Starling in ${python}: ${firstLine(error)}`);
      return undefined;
    }
  }

  /**
   * Make an environment of our own with the server that came with the extension. Throws what went wrong; the environment that was
   * in use stays so until the new one is whole.
   */
  async install(progress: vscode.Progress<{ message: string }>, token: vscode.CancellationToken): Promise<void> {
    const chosen = settings.python();
    if (chosen !== '') {
      throw new Error(installThere(chosen)); // `find` would not look at ours
    }
    const base = await this.newEnoughPython();
    if (base === undefined) {
      throw new Error(NO_PYTHON);
    }
    const wheel = await this.wheel();
    await mkdir(this.folder(), { recursive: true });
    const name = `venv-${Date.now()}`;
    const fresh = path.join(this.folder(), name);
    try {
      progress.report({ message: 'making a Python environment' });
      await this.streamed(base, moduleOf('venv', fresh), progress, token);
      await this.streamed(interpreterIn(fresh), pip(wheel, SERVING), progress, token);
    } catch (error) {
      await rm(fresh, { recursive: true, force: true });
      throw error;
    }
    const pointer = path.join(this.folder(), CURRENT);
    await writeFile(`${pointer}.new`, name);
    await rename(`${pointer}.new`, pointer);
  }

  /** Whether training can run there: its libraries are a gigabyte that ranking does without. */
  async canTrain(python: string): Promise<boolean> {
    const found = await run(python, scriptOf(CAN_TRAIN), { timeout: PATIENCE, cwd: this.folder() });
    return found.stdout.trim() === 'True';
  }

  /** Add what training needs to the environment in use. Throws what went wrong. */
  async installTraining(
    python: string,
    progress: vscode.Progress<{ message: string }>,
    token: vscode.CancellationToken,
  ): Promise<void> {
    await this.streamed(python, pip(await this.wheel(), TRAINING), progress, token);
  }

  /** The server that came with the extension. */
  private async wheel(): Promise<string> {
    const folder = path.join(this.context.extensionPath, 'server');
    const wheel = (await readdir(folder)).find((name) => name.endsWith('.whl'));
    if (wheel === undefined) {
      throw new Error(
        'This build of the extension has no server in it: name a Python that has one in starling.python.',
      );
    }
    return path.join(folder, wheel);
  }

  /**
   * Remove the environments that are not in use, except the last before the one in use, on which another window may still run. One
   * that is newer is being made.
   */
  async removeOld(): Promise<void> {
    const current = numberOf((await this.current()) ?? '');
    const names = await readdir(this.folder()).catch(() => []);
    const old = names.filter((name) => numberOf(name) < current).sort((a, b) => numberOf(a) - numberOf(b));
    for (const name of old.slice(0, -1)) {
      await rm(path.join(this.folder(), name), { recursive: true, force: true });
    }
  }

  /** A Python on the path that the server runs on; undefined where there is none. */
  async newEnoughPython(): Promise<string | undefined> {
    for (const python of ['python3', 'python', 'py']) {
      try {
        await run(python, ['-I', '-c', OLDEST], { timeout: PATIENCE });
        return python;
      } catch (error) {
        this.log.info(`not ${python}: ${firstLine(error)}`);
      }
    }
    return undefined;
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
  private async own(): Promise<string | undefined> {
    const name = await this.current();
    return name === undefined ? undefined : interpreterIn(path.join(this.folder(), name));
  }

  private async current(): Promise<string | undefined> {
    const name = await readFile(path.join(this.folder(), CURRENT), 'utf8').catch(() => '');
    return Number.isNaN(numberOf(name.trim())) ? undefined : name.trim();
  }

  /** Where commands run and things are kept: never the workspace, whose files Python would take for modules. */
  folder(): string {
    return this.context.globalStorageUri.fsPath;
  }
}

/** What to do where the setting names a Python: it is the only one that counts. */
export function installThere(python: string): string {
  return `The setting starling.python names ${python}. Install Starling there (${python} -m pip install starling-lsp), or empty the setting.`;
}

/** The number of an environment that we made: a later one has a higher number. NaN where it is none. */
function numberOf(name: string): number {
  return Number(/^venv-(\d+)$/.exec(name)?.[1] ?? Number.NaN);
}

function pip(wheel: string, extras: string): string[] {
  return moduleOf('pip', 'install', '--disable-pip-version-check', `${wheel}[${extras}]`);
}

function interpreterIn(venv: string): string {
  const [bin, name] = process.platform === 'win32' ? ['Scripts', 'python.exe'] : ['bin', 'python'];
  return path.join(venv, bin, name);
}

function firstLine(error: unknown): string {
  return String(error instanceof Error ? error.message : error).split('\n')[0] ?? '';
}
