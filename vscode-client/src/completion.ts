/** Completion in server mode: the list that the server ranked gets keys that hold its order in VS Code. */

import * as vscode from 'vscode';
import type { Middleware } from 'vscode-languageclient/node';
import type { Focus } from './focus.ts';
import { KeptList } from './kept.ts';

type CompletionMiddleware = Required<Pick<Middleware, 'provideCompletionItem' | 'resolveCompletionItem'>>;

/** `shown` is told of each list that was asked for anew. */
export function completionMiddleware(focus: Focus, shown: () => void): CompletionMiddleware {
  let kept: KeptList | undefined;
  return {
    provideCompletionItem: async (document, position, context, token, next) => {
      if (kept?.answers(document, position, context)) {
        return kept.at(document, position);
      }
      const given = await next(document, position, context, token);
      const list = Array.isArray(given) ? new vscode.CompletionList(given) : given;
      kept = list ? KeptList.of(list, document, position) : undefined;
      shown();
      return kept === undefined ? list : kept.at(document, position);
    },
    resolveCompletionItem: async (item, token, next) => {
      const range = item.range;
      const resolved = (await next(item, token)) ?? item;
      if (range !== undefined) {
        resolved.range = range; // the server resolved the item as it was some letters ago
      }
      focus.on(resolved);
      return resolved;
    },
  };
}
