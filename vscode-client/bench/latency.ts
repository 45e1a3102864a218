/**
 * From the key to visible rows in VS Code: basedpyright directly, and through Starling, taking turns in one run.
 *
 *     make bench-vscode        a table: medians, and what Starling adds
 *
 * Direct is an extension of a few lines around the same language client. Each turn types "." after `self` in a file of the project,
 * and the page's own clock runs from the key to the list's first row.
 */

import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Options } from '../workbench/code-server.ts';
import { Workbench } from '../workbench/harness.ts';

const HERE = path.resolve(import.meta.dirname, '..');
const OPENINGS = Number(process.env.OPENINGS ?? 4); // a pair of workbenches differs from the next by more than Starling adds
const ROUNDS = Number(process.env.ROUNDS ?? 15); // of each
const WARM = 3;
const SERVER = path.join(path.dirname(process.env.STARLING_PYTHON ?? ''), 'basedpyright-langserver');
const EXAMPLE = readFileSync(path.join(HERE, '..', 'examples', 'shop.py'), 'utf8').replace(
  '        self.\n',
  '        self\n',
);
const FREE = { line: 30, column: 13 };

const DIRECT = `
import * as vscode from 'vscode';
import { LanguageClient } from 'vscode-languageclient/node';
export async function activate(): Promise<void> {
  const run = { command: ${JSON.stringify(SERVER)}, args: ['--stdio'] };
  const documentSelector = [{ language: 'python', scheme: 'file' }];
  await new LanguageClient('direct', 'direct', { run, debug: run }, { documentSelector }).start();
}
`;

/** An extension that starts basedpyright and nothing else, as a .vsix. */
function directExtension(folder: string): string {
  mkdirSync(folder, { recursive: true });
  writeFileSync(path.join(folder, 'extension.ts'), DIRECT);
  writeFileSync(path.join(folder, 'LICENSE'), 'For a measurement.\n');
  writeFileSync(
    path.join(folder, 'package.json'),
    JSON.stringify({
      name: 'direct',
      publisher: 'starling',
      version: '0.0.1',
      engines: { vscode: '^1.101.0' },
      main: './extension.cjs',
      activationEvents: ['onLanguage:python'],
    }),
  );
  const bin = path.join(HERE, 'node_modules', '.bin');
  const bundling = [
    '--bundle',
    '--platform=node',
    '--format=cjs',
    '--external:vscode',
    '--outfile=extension.cjs',
    '--minify',
  ];
  const env = { ...process.env, NODE_PATH: path.join(HERE, 'node_modules') };
  execFileSync(path.join(bin, 'esbuild'), ['extension.ts', ...bundling], { cwd: folder, stdio: 'ignore', env });
  const packing = ['package', '--no-dependencies', '--allow-missing-repository', '--out', 'direct.vsix'];
  execFileSync(path.join(bin, 'vsce'), packing, { cwd: folder, stdio: 'ignore' });
  return path.join(folder, 'direct.vsix');
}

/** Milliseconds from the key to the first row, by the page's own clock. */
async function once(workbench: Workbench): Promise<number> {
  const { page } = workbench;
  await page.evaluate(() => {
    Object.assign(window, {
      shown: new Promise<number>((resolve) => {
        const onKey = (event: KeyboardEvent) => {
          if (event.key === '.') {
            document.removeEventListener('keydown', onKey, { capture: true });
            const pressed = performance.now();
            const isShown = () => document.querySelector('.suggest-widget.visible .monaco-list-row') !== null;
            const observer = new MutationObserver(() => {
              if (isShown()) {
                observer.disconnect();
                resolve(performance.now() - pressed);
              }
            });
            observer.observe(document.body, { subtree: true, childList: true, attributeFilter: ['class'] });
          }
        };
        document.addEventListener('keydown', onKey, { capture: true });
      }),
    });
  });
  await page.keyboard.press('.');
  const milliseconds = await page.evaluate(() => (window as unknown as { shown: Promise<number> }).shown);
  await page.keyboard.press('Escape');
  await page.keyboard.press('Backspace');
  await page.waitForTimeout(700); // a person looks, and types on
  return milliseconds;
}

function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
}

async function opened(options: Options): Promise<Workbench> {
  const workbench = await Workbench.open({ 'shop.py': EXAMPLE }, { ...options, keepHome: true });
  await workbench.edit('shop.py');
  await workbench.goTo(FREE.line, FREE.column);
  await workbench.type('.');
  await workbench.suggestUntil(
    (rows) => rows.length > 3 && (options.extension !== undefined || rows.some((row) => row.startsWith('★'))),
  );
  if (options.settings?.['starling.ranker'] === 'model') {
    await workbench.modelIsReady();
  }
  await workbench.page.keyboard.press('Escape');
  await workbench.page.keyboard.press('Backspace');
  return workbench;
}

/** Directly and through Starling, taking turns, each first in every other pair of workbenches; rows of a table. */
async function compared(vsix: string, ranker: string): Promise<string[]> {
  const sides = [
    { name: 'basedpyright directly', options: { extension: vsix }, times: [] as number[] },
    {
      name: `through Starling, ${ranker}`,
      options: { settings: { 'starling.ranker': ranker } },
      times: [] as number[],
    },
  ];
  for (let opening = 0; opening < OPENINGS; opening++) {
    const turns: { workbench: Workbench; times: number[] }[] = [];
    try {
      for (const { options, times } of opening % 2 ? sides.toReversed() : sides) {
        turns.push({ workbench: await opened(options), times });
      }
      for (let round = 0; round < ROUNDS + WARM; round++) {
        process.stderr.write(
          `\r${ranker}: pair ${opening + 1} of ${OPENINGS}, round ${round + 1} of ${ROUNDS + WARM} `,
        );
        for (const { workbench, times } of turns) {
          const milliseconds = await once(workbench);
          if (round >= WARM) {
            times.push(milliseconds);
          }
        }
      }
    } finally {
      process.stderr.write('\n');
      for (const { workbench } of turns) {
        await workbench.close();
      }
    }
  }
  const base = quantile(sides[0]?.times ?? [], 0.5);
  return sides.map(({ name, times }) => {
    const p50 = quantile(times, 0.5);
    return `| ${name} | ${p50.toFixed(0)} | ${quantile(times, 0.95).toFixed(0)} | ${(p50 - base).toFixed(1)} |`;
  });
}

const folder = mkdtempSync(path.join(tmpdir(), 'starling-bench-'));
try {
  const vsix = directExtension(path.join(folder, 'direct'));
  const rows = [...(await compared(vsix, 'signals')), ...(await compared(vsix, 'model'))];
  console.log(`from "." to visible rows, ms, ${OPENINGS} pairs of workbenches, ${ROUNDS} rounds each, taking turns`);
  console.log(['| | p50 | p95 | added at p50 |', '| --- | --- | --- | --- |', ...rows].join('\n'));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
