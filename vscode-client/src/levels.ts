/** What the server writes on its standard error, at the level that it has. Pure. */

export type Level = 'debug' | 'info' | 'warn' | 'error';

/** A record of lsp_server/logs.py: time, process, logger, level, message. */
const RECORD = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (\d+ [\w.]+) (DEBUG|INFO|WARNING|ERROR|CRITICAL) (.*)$/;
const LEVELS: Readonly<Record<string, Level>> = { DEBUG: 'debug', INFO: 'info', WARNING: 'warn' };

/** A line's level, and its text without what the output channel writes itself. What is no record is an error: a traceback, say. */
export function leveled(line: string): { level: Level; text: string } {
  const [, where, level, message] = RECORD.exec(line) ?? [];
  return where === undefined || level === undefined
    ? { level: 'error', text: line }
    : { level: LEVELS[level] ?? 'error', text: `${where} ${message}` };
}
