"""Answers of several wrapped servers to one request, as one answer. Pure functions over raw results, in order of preference.

A null or an error is no answer: the functions get what is left, and it may be nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Json

Raw = msgspec.Raw
Merge = Callable[[Sequence[Raw]], Raw]

NULL = Raw(b"null")
_list = msgspec.json.Decoder(list[Raw])


def first(results: Sequence[Raw]) -> Raw:
    """The preferred server's answer. Requests merged so are put to one server only."""
    return results[0] if results else NULL


def concatenated(results: Sequence[Raw]) -> Raw:
    """Arrays one after the other; a single object (a Location, say) counts as an array of one."""
    if len(results) < 2:
        return first(results)
    items: list[Raw] = []
    for result in results:
        items += _list.decode(result) if bytes(memoryview(result)[:1]) == b"[" else [result]
    return wire.raw(items)


def hovers(results: Sequence[Raw]) -> Raw:
    """Contents below each other, the range of the first that has one."""
    if len(results) < 2:
        return first(results)
    found = [wire.loads(result) for result in results]
    parts = [text for hover in found for text in _markdown(hover.get("contents"))]
    merged = {"contents": {"kind": "markdown", "value": "\n\n---\n\n".join(parts)}}
    spans = [hover["range"] for hover in found if hover.get("range")]
    return wire.raw({**merged, "range": spans[0]} if spans else merged)


def _markdown(contents: Json) -> list[str]:
    """MarkupContent, MarkedString or an array of these, as markdown texts."""
    if isinstance(contents, list):
        return [text for part in contents for text in _markdown(part)]
    if isinstance(contents, str):
        return [contents] if contents else []
    if not isinstance(contents, dict) or not contents.get("value"):
        return []
    value = str(contents["value"])
    return [f"```{contents['language']}\n{value}\n```" if "language" in contents else value]


def diagnostic_reports(results: Sequence[Raw]) -> Raw:
    """Full reports joined (LSP 3.17, "Pull Diagnostics"). No result id: it would be one server's alone."""
    if len(results) < 2:
        return first(results)
    found = [wire.loads(result) for result in results]
    items = [item for report in found for item in report.get("items") or ()]
    related = {uri: report for one in found for uri, report in (one.get("relatedDocuments") or {}).items()}
    return wire.raw({"kind": "full", "items": items, **({"relatedDocuments": related} if related else {})})


def workspace_reports(results: Sequence[Raw]) -> Raw:
    return wire.raw({"items": [item for result in results for item in wire.loads(result).get("items") or ()]})


def workspace_edits(results: Sequence[Raw]) -> Raw:
    """WorkspaceEdits joined field by field: `changes` by document, `documentChanges`, `changeAnnotations`."""
    if len(results) < 2:
        return first(results)
    merged: dict[str, Json] = {}
    for edit in map(wire.loads, results):
        for uri, edits in (edit.get("changes") or {}).items():
            merged.setdefault("changes", {}).setdefault(uri, []).extend(edits or ())
        if edit.get("documentChanges"):
            merged.setdefault("documentChanges", []).extend(edit["documentChanges"])
        merged.setdefault("changeAnnotations", {}).update(edit.get("changeAnnotations") or {})
    return wire.raw({name: value for name, value in merged.items() if value})
