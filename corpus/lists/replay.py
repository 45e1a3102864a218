"""One wrapped server over one folder of sources, asked for completion at positions in them.

The client is the one that Starling itself uses. A crashed server is started again; one that hangs is ended and started
again. Changes nothing on disk.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corpus.lists.positions import Position, cut
from corpus.syntax.candidate import Candidate, candidates
from lsp_server.documents.positions import units
from lsp_server.jsonrpc.wire import Json
from lsp_server.probe import CLIENT_CAPABILITIES, Probe
from lsp_server.servers.backend import BackendError, BackendMissing, BackendSilent

log = logging.getLogger(__name__)

START_SECONDS = 120.0
WARM_SECONDS = 60.0  # what a server may take from its first document to its first list that holds anything
QUIET_SECONDS = 90.0  # what it may go on for at most, saying that it is at work, before it is asked all the same
ANSWER_SECONDS = 20.0
FILE_SECONDS = 120.0
GIVEN_UP = 8
INCREMENTAL = 2  # TextDocumentSyncKind
CAPABILITIES: Mapping[str, Any] = {**CLIENT_CAPABILITIES, "general": {"positionEncodings": ["utf-16"]}}


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A file to be asked about: its text, the positions in it in any order, and the text that their tails are of."""

    path: str
    data: bytes
    language_id: str
    positions: Sequence[Position]
    parent: bytes | None = None


@dataclass(kw_only=True)
class Spent:
    """Where the time went, in seconds: `waiting` for the server's replies, and `total` with our own work."""

    waiting: float = 0.0
    total: float = 0.0
    starts: int = 0


@dataclass(kw_only=True)
class Replay:
    """A server over the folder `root`. Use `ask` for one file after another, then `stop`."""

    root: Path
    base: Path  # what the files' paths are below: `root`, or a folder above it
    command: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    spent: Spent = field(default_factory=Spent)
    _probe: Probe | None = None
    _at_work: set[str] = field(default_factory=set)
    _is_warm: bool = False
    _failures: int = 0  # in a row

    async def ask(self, file: Opened) -> list[list[Candidate] | None]:
        """The list at each position; None where the server gave none in time or died of it.

        Raises BackendMissing, and any BackendError that came GIVEN_UP times in a row.
        """
        began = time.monotonic()
        found: list[list[Candidate] | None] = [None] * len(file.positions)
        order = sorted(range(len(found)), key=lambda place: file.positions[place].offset)
        document: _Document | None = None
        for place in order:
            if time.monotonic() - began > FILE_SECONDS:
                break
            try:
                if self._probe is None:
                    self._probe, document = await self._started(), None
                document = document or _Document(self._probe, self.base / file.path, file.language_id)
                if not self._is_warm:
                    await self._warm(document, file, order)
                found[place] = await self._list(document, file, place)
                self._failures = 0
            except BackendMissing:
                raise
            except BackendError as error:
                log.warning("%s: %s", file.path, error)
                self._failures += 1
                if isinstance(error, BackendSilent) or self._probe is None or not self._probe.backend.alive:
                    await self._end()
                if self._failures == GIVEN_UP:
                    raise
        if document is not None and self._probe is not None:
            document.close()
        self.spent.total += time.monotonic() - began
        return found

    async def stop(self) -> None:
        """End the server."""
        await self._end()

    async def _warm(self, document: _Document, file: Opened, order: Sequence[int]) -> None:
        """Ask a server that has just started until a list holds something, then wait until it has read the project."""
        until = time.monotonic() + WARM_SECONDS
        while not await self._offers(document, file, order) and time.monotonic() < until:
            await asyncio.sleep(0.5)
        began = time.monotonic()
        while self._at_work and time.monotonic() < began + QUIET_SECONDS:
            await asyncio.sleep(0.1)
        self.spent.waiting += time.monotonic() - began
        self._is_warm = True

    async def _offers(self, document: _Document, file: Opened, order: Sequence[int]) -> bool:
        """Whether any position has a list that holds something: at some there is nothing to offer."""
        for place in order:
            if await self._list(document, file, place):
                return True
        return False

    async def _list(self, document: _Document, file: Opened, place: int) -> list[Candidate]:
        assert self._probe is not None
        before, after = cut(file.data, file.positions[place], file.parent)
        document.show(before + after)
        line_start = before.rfind(b"\n") + 1
        params = {
            "textDocument": {"uri": document.uri},
            "position": {"line": before.count(b"\n"), "character": units(before[line_start:], "utf-16")},
        }
        began = time.monotonic()
        try:
            result = await self._probe.backend.request_raw("textDocument/completion", params, ANSWER_SECONDS)
        finally:
            self.spent.waiting += time.monotonic() - began
        return candidates(bytes(result))

    async def _started(self) -> Probe:
        self.spent.starts += 1
        self._at_work.clear()
        self._is_warm = False
        answers: dict[str, Callable[[Json], Json]] = {
            "workspace/configuration": lambda params: [
                _section(self.settings, str(item.get("section") or "")) for item in params.get("items", ())
            ]
        }
        probe = Probe(self.command, answers=answers, hear=self._heard)
        began = time.monotonic()
        try:
            await probe.start(self.root, timeout=START_SECONDS, options=self.options or None, capabilities=CAPABILITIES)
        except BaseException:
            await probe.backend.stop()
            raise
        finally:
            self.spent.waiting += time.monotonic() - began
        if self.settings:
            probe.backend.notify("workspace/didChangeConfiguration", {"settings": self.settings})
        return probe

    async def _end(self) -> None:
        probe, self._probe = self._probe, None
        if probe is not None:
            try:
                await probe.stop(timeout=5.0)
            except BackendError as error:
                log.info("%s", error)

    def _heard(self, method: str, params: Json) -> None:
        """Keep track of what the server says that it is at work on (LSP 3.17, work done progress)."""
        if method == "$/progress" and isinstance(params, dict) and isinstance(params.get("value"), dict):
            kind, token = params["value"].get("kind"), str(params.get("token"))
            if kind == "begin":
                self._at_work.add(token)
            elif kind == "end":
                self._at_work.discard(token)


