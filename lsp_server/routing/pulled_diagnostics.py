"""Merges the pulled diagnostics of several wrapped servers (LSP 3.18, "Pull Diagnostics") into one report per document.

The editor gets result ids that Starling makes. Each stands for one result id of each server. Each server is asked with
its own result id. If it answers "unchanged", the items that it reported under that id are used.
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
REMEMBERED = 3  # result ids kept per document; the editor may use an older one if a response did not reach it


class _Report(msgspec.Struct, rename="camel"):
    kind: Literal["full", "unchanged"]
    result_id: str | None = None
    items: list[Raw] | None = None
    related_documents: dict[str, _Report] | None = None
    uri: str = ""  # only in reports of workspace/diagnostic
    version: int | None = None


class _Workspace(msgspec.Struct):
    items: list[_Report] = []


class _PreviousId(msgspec.Struct):
    uri: str
    value: str


@dataclass(frozen=True)
class Source:
    """A server's key, and one `identifier` that it announced. A server may announce several."""

    server: str
    identifier: str | None = None


@dataclass(frozen=True)
class Part:
    """The last report of one source for a document."""

    id: str | None
    items: Sequence[Raw]


@dataclass
class _Given:
    """A report that was sent to the editor, with the parts that it was made of."""

    id: str
    scope: str
    document: str
    parts: dict[Source, Part] = field(default_factory=dict[Source, Part])


class PulledDiagnostics:
    """Merges reports.

    `found`: the sources' results in order of preference; None for a source without a result (yet).
    """

    def __init__(self) -> None:
        self._count = itertools.count(1)
        self._given: dict[tuple[str, str], list[_Given]] = {}  # by scope and document, the newest last

    # Requests

    def document_params(self, source: Source, uri: str, params: Mapping[str, Raw]) -> dict[str, Raw]:
        """Return the params of textDocument/diagnostic for one source."""
        previous = self._previous(DOCUMENT, uri, _text(params, "previousResultId"))
        theirs = None if previous is None else previous.parts.get(source)
        own = {"previousResultId": None if theirs is None else theirs.id, "identifier": source.identifier}
        return _replaced(params, own)

    def workspace_params(self, source: Source, params: Mapping[str, Raw]) -> dict[str, Raw]:
        """Return the params of workspace/diagnostic for one source."""
        known: list[Json] = []
        for each in _previous_ids(params):
            previous = self._previous(WORKSPACE, each.uri, each.value)
            theirs = None if previous is None else previous.parts.get(source)
            if theirs is not None and theirs.id is not None:
                known.append({"uri": each.uri, "value": theirs.id})
        return _replaced(params, {"previousResultIds": known, "identifier": source.identifier})

    # Reports

    def document_report(self, uri: str, params: Mapping[str, Raw], found: Sequence[tuple[Source, Raw | None]]) -> Json:
        """Merge the results into one report of a document. A source without a result keeps its last report."""
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
        """Merge the results into one report of the workspace. Each document appears once."""
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
        """Return the diagnostics that a server last reported for a document."""
        return [
            item
            for scope in (DOCUMENT, WORKSPACE)
            for source, part in self._latest(scope, key_of(uri)).items()
            if source.server == server
            for item in part.items
        ]

    def forget(self, server: str) -> None:
        """Forget the reports of a server after its process ended. Its result ids are not valid any more."""
        for given in self._given.values():
            for each in given:
                each.parts = {source: part for source, part in each.parts.items() if source.server != server}

    def forget_document(self, uri: str) -> None:
        """Forget a document that was closed. An editor that opens it again asks for a full report."""
        self._given.pop((DOCUMENT, key_of(uri)), None)

    def _joined(
        self, scope: str, uri: str, reports: Iterable[tuple[Source, _Report | None]], previous: _Given | None
    ) -> dict[str, Json]:
        document = key_of(uri)
        parts = dict(self._latest(scope, document) if previous is None else previous.parts)
        before = dict(parts)
        for source, report in reports:
            if report is not None and report.kind == "full":
                parts[source] = Part(report.result_id, report.items or ())
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
    """Read a document's report. Null means no diagnostics. Returns None if there is no result or it can't be read."""
    if result is None:
        return None
    return _Report(kind="full") if bytes(result).strip() == _NULL else _readable(result, _Report)


def _readable(result: Raw, kind: type[T]) -> T | None:
    try:
        return wire.read(result, kind)
    except wire.Malformed as error:
        log.warning("skipped a malformed report of diagnostics: %s", error)
        return None


def _previous_ids(params: Mapping[str, Raw]) -> list[_PreviousId]:
    return wire.read(params["previousResultIds"], list[_PreviousId]) if "previousResultIds" in params else []


def _text(params: Mapping[str, Raw], name: str) -> str | None:
    """Return a string from the params; None if it is absent or null."""
    given = params.get(name, Raw(_NULL))
    return None if bytes(given).strip() == _NULL else wire.read(given, str)


def _replaced(params: Mapping[str, Raw], members: Mapping[str, Json]) -> dict[str, Raw]:
    """Return the params with these members replaced. A member that is None is removed."""
    kept = {name: value for name, value in params.items() if name not in members}
    return {**kept, **{name: wire.raw(value) for name, value in members.items() if value is not None}}
