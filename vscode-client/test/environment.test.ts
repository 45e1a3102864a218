import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { beforeEach, test } from 'node:test';
import { load } from './fakes/load.ts';

// biome-ignore lint/suspicious/noExplicitAny: VS Code's own types want all of its API
type Any = any;
const { Environment, vscode } = await load<{ Environment: Any }>('environment');
const { fake } = vscode;
const NOT_CANCELLED = { isCancellationRequested: false, onCancellationRequested: () => ({ dispose: () => {} }) };
const PATH = process.env.PATH;

let home = '';
let environment: Any;

/** A program of this name on the path. */
function program(name: string, script: string): void {
  const file = path.join(home, 'bin', name);
  writeFileSync(file, `#!/bin/sh\n${script}\n`);
  chmodSync(file, 0o700);
}

beforeEach(() => {
  home = mkdtempSync(path.join(tmpdir(), 'starling-environment-'));
  for (const folder of ['bin', 'storage', 'server']) {
    mkdirSync(path.join(home, folder));
  }
  writeFileSync(path.join(home, 'server', 'starling.whl'), '');
  process.env.PATH = path.join(home, 'bin');
  fake.settings.clear();
  environment = new Environment(
    { globalStorageUri: { fsPath: path.join(home, 'storage') }, extensionPath: home },
    { info: () => {} },
  );
});

test.after(() => {
  process.env.PATH = PATH ?? '';
});

test('the Python that the user names is the only one that counts', async () => {
  program('python3', 'echo 0.2.0');
  assert.equal((await environment.find()).version, '0.2.0');
  fake.settings.set('python', path.join(home, 'bin', 'none'));
  assert.equal(await environment.find(), undefined);
});

test('where the setting names a Python, no environment is made that would not be used', async () => {
  makesEnvironments('exit 0');
  fake.settings.set('python', 'python3');
  await assert.rejects(
    environment.install({ report: () => {} }, NOT_CANCELLED),
    /names python3\..*python3 -m pip install starling-lsp.*empty the setting/,
  );
  assert.deepEqual(readdirSync(path.join(home, 'storage')), []);
});

test('what is installed for the user alone is there, as it is for the server', async () => {
  program('python3', 'case "$*" in -I*) exit 1 ;; *torch*) echo True ;; *) echo 0.2.0 ;; esac');
  assert.equal((await environment.find()).version, '0.2.0');
  assert.equal(await environment.canTrain('python3'), true);
});

test('a Python that is too old is told before anything is fetched', async () => {
  program('python3', 'exit 1');
  assert.equal(await environment.newEnoughPython(), undefined);
  await assert.rejects(environment.install({ report: () => {} }, NOT_CANCELLED), /needs Python 3\.11/);
  assert.deepEqual(readdirSync(path.join(home, 'storage')), []);
});

/** A Python that makes environments; in them, one whose pip does this. */
function makesEnvironments(pip: string): void {
  const inner = `case "$*" in *install*) ${pip} ;; *) echo 0.3.0 ;; esac`;
  program(
    'python3',
    `case "$*" in *venv*) for last; do :; done; /bin/mkdir -p "$last/bin"; printf '#!/bin/sh\\n%s\\n' '${inner}' > "$last/bin/python"; /bin/chmod 700 "$last/bin/python" ;; *lsp_server*) exit 1 ;; esac`,
  );
}

test('an environment takes the place of the one before when it is whole, and only then', async () => {
  makesEnvironments('exit 0');
  await environment.install({ report: () => {} }, NOT_CANCELLED);
  const first = readFileSync(path.join(home, 'storage', 'current.txt'), 'utf8');
  const found = await environment.find();
  assert.equal(found.version, '0.3.0');
  assert.ok(found.isOwn);
  makesEnvironments('echo no network; exit 1');
  await assert.rejects(environment.install({ report: () => {} }, NOT_CANCELLED), /no network/);
  assert.equal(readFileSync(path.join(home, 'storage', 'current.txt'), 'utf8'), first);
  assert.ok((await environment.find()).isOwn);
  await environment.removeOld();
  assert.deepEqual(readdirSync(path.join(home, 'storage')).sort(), ['current.txt', first].sort());
});

test('of those before the one in use the last stays: another window may run on it', async () => {
  for (const number of [8, 9, 10, 11, 12]) {
    mkdirSync(path.join(home, 'storage', `venv-${number}`));
  }
  writeFileSync(path.join(home, 'storage', 'current.txt'), 'venv-11');
  await environment.removeOld();
  assert.deepEqual(readdirSync(path.join(home, 'storage')).sort(), ['current.txt', 'venv-10', 'venv-11', 'venv-12']);
});
