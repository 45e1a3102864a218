/** How the extension starts Python: with what is installed there, and no module of a workspace or of PYTHONPATH in its place. */

const ISOLATED = ['-E', '-P'];

/** The arguments that run a module of the interpreter's own environment. */
export function moduleOf(name: string, ...words: readonly string[]): string[] {
  return [...ISOLATED, '-m', name, ...words];
}

/** The arguments that run a script. */
export function scriptOf(script: string): string[] {
  return [...ISOLATED, '-c', script];
}
