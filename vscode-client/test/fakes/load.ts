/** Loads a part of the extension with the API of `fakes/vscode.ts` in VS Code's place. */

import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';

const HERE = import.meta.dirname;

/** The module's exports, and `vscode`: the API that it got. */
export async function load<Module>(name: string): Promise<Module & { vscode: typeof import('./vscode.ts') }> {
  const outfile = path.join(mkdtempSync(path.join(tmpdir(), 'starling-unit-')), 'module.mjs');
  await build({
    stdin: {
      contents: `export * from './src/${name}.ts'; export * as vscode from 'vscode';`,
      resolveDir: path.join(HERE, '../..'),
    },
    alias: { vscode: path.join(HERE, 'vscode.ts') },
    bundle: true,
    platform: 'node',
    format: 'esm',
    outfile,
  });
  return import(pathToFileURL(outfile).href);
}
