/** The lines that streams of a child process say, as they come. */

import type { Readable } from 'node:stream';

export function lines(streams: readonly Readable[], heard: (line: string) => void): void {
  for (const stream of streams) {
    let rest = '';
    stream.setEncoding('utf8');
    stream.on('data', (text: string) => {
      const parts = (rest + text).split(/\r?\n/);
      rest = parts.pop() ?? '';
      for (const line of parts.filter((part) => part.trim() !== '')) {
        heard(line);
      }
    });
    stream.on('end', () => {
      if (rest.trim() !== '') {
        heard(rest);
      }
    });
  }
}
