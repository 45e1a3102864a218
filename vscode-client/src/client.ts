/** The connection to Starling's server: how it starts, what it is told, and what happens when it ends. */

import * as vscode from 'vscode';
import {
  CloseAction,
  DidChangeConfigurationNotification,
  ErrorAction,
  LanguageClient,
  type Middleware,
  TransportKind,
} from 'vscode-languageclient/node';
import { eachLine } from './child.ts';
import { supportOf } from './languages.ts';
import { leveled } from './levels.ts';
import type { Modes } from './modes.ts';
import { offer, showing } from './offer.ts';
import { moduleOf } from './python.ts';
import * as settings from './settings.ts';
import type { Switches } from './switches.ts';

const RESTARTS = 5; // within
const A_WHILE = 180_000; // ms

interface Start {
  readonly python: string;
  readonly modes: Modes['modes'];
  readonly switches: Switches;
  readonly log: vscode.LogOutputChannel;
  readonly middleware: Middleware;
}

/** What the ranker last did. */
interface LastRanking {
  readonly items: number;
  readonly ranker: string;
  readonly complete: boolean;
  readonly milliseconds: number;
  readonly adapter: string;
}

export interface ServerStatus {
  readonly servers: readonly { readonly name: string; readonly state: string; readonly languages: readonly string[] }[];
  readonly ranker: {
    readonly index: boolean;
    readonly files: number;
    readonly model: string;
    readonly reason: string;
    readonly last: LastRanking | null;
  } | null;
}

export function newClient(start: Start): LanguageClient {
  const ids = [...start.modes].filter(([, mode]) => mode !== 'off').map(([id]) => id);
  const run = {
    command: start.python,
    args: moduleOf('lsp_server'), // and --stdio, which the client adds
    transport: TransportKind.stdio,
  };
  return new LanguageClient(
    'starling',
    'Starling',
    { run, debug: run },
    {
      documentSelector: ids.flatMap((language) => [
        { language, scheme: 'file' },
        { language, scheme: 'untitled' },
      ]),
      outputChannel: start.log,
      initializationOptions: () => ({ starling: options(start) }),
      middleware: start.middleware,
      errorHandler: restarting(start.log),
      stdioOptions: {
        stdout: () => {}, // the protocol's
        stderr: (stream, log) =>
          eachLine(stream, (line) => {
            const { level, text } = leveled(line);
            log[level](text);
          }),
      },
      markdown: { isTrusted: false },
    },
  );
}

function options(start: Start): Record<string, unknown> {
  const given = settings.atStart();
  const { adapter } = start.switches;
  const companions = [...start.modes].filter(([, mode]) => mode !== 'server').map(([id]) => [id, []]);
  return {
    ...given,
    ...(adapter === undefined ? {} : { adapter }),
    off: start.switches.off(),
    servers: { ...(given.servers as object), ...Object.fromEntries(companions) },
  };
}

/** What changes while the server runs: our live settings, and the sections that the wrapped servers read. */
function configuration(modes: Modes['modes'], switches: Switches): Record<string, unknown> {
  const served = [...modes].filter(([, mode]) => mode === 'server').map(([id]) => id);
  const sections = new Set(served.flatMap((id) => supportOf(id)?.sections ?? []));
  const all = vscode.workspace.getConfiguration();
  return {
    starling: { ...settings.live(), off: switches.off() },
    ...Object.fromEntries([...sections].map((section) => [section, all.get(section)])),
  };
}

export async function tellConfiguration(
  client: LanguageClient,
  modes: Modes['modes'],
  switches: Switches,
): Promise<void> {
  await client.sendNotification(DidChangeConfigurationNotification.type, { settings: configuration(modes, switches) });
}

/** Start it again when it ends, and say so once; give up on one that goes on ending. */
function restarting(log: vscode.LogOutputChannel) {
  let ends: number[] = [];
  let told = false;
  return {
    error: () => ({ action: ErrorAction.Continue }),
    closed: () => {
      const now = Date.now();
      ends = [...ends.filter((end) => now - end < A_WHILE), now];
      log.warn(`the server ended (${ends.length} times in three minutes)`);
      if (ends.length > RESTARTS) {
        offer(vscode.window.showErrorMessage, 'Starling’s server goes on ending, and stays off now.', {
          ...showing(log),
          Restart: () => vscode.commands.executeCommand('starling.restart'),
        });
        return { action: CloseAction.DoNotRestart, handled: true };
      }
      if (!told) {
        told = true;
        offer(vscode.window.showWarningMessage, 'Starling’s server ended and is started again.', showing(log));
      }
      return { action: CloseAction.Restart, handled: true };
    },
  };
}
