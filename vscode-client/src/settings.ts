/** The user's settings, as the server takes them. Reads only: nothing here or elsewhere writes a setting. */

import * as vscode from 'vscode';
import type { ChosenMode } from './modes.ts';
import { serverNames } from './servers.ts';

/** Taken while the server runs; the others when it starts. */
const LIVE = ['ranker', 'deadline', 'starLimit', 'starText', 'starIn', 'rateAll'] as const;
const REMOTE = ['remote', 'remoteModel', 'remoteTokenFile', 'remoteOff'] as const;
const AT_START = ['idle', 'server', 'servers', 'base', 'adapter', ...REMOTE, 'logAccepted'] as const;

type Values = Record<string, unknown>;

function values(names: readonly string[]): Values {
  const section = vscode.workspace.getConfiguration('starling');
  return Object.fromEntries(names.map((name) => [name, section.get(name)]));
}

export function live(): Values {
  return values(LIVE);
}

export function atStart(): Values {
  return values([...LIVE, ...AT_START]);
}

export function needsRestart(event: vscode.ConfigurationChangeEvent): boolean {
  return [...AT_START, 'python', 'mode'].some((name) => event.affectsConfiguration(`starling.${name}`));
}

export function python(): string {
  return vscode.workspace.getConfiguration('starling').get('python', '');
}

/** What `train` is told of how the server runs: its model, which an adapter fits, its language servers, and whether there is a log to learn from. */
export function forTraining(): readonly string[] {
  const section = vscode.workspace.getConfiguration('starling');
  const base = section.get('base', '');
  return [
    ...(base === '' ? [] : ['--base', base]),
    ...serverNames(section.get('servers', {}), section.get('server', '')).flatMap((name) => ['--server', name]),
    ...(section.get('logAccepted', false) ? ['--from-accepted'] : []),
  ];
}

export function starText(): string {
  return vscode.workspace.getConfiguration('starling').get('starText', '★ ');
}

export function chosenModes(): Record<string, ChosenMode> {
  return vscode.workspace.getConfiguration('starling').get('mode', {});
}
