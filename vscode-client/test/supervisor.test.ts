import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { load } from './fakes/load.ts';

const { Supervisor } = await load<typeof import('../src/supervisor.ts')>('supervisor');

let alive: string[] = []; // the servers whose processes run
let last = 0;
let current: string | undefined;
let goes = () => {}; // the server that was ended last is gone
let supervisor: InstanceType<typeof Supervisor>;

beforeEach(async () => {
  [alive, last, current] = [[], 0, undefined];
  supervisor = new Supervisor(
    async () => {
      last++;
      current = `server ${last}`;
      alive.push(current);
    },
    async () => {
      const ended = current;
      current = undefined;
      if (ended !== undefined) {
        await new Promise<void>((resolve) => {
          goes = resolve;
        });
        alive = alive.filter((server) => server !== ended);
      }
    },
  );
  await supervisor.start();
});

/** Until all that can go on has. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

test('restarts that overlap wait until the server is gone, and start one', async () => {
  const restarts = [supervisor.restart(), supervisor.restart(), supervisor.restart()];
  await settled();
  assert.deepEqual(alive, ['server 1']);
  goes();
  await Promise.all(restarts);
  assert.deepEqual(alive, ['server 2']);
});

test('what is stopped while it restarts does not start', async () => {
  const both = [supervisor.restart(), supervisor.stop()];
  goes();
  await Promise.all(both);
  assert.deepEqual(alive, []);
});

test('a start counts until the next start or stop', async () => {
  const counts: (() => boolean)[] = [];
  const starts = new Supervisor(
    async (isCurrent) => {
      counts.push(isCurrent);
    },
    async () => {},
  );
  await starts.start();
  await starts.restart();
  assert.deepEqual(
    counts.map((isCurrent) => isCurrent()),
    [false, true],
  );
  await starts.stop();
  assert.deepEqual(
    counts.map((isCurrent) => isCurrent()),
    [false, false],
  );
});
