/** Which language works in which mode. Pure: what is installed and trusted is given. */

import { LANGUAGES, type Other } from './languages.ts';

export type Mode = 'server' | 'companion' | 'off';
export type ChosenMode = Mode | 'auto';

export interface Circumstances {
  /** The setting, by language id. */
  readonly chosen: Readonly<Record<string, ChosenMode>>;
  readonly isInstalled: (extension: string) => boolean;
  readonly isTrusted: boolean;
  /** A setting of another extension. */
  readonly setting: (name: string) => unknown;
}

export interface Modes {
  readonly modes: ReadonlyMap<string, Mode>;
  /** What the user asked for and does not get, with what to do. */
  readonly problems: readonly string[];
}

/**
 * A language whose support is another extension's is never served as well: its items would stand there twice. In a workspace
 * that is not trusted no server is started, since servers read a project's settings, and some run its interpreter.
 */
export function modesIn(circumstances: Circumstances): Modes {
  const { isInstalled, setting } = circumstances;
  const supports = ({ extension, where }: Other) =>
    isInstalled(extension) && (where === undefined || where.values.includes(setting(where.setting)));
  const modes = new Map<string, Mode>();
  const problems: string[] = [];
  for (const language of LANGUAGES) {
    const other = language.others.find(supports)?.extension;
    for (const id of language.ids) {
      const chosen = circumstances.chosen[id] ?? 'auto';
      if (chosen === 'off' || chosen === 'companion') {
        modes.set(id, chosen);
        continue;
      }
      const servable = other === undefined && circumstances.isTrusted;
      modes.set(id, servable ? 'server' : 'companion');
      if (chosen === 'server' && other !== undefined) {
        problems.push(
          `Starling works as a companion in ${id}: ${other} is its language support, and two would offer everything twice. Disable that extension, then restart Starling.`,
        );
      }
    }
  }
  return { modes, problems };
}
