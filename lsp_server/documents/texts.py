"""Keeps the text of each open document, to open it again in a restarted server and to convert positions.

Has no syntax trees: they are in the ranker process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

from corpus.syntax.text import SourceText
from lsp_server.documents.positions import Encoding, to_offset
from lsp_server.documents.uris import key_of
from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Json

log = logging.getLogger(__name__)

OPEN, CHANGE, CLOSE, SAVE = (f"textDocument/did{name}" for name in ("Open", "Change", "Close", "Save"))
WILL_SAVE = "textDocument/willSave"


def encoded(text: str) -> bytes:
    """Encode a text as UTF-8. Lone surrogates, which some editors send, are kept, so that positions stay correct."""
    return text.encode("utf-8", "surrogatepass")


Edit = Callable[[int, int, bytes], None]


def apply_changes(text: SourceText, params: dict[str, Any], encoding: Encoding, edit: Edit) -> int:
    """Call `edit(start, end, new)`, in byte offsets, for each change of a didChange.

    Returns the offset where the last ends.
    """
    end_of_last = 0
    for change in params.get("contentChanges") or ():
        new = encoded(change.get("text", ""))
        span = change.get("range")
        if span is None:
            start, end = 0, len(text.data)
        else:
            start, end = (
                to_offset(text, span[edge]["line"], span[edge]["character"], encoding) for edge in ("start", "end")
            )
            start, end = min(start, end), max(start, end)
        edit(start, end, new)
        end_of_last = start + len(new)
    return end_of_last


class OpenDocument:
    """One document between didOpen and didClose."""

    def __init__(self, item: dict[str, Any]) -> None:
        self.uri: str = item["uri"]
        self.language_id: str = item.get("languageId", "")
        self.version: Any = item.get("version")
        self.changes = 0  # number of changes since it was opened
        self.text = SourceText(encoded(item.get("text", "")))

    def as_item(self) -> Json:
        """Return its current state as a TextDocumentItem, for a didOpen."""
        return {
            "uri": self.uri,
            "languageId": self.language_id,
            "version": self.version,
            "text": bytes(self.text.data).decode("utf-8", "surrogatepass"),
        }

    def whole_change(self, params: Json | None = None) -> bytes:
        """Return a didChange with the whole current text. `params`: those of the didChange that it replaces, if any."""
        given = {"textDocument": {"uri": self.uri, "version": self.version}} if params is None else params
        return wire.notification(CHANGE, {**given, "contentChanges": [{"text": self.as_item()["text"]}]})


class Documents:
    """All open documents.

    All spellings of a URI find the same document. Invalid notifications are logged and ignored.
    """

    def __init__(self) -> None:
        self.encoding: Encoding = "utf-16"
        self._open: dict[str, OpenDocument] = {}

    def __iter__(self) -> Iterator[OpenDocument]:
        return iter(self._open.values())

    def get(self, uri: str) -> OpenDocument | None:
        return self._open.get(key_of(uri))

    def spelled(self, uri: str) -> str:
        """Return the URI that the editor sent in didOpen; `uri` itself if the document is not open."""
        document = self.get(uri)
        return uri if document is None else document.uri

    def changes_of(self, uri: str) -> int:
        """Return how often an open document was changed; -1 if it is not open."""
        document = self.get(uri)
        return -1 if document is None else document.changes

    def whole_change(self, uri: str) -> bytes | None:
        """Return a didChange with the whole current text, for a process that missed changes; None if it is not open."""
        document = self.get(uri)
        return None if document is None else document.whole_change()

    def did_open(self, params: dict[str, Any]) -> None:
        document = OpenDocument(params["textDocument"])
        self._open[key_of(document.uri)] = document

    def did_change(self, params: dict[str, Any]) -> None:
        uri = params["textDocument"]["uri"]
        document = self.get(uri)
        if document is None:
            log.warning("ignored a change to %s: it is not open", uri)
            return
        document.changes += 1
        document.version = params["textDocument"].get("version", document.version)
        apply_changes(document.text, params, self.encoding, document.text.replace)

    def did_close(self, params: dict[str, Any]) -> None:
        self._open.pop(key_of(params["textDocument"]["uri"]), None)
