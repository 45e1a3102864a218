"""Merges the diagnostics that several wrapped servers publish for a document into one list.

The editor replaces a document's list when a new one arrives, so every list must contain the diagnostics of all servers.
Servers may spell the URI of a document differently. The editor gets the URI that it sent in didOpen.
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
    diagnostics: list[msgspec.Raw] | None = None  # servers in Go write an empty list as null


class _Identity(msgspec.Struct, frozen=True):
    """The parts of a diagnostic that editors send back unchanged."""

    range: msgspec.Raw
    message: msgspec.Raw

    @property
    def values(self) -> tuple[Json, Json]:
        return wire.loads(self.range), wire.loads(self.message)


@dataclass
class _Document:
    uri: str  # as the editor gets it
    lists: dict[str, list[msgspec.Raw]] = field(default_factory=dict[str, list[msgspec.Raw]])  # by server

    def params(self) -> dict[str, Json]:
        """Return the params of publishDiagnostics. Equal diagnostics appear once."""
        items = {bytes(item): item for items in self.lists.values() for item in items}
        return {"uri": self.uri, "diagnostics": list(items.values())}


class PublishedDiagnostics:
    """Keeps the last list of each server for each document. `spelled` returns a URI as the editor spells it."""

    def __init__(self, spelled: Callable[[str], str]) -> None:
        self._spelled = spelled
        self._known: dict[str, _Document] = {}  # by the URI's key

    def published(self, server: str, body: bytes, params: msgspec.Raw) -> bytes:
        """Add the diagnostics of the other servers to a server's publishDiagnostics.

        The version stays. Raises Malformed.
        """
        given = wire.read(params, _Published)
        key, uri = key_of(given.uri), self._spelled(given.uri)
        document = self._known.setdefault(key, _Document(uri))
        document.lists[server] = given.diagnostics or []
        document.uri = uri if uri != given.uri else document.uri
        alone = len(document.lists) == 1 and document.uri == given.uri
        if not any(document.lists.values()):
            del self._known[key]
        if alone:
            return body
        return wire.notification(PUBLISH, {**wire.fields(params), **document.params()})

    def forget(self, server: str) -> list[bytes]:
        """Forget a server after its process ended.

        Returns the notifications that remove its diagnostics in the editor.
        """
        told: list[bytes] = []
        for key, document in list(self._known.items()):
            if document.lists.pop(server, None):
                told.append(wire.notification(PUBLISH, document.params()))
            if not any(document.lists.values()):
                del self._known[key]
        return told

    def items_of(self, server: str, uri: str) -> list[msgspec.Raw]:
        """Return the diagnostics that a server last published for a document."""
        document = self._known.get(key_of(uri))
        return [] if document is None else document.lists.get(server, [])


def among(items: Iterable[msgspec.Raw], own: Iterable[msgspec.Raw]) -> list[msgspec.Raw]:
    """Return the editor's diagnostics that are also in `own`: they have the same range and message.

    Raises Malformed.
    """
    known = [wire.read(item, _Identity).values for item in own]
    return [item for item in items if wire.read(item, _Identity).values in known]
