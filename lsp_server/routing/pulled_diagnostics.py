"""Reports of pulled diagnostics (LSP 3.18, "Pull Diagnostics") of several wrapped servers as one report a document.

A result id that the editor gets is ours and stands for one of each server: each server is asked with its own, and where it
says "unchanged", what it reported under that id is still there.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import msgspec

from lsp_server.documents.uris import key_of
from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Json

log = logging.getLogger(__name__)

Raw = msgspec.Raw
T = TypeVar("T")
_NULL = b"null"
DOCUMENT, WORKSPACE = "document", "workspace"
REMEMBERED = 3  # result ids a document that the editor may still know, where a reply did not reach it


class _Report(msgspec.Struct, rename="camel"):
    kind: Literal["full", "unchanged"]
    result_id: str | None = None
    items: list[Raw] = []
    related_documents: dict[str, _Report] | None = None
    uri: str = ""  # of a report of the workspace
    version: int | None = None


class _Workspace(msgspec.Struct):
    items: list[_Report] = []


class _PreviousId(msgspec.Struct):
    uri: str
    value: str


@dataclass(frozen=True)
class Source:
    """A server, by its key, and the `identifier` under which it is asked; a server may have announced several."""

    server: str
    identifier: str | None = None


@dataclass(frozen=True)
class Part:
    """What one source last reported of a document."""

    id: str | None
    items: Sequence[Raw]


@dataclass
class _Given:
    """A report that the editor got: of which document, and whose parts it was made of."""

    id: str
    scope: str
    document: str
    parts: dict[Source, Part] = field(default_factory=dict[Source, Part])


class PulledDiagnostics:
    """`found` are the sources' results in order of preference, None for one that has none (yet)."""

    def __init__(self) -> None:
        self._count = itertools.count(1)
        self._given: dict[tuple[str, str], list[_Given]] = {}  # by scope and document, the newest last

    # Requests

    def document_params(self, source: Source, uri: str, params: Mapping[str, Raw]) -> dict[str, Raw]:
        """Params of textDocument/diagnostic for one source."""
        previous = self._previous(DOCUMENT, uri, _text(params, "previousResultId"))
        theirs = None if previous is None else previous.parts.get(source)
        own = {"previousResultId": None if theirs is None else theirs.id, "identifier": source.identifier}
        return _replaced(params, own)

    def workspace_params(self, source: Source, params: Mapping[str, Raw]) -> dict[str, Raw]:
        """Params of workspace/diagnostic for one source."""
        known: list[Json] = []
        for each in _previous_ids(params):
            previous = self._previous(WORKSPACE, each.uri, each.value)
            theirs = None if previous is None else previous.parts.get(source)
            if theirs is not None and theirs.id is not None:
                known.append({"uri": each.uri, "value": theirs.id})
        return _replaced(params, {"previousResultIds": known, "identifier": source.identifier})

    # Reports

    def document_report(self, uri: str, params: Mapping[str, Raw], found: Sequence[tuple[Source, Raw | None]]) -> Json:
        """One report of a document. What a source said before stands where it says nothing now."""
        reports = [(source, _report(result)) for source, result in found]
        previous = self._previous(DOCUMENT, uri, _text(params, "previousResultId"))
        merged = self._joined(DOCUMENT, uri, reports, previous)
        spelled: dict[str, str] = {}
        related: dict[str, list[tuple[Source, _Report | None]]] = {}
        for source, report in reports:
            for other, its in ((report and report.related_documents) or {}).items():
                spelled.setdefault(key_of(other), other)
                related.setdefault(key_of(other), []).append((source, its))
        if related:
            joined = {spelled[key]: self._joined(DOCUMENT, key, of, None) for key, of in related.items()}
            merged["relatedDocuments"] = joined
        return merged

    def workspace_report(self, params: Mapping[str, Raw], found: Sequence[tuple[Source, Raw | None]]) -> Json:
        """One report of the workspace, each document once."""
        previous = {key_of(each.uri): each for each in _previous_ids(params)}
        reports: dict[str, list[tuple[Source, _Report]]] = {}
        for source, result in found:
            read = None if result is None else _readable(result, _Workspace)
            for report in () if read is None else read.items:
                reports.setdefault(key_of(report.uri), []).append((source, report))
        items: list[Json] = []
        for key, of in reports.items():
            before = previous.get(key)
            given = None if before is None else self._previous(WORKSPACE, key, before.value)
            uri = of[0][1].uri if before is None else before.uri
            version = next((report.version for _, report in of if report.version is not None), None)
            items.append({"uri": uri, "version": version, **self._joined(WORKSPACE, key, of, given)})
        return {"items": items}

    def items_of(self, server: str, uri: str) -> list[Raw]:
        """The diagnostics that a server reported last of a document."""
        return [
            item
            for scope in (DOCUMENT, WORKSPACE)
            for source, part in self._latest(scope, key_of(uri)).items()
            if source.server == server
            for item in part.items
        ]

    def forget(self, server: str) -> None:
        """Its process has gone: its result ids mean nothing any more, and what it reported is to be reported again."""
        for given in self._given.values():
            for each in given:
                each.parts = {source: part for source, part in each.parts.items() if source.server != server}

    def forget_document(self, uri: str) -> None:
        """The document was closed: an editor pulls it anew."""
        self._given.pop((DOCUMENT, key_of(uri)), None)

    def _joined(
        self, scope: str, uri: str, reports: Iterable[tuple[Source, _Report | None]], previous: _Given | None
    ) -> dict[str, Json]:
        document = key_of(uri)
        parts = dict(self._latest(scope, document) if previous is None else previous.parts)
        before = dict(parts)
        for source, report in reports:
            if report is not None and report.kind == "full":
                parts[source] = Part(report.result_id, report.items)
        if (
            previous is not None
            and all(parts.get(source) is part for source, part in before.items())
            and len(parts) == len(before)
        ):
            return {"kind": "unchanged", "resultId": previous.id}
        given = _Given(f"starling:{next(self._count)}", scope, document, parts)
        kept = self._given.setdefault((scope, document), [])
        kept.append(given)
        del kept[:-REMEMBERED]
        items = list({bytes(item): item for part in parts.values() for item in part.items}.values())
        return {"kind": "full", "resultId": given.id, "items": items}

    def _previous(self, scope: str, uri: str, id: str | None) -> _Given | None:
        return next((given for given in self._given.get((scope, key_of(uri)), ()) if given.id == id), None)

    def _latest(self, scope: str, document: str) -> dict[Source, Part]:
        given = self._given.get((scope, document))
        return given[-1].parts if given else {}


def _report(result: Raw | None) -> _Report | None:
    """A document's report; a null is one without diagnostics; None where there is none, or none that can be read."""
    if result is None:
        return None
    return _Report(kind="full") if bytes(result).strip() == _NULL else _readable(result, _Report)


def _readable(result: Raw, kind: type[T]) -> T | None:
    try:
        return wire.read(result, kind)
    except wire.Malformed as error:
        log.warning("a report of diagnostics is malformed and left out: %s", error)
        return None


def _previous_ids(params: Mapping[str, Raw]) -> list[_PreviousId]:
    return wire.read(params["previousResultIds"], list[_PreviousId]) if "previousResultIds" in params else []


def _text(params: Mapping[str, Raw], name: str) -> str | None:
    """A text among params; None where it is absent or null."""
    given = params.get(name, Raw(_NULL))
    return None if bytes(given).strip() == _NULL else wire.read(given, str)


def _replaced(params: Mapping[str, Raw], members: Mapping[str, Json]) -> dict[str, Raw]:
    """Params with these members; without those that are None."""
    kept = {name: value for name, value in params.items() if name not in members}
    return {**kept, **{name: wire.raw(value) for name, value in members.items() if value is not None}}
