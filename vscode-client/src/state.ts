/** What the extension is doing, from no Python to a running server, and what the status bar shows of it. Pure. */

import type { Mode } from './modes.ts';

export type State =
  | { readonly name: 'looking' }
  | { readonly name: 'no-python' }
  | { readonly name: 'not-installed' }
  | { readonly name: 'installing'; readonly step: string }
  | { readonly name: 'starting' }
  | { readonly name: 'running' }
  | { readonly name: 'failed'; readonly why: string };

export const NO_PYTHON =
  'Starling needs Python 3.11 or newer, and found none. Install one (python.org), or name one that has Starling in the setting starling.python.';

interface LastRanking {
  readonly items: number;
  readonly ranker: string;
  readonly complete: boolean;
  readonly adapter: string;
}

/** A team's engine that scores names. */
interface RemoteStatus {
  readonly host: string;
  readonly state: string;
  readonly model: string;
  readonly reason: string;
}

/** The server's answer to starling/status. */
export interface ServerStatus {
  readonly servers: readonly { readonly name: string; readonly state: string; readonly languages: readonly string[] }[];
  readonly rankerPid: number | null;
  readonly settings?: { readonly ranker: string };
  readonly ranker: {
    readonly index: boolean;
    readonly files: number;
    readonly model: string;
    readonly reason: string;
    readonly remote?: RemoteStatus | null;
    readonly last: LastRanking | null;
  } | null;
}

/** The active editor; no `languageId` where there is none. */
export interface Here {
  readonly languageId?: string | undefined;
  readonly mode?: Mode | undefined;
  readonly isOff: boolean;
  /** Undefined where the server did not answer. */
  readonly status?: ServerStatus | undefined;
}

export interface Face {
  readonly text: string;
  /** Rows of the tooltip's table; a row without a name is a sentence. */
  readonly rows: readonly (readonly [name: string, value: string])[];
}

const WAITING: Readonly<Partial<Record<State['name'], Face>>> = {
  looking: { text: '$(loading~spin) Starling', rows: [['', 'Looking for a Python that has Starling.']] },
  'no-python': { text: '$(warning) Starling', rows: [['', NO_PYTHON]] },
  'not-installed': {
    text: '$(cloud-download) Starling',
    rows: [['', 'Starling’s server is not installed. Click to install it.']],
  },
  starting: { text: '$(loading~spin) Starling', rows: [['', 'The server starts.']] },
};

/** What the item shows; undefined where it has nothing to say: in a file of a language that Starling does not know. */
export function face(state: State, here: Here): Face | undefined {
  switch (state.name) {
    case 'installing':
      return { text: '$(loading~spin) Starling', rows: [['', `Installing: ${state.step}`]] };
    case 'failed':
      return { text: '$(error) Starling', rows: [['', state.why]] };
    case 'running':
      return running(here);
    default:
      return WAITING[state.name];
  }
}

function running({ languageId, mode, isOff, status }: Here): Face | undefined {
  if (languageId === undefined) {
    return { text: '★ Starling', rows: [['', 'Starling ranks completion lists in the languages that it knows.']] };
  }
  if (mode === undefined || mode === 'off') {
    return undefined;
  }
  if (isOff) {
    return { text: '☆ off', rows: [['', `Starling is off for ${languageId} here.`]] };
  }
  if (status === undefined) {
    return { text: '$(warning) Starling', rows: [['', 'The server does not answer. Click to restart it.']] };
  }
  const own = status.servers.filter((server) => server.languages.includes(languageId));
  const failed = own.filter((server) => server.state === 'failed');
  const { ranker } = status;
  const isDead = status.rankerPid === null && status.settings?.ranker !== 'off';
  const rows = [
    ...failed.map((server) => ['', `${server.name} has ended and is not started again. Click to restart it.`] as const),
    ...(isDead ? [['', 'The ranker is not running: lists stay as they came.'] as const] : []),
    ['mode', mode === 'server' ? `server (${named(own)})` : 'companion of another extension'] as const,
    ['index', ranker?.index ? counted(ranker.files, 'file') : 'being made'] as const,
    ['model', ranker?.model === 'failed' ? `none: ${ranker.reason}` : (ranker?.model ?? 'not started')] as const,
    ...(ranker?.remote ? [['remote', remote(ranker.remote)] as const] : []),
    ...(ranker?.model === 'off' ? [] : [['adapter', adapter(ranker?.last?.adapter)] as const]),
    ...(ranker?.last ? [['last list', lastList(ranker.last)] as const] : []),
  ];
  if (failed.length > 0 || isDead) {
    return { text: '$(warning) Starling', rows };
  }
  if (ranker === null || !ranker.index) {
    return { text: '★ $(loading~spin)', rows };
  }
  if (ranker.remote?.state === 'ready') {
    return { text: '★ remote', rows };
  }
  return { text: ranker.model === 'ready' ? '★ model' : '★ signals', rows };
}

function remote({ host, state, model, reason }: RemoteStatus): string {
  return state === 'ready' ? `${model} at ${host}` : `${host} ${state}${reason ? `: ${reason}` : ''}`;
}

function lastList(last: LastRanking): string {
  const cut = last.complete ? '' : ', cut short by the deadline';
  return `${counted(last.items, 'item')}, by ${last.ranker}${cut}`;
}

function adapter(folder: string | undefined): string {
  return folder ? folder.split(/[\\/]/).slice(-2).join(' ') : 'Starling’s own';
}

function named(servers: ServerStatus['servers']): string {
  return servers
    .map((server) => (server.state === 'running' ? server.name : `${server.name}: ${server.state}`))
    .join(', ');
}

/** "1 file", "2,100 files". */
export function counted(count: number, noun: string): string {
  return `${count.toLocaleString('en')} ${noun}${count === 1 ? '' : 's'}`;
}

/** Whether `installed` (of semantic versions) is older than `wanted`. What can't be read is not. */
export function isOlder(installed: string, wanted: string): boolean {
  const [a, b] = [installed, wanted].map((version) => version.split('.').map(Number));
  for (const place of [0, 1, 2]) {
    const difference = (a?.[place] ?? 0) - (b?.[place] ?? 0);
    if (difference !== 0) {
      return difference < 0;
    }
  }
  return false;
}
