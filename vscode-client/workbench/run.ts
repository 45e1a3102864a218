/**
 * Run the tests in the real workbench, a file after the other. A file that fails is run once more, and that is said.
 *
 *     npm run workbench [FILE ...]
 */

import { globSync } from 'node:fs';
import path from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';

const FILE_PATIENCE = 600_000; // ms

/** Those of the files in which a test failed. */
async function failing(files: string[]): Promise<string[]> {
  const failed = new Set<string>();
  const events = run({ files, concurrency: 1, timeout: FILE_PATIENCE });
  events.on('test:fail', (event) => failed.add(event.file ?? event.name));
  const lines = events.compose(new spec());
  for await (const line of lines) {
    process.stdout.write(line);
  }
  return [...failed].map((file) => path.resolve(file));
}

const named = process.argv.slice(2).map((file) => path.resolve(file));
let failed = await failing(named.length > 0 ? named : globSync(path.join(import.meta.dirname, '*.test.ts')).sort());
if (failed.length > 0) {
  console.log(`\n${failed.map((file) => path.basename(file)).join(', ')} failed, and is run once more\n`);
  failed = await failing(failed);
}
process.exitCode = failed.length > 0 ? 1 : 0;
