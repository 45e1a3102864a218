/** "Train on This Repository" to its ends: stopped twice, going on, installed, and not better. A small repository, and a tiny base. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before } from 'node:test';
import { Workbench } from './harness.ts';
import { scenarios } from './scenarios.ts';
import { PATIENCE, processesFrom, python, running, until } from './system.ts';

const LONG = 6 * PATIENCE; // for what takes half a minute on two idle cores
const TRAIN = 'Starling: Train on This Repository';
const SAVED = 20; // steps, after which a run can go on from there

/** Two layers of weights that nothing was learned by, made sure of itself: so wrong that learning shows. */
const BASE = `
import sys
from tests.tuning.models import byte_level, tiny

tokenizer = byte_level()
model = tiny("llama", len(tokenizer))
model.lm_head.weight.data.mul_(25)
model.save_pretrained(sys.argv[1])
tokenizer.save_pretrained(sys.argv[1])
`;
const METHODS = [
  'open_till',
  'open_door',
  'lock_till',
  'lock_door',
  'count_till',
  'count_safe',
  'empty_till',
  'empty_safe',
];
const SHOP = `class Shop:\n${METHODS.map((name) => `    def ${name}(self):\n        return 1\n\n`).join('')}`;

/** A file that uses the shop. */
function day(name: string, functions: number): string {
  const bodies = Array.from(
    { length: functions },
    (_, n) =>
      `def ${name}_${n}(shop: Shop):\n    shop.${METHODS[n % 3]}()\n    return shop.${METHODS[3 + (n % 3)]}()\n\n\n`,
  );
  return `from shop import Shop\n\n\n${bodies.join('')}`;
}

const folder = mkdtempSync(path.join(tmpdir(), 'starling-base-'));
let workbench: Workbench;
const test = scenarios(() => workbench);

before(async () => {
  python(['-c', BASE, folder]);
  const first = [0, 1, 2].map((n) => [`day${n}.py`, day(`day${n}`, 4)]);
  workbench = await Workbench.open(
    { 'shop.py': SHOP, ...Object.fromEntries(first) },
    { settings: { 'starling.base': folder, 'starling.server': 'basedpyright', 'starling.logAccepted': true } },
  );
  git('init', '--quiet');
  commit();
  for (const names of [
    ['evening', 'late'],
    ['night', 'early'],
    ['noon', 'dawn'],
  ]) {
    for (const name of names) {
      workbench.write(`${name}.py`, day(name, 6));
    }
    commit();
  }
  await workbench.edit('shop.py');
  await workbench.page.locator('#starling\\.starling\\.status', { hasText: '★' }).waitFor();
});
after(async () => {
  await workbench?.close();
  rmSync(folder, { recursive: true });
});

function git(...words: string[]): void {
  const author = ['-c', 'user.name=A. Author', '-c', 'user.email=author@example.org', '-c', 'commit.gpgsign=false'];
  execFileSync('git', ['-C', workbench.project, ...author, ...words]);
}

function commit(): void {
  git('add', '--all');
  git('commit', '--quiet', '--message', 'more');
}

/** The steps that were trained, a line each, with how fast each was: done again, a step has another line. */
function steps(): string[] {
  const kept = workbench
    .python('-c', 'import platformdirs; print(platformdirs.user_cache_dir("starling", False))')
    .trim();
  const files = existsSync(kept) ? readdirSync(kept, { recursive: true, encoding: 'utf8' }) : [];
  const found = files.find((file) => file.endsWith('metrics.jsonl'));
  return found === undefined ? [] : readFileSync(path.join(kept, found), 'utf8').split('\n').slice(0, -1);
}

interface Installed {
  readonly name: string;
  readonly version: number;
  readonly base: string;
  readonly workspaces: readonly string[];
  readonly figures: Readonly<Record<string, number>>;
}

function installed(): Installed[] {
  return JSON.parse(workbench.python('-m', 'starling_lsp', 'adapters', '--json'));
}

/** The process that trains and all that it started. */
function trainers(): number[] {
  const trainer = workbench.processes().find((words) => words.includes('-m starling_lsp train'));
  return trainer === undefined
    ? []
    : processesFrom(Number.parseInt(trainer, 10)).map((words) => Number.parseInt(words, 10));
}

async function cancel(): Promise<void> {
  const training = trainers();
  await workbench.cancel('Starling learns from project');
  await workbench.notified(/Starling: training is stopped\. Train again to go on\./);
  assert.ok(training.length > 0);
  assert.deepEqual(running(training), []);
  await workbench.run('Notifications: Clear All Notifications');
}

test('stopped while servers are asked, which are those that are in use: they end with it', async () => {
  await workbench.run(TRAIN);
  await workbench.notified(/Starling learns from project: asking the servers, \d+ of \d+/, LONG);
  const trainer = workbench.processes().find((words) => words.includes('-m starling_lsp train'));
  assert.match(trainer ?? '', / --base \S+ --server basedpyright --from-accepted$/);
  await workbench.shot('train');
  assert.ok(trainers().length > 1, 'no server is asked');
  await cancel();
});

test('stopped while it learns', async () => {
  await workbench.run(TRAIN);
  await until(
    steps,
    (lines) => lines.length > SAVED,
    LONG,
    (last) => `${last?.length} steps were trained`,
  );
  await cancel();
});

test('trained again it goes on, and says at the end that it is installed, and how much better it is', async () => {
  const before = steps();
  const from = workbench.log().length;
  await workbench.run(TRAIN);
  await workbench.notified(/Starling: what it learned from project is installed \(R@1 /, LONG);
  await workbench.shot('trained');
  assert.ok(before.length < steps().length);
  assert.deepEqual(steps().slice(0, SAVED), before.slice(0, SAVED));
  assert.ok(
    workbench
      .log()
      .slice(from)
      .some((line) => line.endsWith('asking the servers: 0 s')),
    'lists were asked for again',
  );
  const [one, ...others] = installed();
  assert.deepEqual([one?.name, one?.version, one?.base, others], ['project', 1, folder, []]);
  assert.deepEqual(one?.workspaces, [realpathSync(workbench.project)]);
  await workbench.notified(new RegExp(`R@1 \\+${one?.figures['R@1 gained']?.toFixed(3).replace('.', '\\.')} `));
  await workbench.run('Notifications: Clear All Notifications');
});

test('what is no better than what is used is not installed, and that is said', async () => {
  await workbench.run(TRAIN);
  await workbench.notified(/Starling: what it learned from project is not better \(R@1 \+0\.000 /, LONG);
  assert.deepEqual(
    installed().map((one) => [one.name, one.version]),
    [['project', 1]],
  );
});