class _Document:
    """A document that is open at a server, and what the server knows of it."""

    def __init__(self, probe: Probe, path: Path, language_id: str) -> None:
        self.uri = path.as_uri()
        self._probe = probe
        self._language_id = language_id
        self._version = 0
        self._text: bytes | None = None
        capabilities = probe.result.get("capabilities", {}) if isinstance(probe.result, dict) else {}
        sync = capabilities.get("textDocumentSync")
        kind = sync.get("change") if isinstance(sync, dict) else sync
        self._in_parts = kind == INCREMENTAL

    def show(self, text: bytes) -> None:
        """Tell the server the text, by what changed."""
        self._version += 1
        if self._text is None:
            self._probe.open(self.uri, text.decode("utf-8", "replace"), self._language_id, self._version)
        elif not self._in_parts:
            self._probe.change(self.uri, self._version, text.decode("utf-8", "replace"))
        elif text != self._text:
            start, old, new = changed(self._text, text)
            span = {"start": _place(self._text[:start]), "end": _place(self._text[:old])}
            self._probe.change(self.uri, self._version, text[start:new].decode("utf-8", "replace"), span)
        self._text = text

    def close(self) -> None:
        self._probe.backend.notify("textDocument/didClose", {"textDocument": {"uri": self.uri}})


def changed(old: bytes, new: bytes) -> tuple[int, int, int]:
    """(start, end in `old`, end in `new`) of what differs, whole characters of UTF-8."""
    shorter = min(len(old), len(new))
    start = _alike(shorter, lambda n: old[:n] == new[:n])
    while start and (_splits(old, start) or _splits(new, start)):
        start -= 1
    rest = _alike(shorter - start, lambda n: old[len(old) - n :] == new[len(new) - n :])
    while rest and (_splits(old, len(old) - rest) or _splits(new, len(new) - rest)):
        rest -= 1
    return start, len(old) - rest, len(new) - rest


def _alike(most: int, holds: Callable[[int], bool]) -> int:
    """The largest n up to `most` for which `holds`, where it holds for every smaller one."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if holds(middle):
            low = middle
        else:
            high = middle - 1
    return low


def _splits(text: bytes, at: int) -> bool:
    """Whether an offset is inside a character, or between a carriage return and its line feed."""
    after = text[at : at + 1]
    return b"\x80" <= after < b"\xc0" or (after == b"\n" and text[at - 1 : at] == b"\r")


def _place(before: bytes) -> Json:
    return {"line": before.count(b"\n"), "character": units(before[before.rfind(b"\n") + 1 :], "utf-16")}


def _section(settings: Mapping[str, Any], section: str) -> Json:
    """The part of the settings that a dotted section names; null where there is none."""
    found: Any = settings
    for part in section.split(".") if section else ():
        found = found.get(part) if isinstance(found, Mapping) else None
    return found
