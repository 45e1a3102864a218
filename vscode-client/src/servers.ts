/** Which servers `train` asks, of the settings that say which ones the server starts. Knows nothing of VS Code. */

/** Those of `servers`, of which commands have no name, then those of `server`, comma-separated. `train` takes a language's first. */
export function serverNames(byLanguage: Readonly<Record<string, unknown>>, names: string): readonly string[] {
  const own = Object.values(byLanguage).flat().filter(isName);
  const named = names.split(',').map((name) => name.trim());
  return [...own, ...named.filter(isName)];
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}
