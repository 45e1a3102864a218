/** The machine that the workbench runs on: its programs, processes and ports. */

import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';

export const PATIENCE = 30_000; // ms, for what starts a server on a busy machine

export function needed(name: string): string {
  const value = process.env[name];
  if (value === undefined) {
    throw new Error(`${name} is not set: run make test-vscode`);
  }
  return value;
}

export function chromiumPath(): string {
  const folders = (process.env.PATH ?? '').split(path.delimiter);
  const names = ['chromium', 'chromium-browser', 'google-chrome'];
  const found = names
    .flatMap((name) => folders.map((folder) => path.join(folder, name)))
    .find((file) => existsSync(file));
  if (found === undefined) {
    throw new Error(`the workbench needs ${names.join(', or ')} on the path`);
  }
  return found;
}

/** A process and all below it, as "PID words". */
export function processesFrom(top: number | undefined): string[] {
  const lines = execFileSync('ps', ['-eo', 'pid=,ppid=,args='], { encoding: 'utf8' }).split('\n');
  const table = lines.map((line) => /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line)).filter((found) => found !== null);
  const parents = new Map(table.map(([, pid, parent]) => [Number(pid), Number(parent)]));
  const isBelow = (pid: number): boolean => pid === top || (pid > 1 && isBelow(parents.get(pid) ?? 0));
  return table.filter(([, pid]) => isBelow(Number(pid))).map(([, pid, , words]) => `${pid} ${words}`);
}

/** Those of the processes that have not ended. */
export function running(pids: readonly number[]): number[] {
  const lines = execFileSync('ps', ['-eo', 'pid=,stat='], { encoding: 'utf8' }).split('\n');
  const there = new Set(lines.filter((line) => !/ Z/.test(line)).map((line) => Number.parseInt(line, 10)));
  return pids.filter((pid) => there.has(pid));
}

/** What Starling's Python says of words, run where the repository is. */
export function python(words: readonly string[], env = process.env): string {
  const cwd = path.resolve(import.meta.dirname, '..', '..');
  return execFileSync(needed('STARLING_PYTHON'), words, {
    cwd,
    env,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** The first value that is as wanted; asked again until then. */
export async function until<T>(
  ask: () => T | Promise<T>,
  isAsWanted: (value: T) => boolean,
  patience: number,
  otherwise: (last: T | undefined) => string,
): Promise<T> {
  const end = Date.now() + patience;
  let last: T | undefined;
  do {
    last = await ask();
    if (isAsWanted(last)) {
      return last;
    }
    await new Promise((resolve) => setTimeout(resolve, 25));
  } while (Date.now() < end);
  throw new Error(otherwise(last));
}

export async function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}

export async function listening(port: number): Promise<void> {
  await until(
    () =>
      fetch(`http://127.0.0.1:${port}/healthz`).then(
        (reply) => reply.ok,
        () => false,
      ),
    Boolean,
    PATIENCE,
    () => 'code-server does not answer',
  );
}
