"""Requests that reveal the position of the cursor before completion is requested.

The ranker reads the text there ahead.
"""

from __future__ import annotations

from typing import Any

import msgspec

from lsp_server.jsonrpc import wire

CURSOR_REQUESTS = frozenset(
    f"textDocument/{name}"
    for name in ("hover", "documentHighlight", "codeAction", "selectionRange", "signatureHelp", "linkedEditingRange")
)


class _Document(msgspec.Struct):
    uri: str


class _Position(msgspec.Struct):
    line: int
    character: int


class _Range(msgspec.Struct):
    end: _Position


class _Place(msgspec.Struct):
    """The members that contain a position in the params of these requests (LSP 3.18)."""

    textDocument: _Document
    position: _Position | None = None
    range: _Range | None = None
    positions: list[_Position] = []


def place_in(method: str, params: msgspec.Raw) -> dict[str, Any] | None:
    """Return {textDocument, position} of a cursor request; None for other requests and for invalid params."""
    if method not in CURSOR_REQUESTS:
        return None
    try:
        found = wire.read(params, _Place)
    except wire.Malformed:  # the wrapped server answers this
        return None
    ends = [found.range.end] if found.range is not None else found.positions[:1]
    position = found.position or next(iter(ends), None)
    return None if position is None else {"textDocument": found.textDocument, "position": position}
