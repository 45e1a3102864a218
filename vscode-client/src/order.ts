/**
 * Order that survives typing. VS Code sorts a list by its own fuzzy score of what was typed, and by `sortText` among equals.
 * So items that begin with the typed text are given one score, and `sortText` decides: how well an item matches, then its rank.
 *
 * What an item inserts is never touched. Knows nothing of VS Code but the shape of its items, so that it can be tested alone.
 */

export interface Sortable {
  readonly label: string | { readonly label: string };
  filterText?: string;
  sortText?: string;
}

/** How well an item matches what was typed, best first. Only among equals does the rank decide. */
const WHOLE = 0;
const START = 1;
const START_IN_OTHER_CASE = 2;
const OTHER = 3;

export function nameOf(item: Sortable): string {
  return typeof item.label === 'string' ? item.label : item.label.label;
}

/** What VS Code would match the typed text with. */
export function matched(item: Sortable): string {
  return item.filterText ?? nameOf(item);
}

/**
 * The keys of an item for a list that is shown after `typed` (from the start of the range that the item replaces to the cursor).
 *
 * A text that begins with `typed` and a mark scores the same whatever follows (clangd's form): it holds until the next key, when
 * the list has to be made anew. An item that does not begin so keeps its own text, which scores less, or nothing at all.
 */
export function keys(own: { filter: string; sort: string }, typed: string): { filterText: string; sortText: string } {
  const match = matchOf(own.filter, typed);
  const tied = typed !== '' && match !== OTHER;
  return { filterText: tied ? `${typed}_${own.filter}` : own.filter, sortText: `${match}${own.sort}` };
}

function matchOf(text: string, typed: string): number {
  if (text === typed) {
    return WHOLE;
  }
  if (text.startsWith(typed)) {
    return START;
  }
  if (!text.toLowerCase().startsWith(typed.toLowerCase())) {
    return OTHER;
  }
  return typed === typed.toLowerCase() ? START : START_IN_OTHER_CASE; // who types a capital means it
}
