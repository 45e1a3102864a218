/** A command that runs for a while, with its lines as they come. */

import { spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import type * as vscode from 'vscode';

const PATIENCE = 10_000; // ms, that a cancelled command has to tidy up

export interface Command {
  readonly command: string;
  readonly words: readonly string[];
  readonly cwd: string;
  readonly env?: NodeJS.ProcessEnv;
}

/**
 * Run it to its end, or until it is cancelled: interrupted as by Ctrl-C, so that it ends what it started and takes its temporary
 * folders away. Its exit code; rejects where it can't be started.
 */
export function ran(
  { command, words, cwd, env }: Command,
  token: vscode.CancellationToken,
  heard: (line: string) => void,
): Promise<number | null> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, words, { cwd, env: env ?? process.env });
    let killing: NodeJS.Timeout | undefined;
    const cancelling = token.onCancellationRequested(() => {
      child.kill('SIGINT');
      killing = setTimeout(() => child.kill('SIGKILL'), PATIENCE);
    });
    for (const stream of [child.stdout, child.stderr]) {
      eachLine(stream, heard);
    }
    child.on('error', reject);
    child.on('close', (code) => {
      cancelling.dispose();
      clearTimeout(killing);
      resolve(code);
    });
  });
}

/** Hear each line of a stream that is not empty. */
export function eachLine(stream: Readable, heard: (line: string) => void): void {
  let rest = '';
  stream.setEncoding('utf8');
  stream.on('data', (text: string) => {
    const parts = (rest + text).split(/\r?\n/);
    rest = parts.pop() ?? '';
    for (const line of parts.filter((part) => part.trim() !== '')) {
      heard(line);
    }
  });
  stream.on('end', () => {
    if (rest.trim() !== '') {
      heard(rest);
    }
  });
}
