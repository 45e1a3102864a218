/**
 * Runs test files one after the other. Passes only if every test of every file ran and passed.
 *
 *     node workbench/run.ts [--once] [FILE ...]     files or globs; the default is the tests in the workbench
 *
 * If exactly one file fails, it is run again: a workbench on a busy machine is sometimes late. A pass is then reported as
 * flaky. With --once no file is run again. FILE_PATIENCE sets how long one file may take, in ms.
 */

import { globSync } from 'node:fs';
import path from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { processesFrom } from './system.ts';

const FILE_PATIENCE = Number(process.env.FILE_PATIENCE ?? 600_000);
const ONCE = '--once';

/** The files that the patterns name. A pattern without a file is an error: it would be a check of nothing. */
function filesOf(patterns: readonly string[]): string[] {
  const found = patterns.map((pattern) => ({ pattern, files: globSync(pattern).sort() }));
  const empty = found.filter(({ files }) => files.length === 0).map(({ pattern }) => pattern);
  if (empty.length > 0) {
    console.error(`no test file matches ${empty.join(', ')}`);
    process.exit(2);
  }
  return [...new Set(found.flatMap(({ files }) => files.map((file) => path.resolve(file))))];
}

/** Run a file in a process of its own. Returns why it did not pass, or undefined if it did. */
async function problemOf(file: string): Promise<string | undefined> {
  const patience = new AbortController();
  const timer = setTimeout(() => {
    const below = processesFrom(process.pid).map((words) => Number.parseInt(words, 10));
    patience.abort();
    end(below.filter((pid) => pid !== process.pid));
  }, FILE_PATIENCE);
  let failures = 0;
  let ran = 0;
  let unchecked = 0;
  const events = run({ files: [file], concurrency: 1, signal: patience.signal });
  events.on('test:fail', () => {
    failures += 1;
  });
  // A file's own summary comes only if node:test was loaded in it and ended by itself; the other is that of `run`.
  events.on('test:summary', ({ file: of, counts }) => {
    if (of !== undefined) {
      ran += counts.tests;
      unchecked += counts.tests - counts.passed;
    }
  });
  for await (const line of events.compose(new spec())) {
    process.stdout.write(line);
  }
  clearTimeout(timer);
  if (patience.signal.aborted) {
    return `did not end within ${FILE_PATIENCE} ms`;
  }
  if (failures > 0) {
    return 'failed';
  }
  if (ran === 0) {
    return 'no test ran to its end';
  }
  return unchecked > 0 ? `${unchecked} of ${ran} tests were skipped` : undefined;
}

/** End processes, some of which end by themselves meanwhile. */
function end(pids: readonly number[]): void {
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // ended already
    }
  }
}

const words = process.argv.slice(2);
const patterns = words.filter((word) => word !== ONCE);
const files = filesOf(patterns.length > 0 ? patterns : [path.join(import.meta.dirname, '*.test.ts')]);
const failed: string[] = [];
for (const file of files) {
  const problem = await problemOf(file);
  if (problem !== undefined) {
    failed.push(file);
    console.log(`\n${path.basename(file)}: ${problem}\n`);
  }
}
const [first, ...more] = failed.map((file) => path.basename(file));
process.exitCode = 0;
if (first === undefined) {
  console.log(`files passed: ${files.length}`);
} else if (more.length > 0 || words.includes(ONCE)) {
  console.log(`FAILED: ${[first, ...more].join(', ')}`);
  process.exitCode = 1;
} else {
  console.log(`${first} is run again\n`);
  const problem = await problemOf(failed[0] ?? '');
  console.log(
    problem === undefined ? `FLAKY: ${first} failed once and then passed` : `FAILED twice: ${first}: ${problem}`,
  );
  process.exitCode = problem === undefined ? 0 : 1;
}
