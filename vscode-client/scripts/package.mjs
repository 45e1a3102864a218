/**
 * Make dist/starling.vsix: the bundle, and in it the server as a wheel, so that an extension and its server are of one version.
 *
 *     npm run package          the wheel is built with the Python that $PYTHON names (default: python3)
 */

import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';

const here = path.resolve(import.meta.dirname, '..');
const run = (command, ...words) => execFileSync(command, words, { cwd: here, stdio: 'inherit' });
const tool = (name) => path.join(here, 'node_modules', '.bin', process.platform === 'win32' ? `${name}.cmd` : name);

rmSync(path.join(here, 'server'), { recursive: true, force: true });
mkdirSync(path.join(here, 'server'));
mkdirSync(path.join(here, 'dist'), { recursive: true });
copyFileSync(path.join(here, '..', 'LICENSE'), path.join(here, 'LICENSE'));
run(process.env.PYTHON ?? 'python3', '-m', 'pip', 'wheel', '--quiet', '--no-deps', '--wheel-dir', 'server', '..');
run('npm', 'run', 'bundle');
run(
  tool('vsce'),
  'package',
  '--no-dependencies',
  '--skip-license',
  '--no-rewrite-relative-links',
  '--allow-missing-repository',
  '--out',
  'dist/starling.vsix',
);
