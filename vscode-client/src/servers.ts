/** The settings that say which servers are started: what `train` asks of them, and what is left to other extensions. Knows nothing of VS Code. */

/** Those of `servers`, of which commands have no name, then those of `server`, comma-separated. `train` takes a language's first. */
export function serverNames(byLanguage: Readonly<Record<string, unknown>>, names: string): readonly string[] {
  const own = Object.values(byLanguage).flat().filter(isName);
  const named = names.split(',').map((name) => name.trim());
  return [...own, ...named.filter(isName)];
}

/** The setting `server` without one that another extension runs: what it says would stand there twice. */
export function namesWithout(names: string, taken: ReadonlySet<string>): string {
  return names
    .split(',')
    .filter((name) => !taken.has(name.trim()))
    .join(',');
}

/** The setting `servers` likewise; an entry is a name, a command, or an object with `server`. */
export function serversWithout(
  byLanguage: Readonly<Record<string, unknown>>,
  taken: ReadonlySet<string>,
): Record<string, unknown> {
  const isTaken = (entry: unknown) => taken.has(String((entry as { server?: unknown } | null)?.server ?? entry));
  return Object.fromEntries(
    Object.entries(byLanguage).map(([id, list]) => [
      id,
      Array.isArray(list) ? list.filter((one) => !isTaken(one)) : list,
    ]),
  );
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}
