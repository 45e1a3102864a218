"""Diagnostics that several wrapped servers publish for one document, as the one list that an editor expects.

The editor replaces a document's list by each that comes, so what the others said is said again.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from lsp_server.jsonrpc import wire

_Lists = dict[str, list[msgspec.Raw]]
_items = msgspec.json.Decoder(list[msgspec.Raw])


class Diagnostics:
    """The last list of each server for each document."""

    def __init__(self) -> None:
        self._known: dict[str, _Lists] = {}  # uri -> server -> items

    def published(self, server: str, params: dict[str, msgspec.Raw]) -> bytes:
        """A server's publishDiagnostics with the lists of the others added; its version stays its own."""
        uri = wire.loads(params["uri"])
        lists = self._known.setdefault(uri, {})
        lists[server] = _items.decode(params["diagnostics"])
        if not any(lists.values()):
            del self._known[uri]
        return wire.notification("textDocument/publishDiagnostics", {**params, "diagnostics": _all(lists)})

    def forget(self, server: str, send: Callable[[bytes], None]) -> None:
        """A server has gone: its diagnostics go from the editor too."""
        for uri, lists in list(self._known.items()):
            if lists.pop(server, None):
                send(wire.notification("textDocument/publishDiagnostics", {"uri": uri, "diagnostics": _all(lists)}))
            if not any(lists.values()):
                del self._known[uri]


def _all(lists: _Lists) -> list[msgspec.Raw]:
    return [item for items in lists.values() for item in items]
