"""Diagnostics that wrapped servers publish, a document's as the one list that an editor expects.

The editor replaces a document's list by each that comes, so what the other servers said is said again. One document may be
spelled in several ways; the editor gets it as it opened it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import msgspec

from lsp_server.documents.uris import key_of
from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Json

PUBLISH = "textDocument/publishDiagnostics"


class _Published(msgspec.Struct):
    uri: str
    diagnostics: list[msgspec.Raw]


class _Likeness(msgspec.Struct, frozen=True):
    """What editors leave as it is of a diagnostic that they send back."""

    range: msgspec.Raw
    message: msgspec.Raw

    @property
    def values(self) -> tuple[Json, Json]:
        return wire.loads(self.range), wire.loads(self.message)


@dataclass
class _Document:
    uri: str  # as the editor is told
    lists: dict[str, list[msgspec.Raw]] = field(default_factory=dict[str, list[msgspec.Raw]])  # by server

    def params(self) -> dict[str, Json]:
        """Equal diagnostics once."""
        items = {bytes(item): item for items in self.lists.values() for item in items}
        return {"uri": self.uri, "diagnostics": list(items.values())}


class PublishedDiagnostics:
    """The last list of each server for each document. `spelled` gives a URI as the editor spells it."""

    def __init__(self, spelled: Callable[[str], str]) -> None:
        self._spelled = spelled
        self._known: dict[str, _Document] = {}  # by the URI's key

    def published(self, server: str, body: bytes, params: msgspec.Raw) -> bytes:
        """A server's publishDiagnostics with the lists of the others added; its version stays its own. Raises Malformed."""
        given = wire.read(params, _Published)
        key, uri = key_of(given.uri), self._spelled(given.uri)
        document = self._known.setdefault(key, _Document(uri))
        document.lists[server] = given.diagnostics
        document.uri = uri if uri != given.uri else document.uri
        alone = len(document.lists) == 1 and document.uri == given.uri
        if not any(document.lists.values()):
            del self._known[key]
        if alone:
            return body
        return wire.notification(PUBLISH, {**wire.fields(params), **document.params()})

    def forget(self, server: str) -> list[bytes]:
        """A server's process has gone. Returns the notifications that take its diagnostics back at the editor."""
        told: list[bytes] = []
        for key, document in list(self._known.items()):
            if document.lists.pop(server, None):
                told.append(wire.notification(PUBLISH, document.params()))
            if not any(document.lists.values()):
                del self._known[key]
        return told

    def items_of(self, server: str, uri: str) -> list[msgspec.Raw]:
        """The diagnostics that a server published last for a document."""
        document = self._known.get(key_of(uri))
        return [] if document is None else document.lists.get(server, [])


def among(items: Iterable[msgspec.Raw], own: Iterable[msgspec.Raw]) -> list[msgspec.Raw]:
    """Those diagnostics, as an editor sent them, that a server made: the same range and message. Raises Malformed."""
    known = [wire.read(item, _Likeness).values for item in own]
    return [item for item in items if wire.read(item, _Likeness).values in known]
