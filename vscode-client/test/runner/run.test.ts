/** The runner of the workbench's tests, over files that must fail: each here is a way in which a check could check nothing. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';

const HERE = import.meta.dirname;
const RUNNER = path.resolve(HERE, '..', '..', 'workbench', 'run.ts');

interface Ran {
  readonly code: number | null;
  readonly said: string;
}

/** Run files of fixtures/ (or an option). */
async function ran(words: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ran> {
  const { NODE_TEST_CONTEXT: _, ...own } = process.env; // with it node:test runs no files
  const given = words.map((word) => (word.startsWith('--') ? word : path.join(HERE, 'fixtures', `${word}.ts`)));
  const runner = spawn(process.execPath, [RUNNER, ...given], { env: { ...own, ...env } });
  let said = '';
  for (const stream of [runner.stdout, runner.stderr]) {
    stream.on('data', (data) => {
      said += data;
    });
  }
  return new Promise((resolve) => runner.on('close', (code) => resolve({ code, said })));
}

async function checkFails(words: readonly string[], says: RegExp, env: Readonly<Record<string, string>> = {}) {
  const { code, said } = await ran(words, env);
  assert.match(said, says);
  assert.equal(code, 1, said);
  return said;
}

test('files that pass', async () => {
  const { code, said } = await ran(['passes']);
  assert.match(said, /files passed: 1/);
  assert.equal(code, 0, said);
});

test('a failing test of scenarios() fails the run, though its place is in another file', async () => {
  const said = await checkFails(['passes', 'fails'], /FAILED twice: fails\.ts/);
  assert.equal(said.split('1 !== 2').length - 1 >= 2, true, 'its own file was not run again');
});

test('a picture that can not be taken does not hide the failure', async () => {
  await checkFails(['--once', 'no-picture'], /1 !== 2/);
});

test('a file that passes when it is run again is called flaky', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'starling-flaky-'));
  const mark = path.join(folder, 'mark');
  try {
    await checkFails(['flaky', '--once'], /FAILED: flaky\.ts/, { MARK: mark });
    rmSync(mark);
    const { code, said } = await ran(['flaky', 'passes'], { MARK: mark });
    assert.match(said, /FLAKY: flaky\.ts failed once and then passed/);
    assert.equal(code, 0, said);
    rmSync(mark);
    await checkFails(['flaky', 'fails'], /FAILED: flaky\.ts, fails\.ts/, { MARK: mark });
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('two failing files are a failure at once', async () => {
  const said = await checkFails(['fails', 'passes', 'fails-too'], /FAILED: fails\.ts, fails-too\.ts/);
  assert.doesNotMatch(said, /run again/);
});

test('a file in which no test ran is a failure', async () => {
  await checkFails(['no-tests'], /no-tests\.ts: no test ran to its end/);
  await checkFails(['exits-early', '--once'], /exits-early\.ts: no test ran to its end/);
});

test('so is one with a skipped test', async () => {
  await checkFails(['skips'], /skips\.ts: 1 of 2 tests were skipped/);
});

test('so is one that crashes, or whose process or hooks fail', async () => {
  await checkFails(['crashes'], /crashed at import/);
  for (const name of ['exit-code', 'before-fails', 'after-fails']) {
    await checkFails([name, '--once'], new RegExp(`FAILED: ${name}\\.ts`));
  }
});

test('so is one that never ends, and what it started is ended', async () => {
  await checkFails(['hangs', '--once'], /hangs\.ts: did not end within 3000 ms/, { FILE_PATIENCE: '3000' });
});

test('names that match nothing are an error', async () => {
  const { code, said } = await ran(['passes', 'nowhere', '*.test']);
  assert.match(said, /no test file matches \S+nowhere\.ts, \S+\*\.test\.ts/);
  assert.equal(code, 2);
  assert.equal(existsSync(path.join(HERE, 'fixtures', 'nowhere.ts')), false);
});

test('an unknown option is one too', async () => {
  assert.equal((await ran(['--twice'])).code, 2);
});
