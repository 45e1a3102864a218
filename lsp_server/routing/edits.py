"""Merges the edits of several servers into one edit that an editor can apply.

Removes duplicates and overlapping edits, and keeps the servers' change annotations distinct. Pure functions over raw
edits; the preferred server's edits come first. They raise Malformed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

import msgspec

from lsp_server.documents.uris import key_of
from lsp_server.jsonrpc import wire

log = logging.getLogger(__name__)

Raw = msgspec.Raw
Members = dict[str, Raw]
_Point = tuple[int, int]


class _Position(msgspec.Struct, frozen=True):
    line: int
    character: int

    @property
    def point(self) -> _Point:
        return self.line, self.character


class _Range(msgspec.Struct, frozen=True):
    start: _Position
    end: _Position


class _TextEdit(msgspec.Struct, frozen=True, rename="camel"):
    range: _Range
    new_text: str | None = None  # None for a SnippetTextEdit

    def overlaps(self, other: _TextEdit) -> bool:
        """Whether two edits overlap. Insertions at the same position or at the edge of a range do not overlap."""
        return self.range.start.point < other.range.end.point and other.range.start.point < self.range.end.point


class _Identifier(msgspec.Struct):
    uri: str


class _TextDocumentEdit(msgspec.Struct, rename="camel"):
    text_document: _Identifier
    edits: list[Raw] | None = None


class _WorkspaceEdit(msgspec.Struct, rename="camel"):
    changes: dict[str, list[Raw] | None] | None = None
    document_changes: list[Members] | None = None
    change_annotations: Members | None = None


def joined(lists: Iterable[Sequence[Raw]]) -> list[Raw]:
    """Merge the TextEdits of several servers for one document. Equal edits appear once.

    If one edit of a server overlaps an edit of a preferred server, all edits of that server are skipped.
    """
    found: list[Raw] = []
    taken: list[_TextEdit] = []
    for given in lists:
        own = [edit for raw in given if (edit := _read(raw)) is not None]
        new = [edit for edit in own if edit not in taken]
        if any(edit.overlaps(other) for edit in new for other in taken):
            log.warning("skipped a server's edits: they overlap the edits of a preferred server")
            continue
        found += [raw for raw in given if (edit := _read(raw)) is None or edit.new_text is None or edit not in taken]
        taken += new
    return found


def _read(edit: Raw) -> _TextEdit | None:
    """Read a TextEdit. Returns None if it is not one; it is then sent to the editor unchanged."""
    try:
        return wire.read(edit, _TextEdit)
    except wire.Malformed:
        return None


def workspace_edit(results: Sequence[Raw]) -> Raw:
    """Merge WorkspaceEdits. If one has `documentChanges`, the result has only these: editors then ignore `changes`."""
    parts = [wire.read(result, _WorkspaceEdit) for result in results]
    annotations: Members = {}
    for part in parts:
        _keep_annotations_apart(part, annotations)
    merged: dict[str, object] = {}
    if any(part.document_changes for part in parts):
        merged["documentChanges"] = _document_changes(parts)
    elif any(part.changes is not None for part in parts):
        merged["changes"] = _changes(parts)
    return wire.raw({**merged, "changeAnnotations": annotations} if annotations else merged)


def _changes(parts: Iterable[_WorkspaceEdit]) -> dict[str, list[Raw]]:
    spelled: dict[str, str] = {}  # a document's key -> its URI as the first server wrote it
    lists: dict[str, list[list[Raw]]] = {}
    for part in parts:
        for uri, edits in (part.changes or {}).items():
            spelled.setdefault(key_of(uri), uri)
            lists.setdefault(key_of(uri), []).append(edits or [])
    return {spelled[key]: joined(of) for key, of in lists.items()}


def _document_changes(parts: Iterable[_WorkspaceEdit]) -> list[Members]:
    """Return all changes in order. The edits of one document become one TextDocumentEdit, at the place of the first."""
    changes: list[Members] = []
    places: dict[str, int] = {}
    lists: dict[str, list[list[Raw]]] = {}
    for part in parts:
        of_part: dict[str, list[Raw]] = {}
        for change in [*(part.document_changes or ()), *_as_document_changes(part)]:
            if "edits" not in change:  # a file is created, renamed or deleted
                if change not in changes:
                    changes.append(change)
                continue
            edit = wire.read(wire.raw(change), _TextDocumentEdit)
            key = key_of(edit.text_document.uri)
            if key not in places:
                places[key] = len(changes)
                changes.append(change)
            of_part.setdefault(key, []).extend(edit.edits or ())
        for key, edits in of_part.items():
            lists.setdefault(key, []).append(edits)
    for key, place in places.items():
        changes[place] = {**changes[place], "edits": wire.raw(joined(lists[key]))}
    return changes


def _as_document_changes(part: _WorkspaceEdit) -> list[Members]:
    """Convert `changes` to TextDocumentEdits. Returns none if the edit has `documentChanges`: editors prefer those."""
    if part.document_changes:
        return []
    return [
        {"textDocument": wire.raw({"uri": uri, "version": None}), "edits": wire.raw(edits or [])}
        for uri, edits in (part.changes or {}).items()
    ]


def _keep_annotations_apart(part: _WorkspaceEdit, known: Members) -> None:
    """Add an edit's annotations to `known`. An id that already means another annotation is replaced by a new id."""
    renamed: dict[str, str] = {}
    for id, annotation in (part.change_annotations or {}).items():
        new, number = id, 1
        while new in known and bytes(known[new]) != bytes(annotation):
            number += 1
            new = f"{id} ({number})"
        known[new] = annotation
        if new != id:
            renamed[id] = new
    if not renamed:
        return
    for change in part.document_changes or ():
        if "edits" in change:
            given = wire.read(wire.raw(change), _TextDocumentEdit).edits or ()
            change["edits"] = wire.raw([_with_annotation(wire.read(edit, Members), renamed) for edit in given])
        else:
            change.update(_with_annotation(change, renamed))
    for edits in filter(None, (part.changes or {}).values()):
        edits[:] = [wire.raw(_with_annotation(wire.read(edit, Members), renamed)) for edit in edits]


def _with_annotation(edit: Members, renamed: dict[str, str]) -> Members:
    id = wire.read(edit["annotationId"], str) if "annotationId" in edit else ""
    return {**edit, "annotationId": wire.raw(renamed[id])} if id in renamed else edit
