"""Several wrapped servers' results of one request as one result. Pure functions over raw results, the preferred server's first.

A null or an error is no result: the functions get what is left, and it may be nothing. They raise Malformed for a result that
is not what LSP says of its method. Edits, whose parts depend on each other, are in `edits`.
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
    """The preferred server's result. Requests merged so are answered by one server only."""
    return results[0] if results else NULL


def concatenated(results: Sequence[Raw]) -> Raw:
    """Arrays one after the other; a single object counts as an array of one."""
    return first(results) if len(results) < 2 else wire.raw([item for result in results for item in elements(result)])


def elements(result: Raw) -> list[Raw]:
    """The elements of an array; a single object is the only one."""
    return wire.read(result, list[Raw]) if _starts(result, b"[") else [result]


def locations(results: Sequence[Raw]) -> Raw:
    """Locations or LocationLinks, each place once. Links where some server gives links: an array has one kind only."""
    if len(results) < 2:
        return first(results)
    items = [wire.fields(item) for result in results for item in elements(result)]
    if any("targetUri" in item for item in items):
        items = [item if "targetUri" in item else _as_link(item) for item in items]
    found = {_place(item): item for item in reversed(items)}  # the first of equal ones is kept
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
    """What two locations of one place share; of what is no location, all of it."""
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
    """Contents below each other, equal ones once; the range of the first that has one."""
    if len(results) < 2:
        return first(results)
    found = [wire.read(result, _Hover) for result in results]
    parts = dict.fromkeys(text for hover in found for text in _markdown(hover.contents))
    merged: dict[str, object] = {"contents": {"kind": "markdown", "value": "\n\n---\n\n".join(parts)}}
    spans = [hover.range for hover in found if bytes(hover.range) != b"null"]
    return wire.raw({**merged, "range": spans[0]} if spans else merged)


def _markdown(contents: _Contents | list[_Contents]) -> Iterable[str]:
    """What a hover says, as markdown texts."""
    for part in contents if isinstance(contents, list) else [contents]:
        text = part if isinstance(part, str) else part.value
        if text:
            language = None if isinstance(part, str) else part.language
            yield text if language is None else f"```{language}\n{text}\n```"


def text_edits(results: Sequence[Raw]) -> Raw:
    """TextEdits of one document; those of a server that overlap a preferred server's edits are left out."""
    return first(results) if len(results) < 2 else wire.raw(edits.joined([elements(result) for result in results]))


def workspace_edits(results: Sequence[Raw]) -> Raw:
    """WorkspaceEdits as one."""
    return first(results) if len(results) < 2 else edits.workspace_edit(results)


def _starts(result: Raw, with_: bytes) -> bool:
    return bytes(memoryview(result)[:16]).lstrip()[:1] == with_
