/** What a file is after an item was accepted from the language server itself: no editor, no Starling. */

import { spawnSync } from 'node:child_process';
import path from 'node:path';

const ROOT = path.resolve(import.meta.dirname, '..', '..');

export interface Accepting {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly name: string;
  readonly detail?: string;
}

export function acceptedAlone(accepting: Accepting, command: readonly string[]): string {
  const { file, line, column, name, detail } = accepting;
  const words = ['-m', 'tests.editors.accepted', file, String(line), String(column), name];
  const done = spawnSync(
    process.env.STARLING_PYTHON ?? 'python3',
    [...words, ...(detail === undefined ? [] : [detail]), '--', ...command],
    { cwd: ROOT, encoding: 'utf8' },
  );
  if (done.status !== 0) {
    throw new Error(done.stderr);
  }
  return done.stdout;
}
