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
import { activeInterpreter } from './interpreter.ts';
import { BESIDE, LANGUAGES, supportOf } from './languages.ts';
import { leveled } from './levels.ts';
import type { Modes } from './modes.ts';
import { offer, showing } from './offer.ts';
import { moduleOf } from './python.ts';
import { namesWithout, serversWithout } from './servers.ts';
import * as settings from './settings.ts';
import type { Switches } from './switches.ts';

/** Of documents that are ranked: files, new ones, and cells of notebooks. */
export const SCHEMES = ['file', 'untitled', 'vscode-notebook-cell'] as const;
const RESTARTS = 5; // within
const A_WHILE = 180_000; // ms
const STOP_PATIENCE = 5_000; // ms

interface Start {
  readonly python: string;
  readonly modes: Modes['modes'];
  readonly switches: Switches;
  readonly log: vscode.LogOutputChannel;
  readonly middleware: Middleware;
  /** Whether it is to be started again when it ends. */
  readonly isWanted: () => boolean;
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
      documentSelector: ids.flatMap((language) => SCHEMES.map((scheme) => ({ language, scheme }))),
      outputChannel: start.log,
      initializationOptions: () => ({ starling: options(start) }),
      middleware: { ...start.middleware, workspace: { configuration: withInterpreter } },
      errorHandler: restarting(start.log, start.isWanted),
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

/** End it: politely, or at once where it is still starting or does not end. */
export async function ended(client: LanguageClient, log: vscode.LogOutputChannel): Promise<void> {
  const { serverProcess } = client;
  try {
    await client.dispose(STOP_PATIENCE);
  } catch (error) {
    log.warn(`the server is killed: ${error}`);
    serverProcess?.kill('SIGKILL');
  }
}

type AnswersConfiguration = NonNullable<NonNullable<Middleware['workspace']>['configuration']>;

/** The answer to `workspace/configuration`, with the interpreter that the Python extension has chosen where a section has such a setting. */
const withInterpreter: AnswersConfiguration = async (params, token, next) => {
  const found = await next(params, token);
  const active = await activeInterpreter();
  if (!Array.isArray(found) || active === undefined) {
    return found;
  }
  return found.map((section: unknown, place) => withSetting(params.items[place]?.section ?? '', section, active));
};

/** A section of the settings with the interpreter in it, unless the user has set one. */
function withSetting(name: string, section: unknown, interpreter: string): unknown {
  const setting = LANGUAGES.map((language) => language.interpreter).find((one) => one?.section === name);
  const isObject = typeof section === 'object' && section !== null;
  return setting === undefined || (section !== null && !isObject)
    ? section
    : { [setting.key]: interpreter, ...section };
}

function options(start: Start): Record<string, unknown> {
  const given = settings.atStart();
  const taken = new Set([...BESIDE].flatMap(([id, server]) => (vscode.extensions.getExtension(id) ? [server] : [])));
  const { adapter } = start.switches;
  const companions = [...start.modes].filter(([, mode]) => mode !== 'server').map(([id]) => [id, []]);
  return {
    ...given,
    server: namesWithout(String(given.server ?? ''), taken),
    ...(adapter === undefined ? {} : { adapter }),
    off: start.switches.off(),
    servers: {
      ...serversWithout((given.servers ?? {}) as Record<string, unknown>, taken),
      ...Object.fromEntries(companions),
    },
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
function restarting(log: vscode.LogOutputChannel, isWanted: () => boolean) {
  let ends: number[] = [];
  let told = false;
  return {
    error: () => ({ action: ErrorAction.Continue }),
    closed: () => {
      if (!isWanted()) {
        return { action: CloseAction.DoNotRestart, handled: true };
      }
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
