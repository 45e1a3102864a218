"""Merges the results of several wrapped servers for one request. The preferred server's result comes first.

Pure functions over raw results. Null and errors are removed before, so there may be no results. The functions raise
Malformed for a result that is not valid for its method. Edits depend on each other: they are merged in `edits`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from lsp_server.documents.uris import key_of
from lsp_server.jsonrpc import wire
from lsp_server.routing import edits

Raw = msgspec.Raw
Merge = Callable[[Sequence[Raw]], Raw]

NULL = Raw(b"null")


class Position(msgspec.Struct, frozen=True):
    line: int
    character: int


class Range(msgspec.Struct, frozen=True):
    start: Position
    end: Position


class _Location(msgspec.Struct, frozen=True):
    uri: str
    range: Range


class _LocationLink(msgspec.Struct, frozen=True, rename="camel"):
    target_uri: str
    target_selection_range: Range


class _Text(msgspec.Struct):
    """MarkupContent, or a MarkedString with its language."""

    value: str = ""
    language: str | None = None


_Contents = str | _Text


class _Hover(msgspec.Struct):
    contents: _Contents | list[_Contents]
    range: Raw = Raw(b"null")


def first(results: Sequence[Raw]) -> Raw:
    """Return the preferred server's result. Used for requests that only one server answers."""
    return results[0] if results else NULL


def concatenated(results: Sequence[Raw]) -> Raw:
    """Concatenate arrays. A single object counts as an array with one element."""
    return first(results) if len(results) < 2 else wire.raw([item for result in results for item in elements(result)])


def elements(result: Raw) -> list[Raw]:
    """Return the elements of an array. A single object counts as an array with one element."""
    return wire.read(result, list[Raw]) if _starts(result, b"[") else [result]


def locations(results: Sequence[Raw]) -> Raw:
    """Merge Locations or LocationLinks, each place once.

    If one of them is a link, all become links: an array must not mix the two.
    """
    if len(results) < 2:
        return first(results)
    items = [wire.fields(item) for result in results for item in elements(result)]
    if any("targetUri" in item for item in items):
        items = [item if "targetUri" in item else _as_link(item) for item in items]
    found = {_place(item): item for item in reversed(items)}  # keeps the first of equal items
    return wire.raw(list(reversed(found.values())))


def _as_link(location: dict[str, Raw]) -> dict[str, Raw]:
    return (
        {
            "targetUri": location["uri"],
            "targetRange": location["range"],
            "targetSelectionRange": location["range"],
        }
        if location.keys() >= {"uri", "range"}
        else location
    )


def _place(item: dict[str, Raw]) -> object:
    """Return a key that is equal for two locations of the same place. Anything else is its own key."""
    raw = wire.raw(item)
    try:
        if "targetUri" in item:
            link = wire.read(raw, _LocationLink)
            return key_of(link.target_uri), link.target_selection_range
        location = wire.read(raw, _Location)
    except wire.Malformed:
        return bytes(raw)
    return key_of(location.uri), location.range


def hovers(results: Sequence[Raw]) -> Raw:
    """Join the contents of hovers, equal contents once. The range is that of the first hover with a range."""
    if len(results) < 2:
        return first(results)
    found = [wire.read(result, _Hover) for result in results]
    parts = dict.fromkeys(text for hover in found for text in _markdown(hover.contents))
    merged: dict[str, object] = {"contents": {"kind": "markdown", "value": "\n\n---\n\n".join(parts)}}
    spans = [hover.range for hover in found if bytes(hover.range) != b"null"]
    return wire.raw({**merged, "range": spans[0]} if spans else merged)


def _markdown(contents: _Contents | list[_Contents]) -> Iterable[str]:
    """Yield the contents of a hover as markdown."""
    for part in contents if isinstance(contents, list) else [contents]:
        text = part if isinstance(part, str) else part.value
        if text:
            language = None if isinstance(part, str) else part.language
            yield text if language is None else f"```{language}\n{text}\n```"


def text_edits(results: Sequence[Raw]) -> Raw:
    """Merge TextEdits of one document. A server's edits are skipped if they overlap a preferred server's edits."""
    return first(results) if len(results) < 2 else wire.raw(edits.joined([elements(result) for result in results]))


def workspace_edits(results: Sequence[Raw]) -> Raw:
    """Merge WorkspaceEdits."""
    return first(results) if len(results) < 2 else edits.workspace_edit(results)


def _starts(result: Raw, with_: bytes) -> bool:
    return bytes(memoryview(result)[:16]).lstrip()[:1] == with_
