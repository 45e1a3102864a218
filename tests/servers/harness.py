"""A real server alone and through Starling, side by side on a copy of a sample project."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lsp_server.jsonrpc.wire import Json
from lsp_server.probe import Probe, items_of
from lsp_server.servers.backend import BackendRefused
from tests.scenarios.harness import ranking
from tests.servers.catalog import SAMPLES, Server, path_with_servers

STAR = "★ "
PATIENCE = 60.0  # a Java server on a busy machine
ROOMY = "--deadline=10000"  # a ranking comes, however busy the machine is
TEXT = 1  # CompletionItemKind.Text, LSP 3.17
Sees = frozenset[str]


@dataclass
class Seat:
    """One end to ask: the server alone, or Starling in front of it."""

    probe: Probe
    server: Server
    root: Path
    version: int = 0
    opened: set[str] = field(default_factory=set)

    @property
    def announced(self) -> dict[str, Any]:
        """The server's capabilities as initialize gave them."""
        return self.probe.result["capabilities"]

    @property
    def source(self) -> str:
        return (self.root / self.server.sample.file).read_text(encoding="utf-8")

    def uri(self, file: str = "") -> str:
        return (self.root / (file or self.server.sample.file)).as_uri()

    @property
    def utf8(self) -> bool:
        return self.announced.get("positionEncoding") == "utf-8"

    def show(self, text: str) -> None:
        """Open the sample's file with this text, or replace what it has."""
        uri, self.version = self.uri(), self.version + 1
        if uri in self.opened:
            self.probe.change(uri, self.version, text)
        else:
            self.opened.add(uri)
            self.probe.open(uri, text, self.server.sample.language_id, self.version)

    def type(self, typed: str) -> dict[str, Any]:
        """Write on the sample's free line; the place right after, in the server's own columns."""
        lines = self.source.split("\n")
        row = next(number for number, line in enumerate(lines) if "HERE" in line)
        lines[row] = lines[row][: lines[row].index(self.server.sample.comment)] + typed
        self.show("\n".join(lines))
        return self.where(row, lines[row])

    def where(self, row: int, before: str) -> dict[str, Any]:
        column = len(before.encode()) if self.utf8 else len(before.encode("utf-16-le")) // 2
        return {"textDocument": {"uri": self.uri()}, "position": {"line": row, "character": column}}

    def insert(self, where: dict[str, Any], text: str) -> dict[str, Any]:
        """Send an edit of this place alone; the place after the text."""
        start, self.version = where["position"], self.version + 1
        self.probe.change(self.uri(), self.version, text, {"start": start, "end": start})
        width = self.where(0, text)["position"]["character"]
        return {**where, "position": {**start, "character": start["character"] + width}}

    async def ask(self, method: str, params: Any) -> Json:
        return await self.probe.backend.request(method, params, PATIENCE)

    async def complete(self, where: dict[str, Any]) -> Json:
        return await self.ask("textDocument/completion", where)

    async def list_at(self, where: dict[str, Any], sees: Sees) -> Json:
        """A completion result, once it holds these: servers answer before they have read the project."""
        return await self.list_when(where, lambda result: sees <= names(result))

    async def list_when(self, where: dict[str, Any], enough: Callable[[Json], bool]) -> Json:
        async with asyncio.timeout(PATIENCE):
            while not enough(result := await self.complete(where)):
                await asyncio.sleep(0.05)
        return result

    async def hover(self) -> Json:
        """What the server says of the sample's word."""
        source, word = self.source, self.server.sample.hovered
        self.show(source)
        before = source[: source.index(word) + 1]
        return await self.ask("textDocument/hover", self.where(before.count("\n"), before.split("\n")[-1]))

    async def resolve(self, item: Json, *, says: str = "") -> Json:
        """The item resolved, its documentation holding this: jdtls leaves out what it can't find in half a second."""
        async with asyncio.timeout(PATIENCE):
            while says not in documentation(resolved := await self.ask("completionItem/resolve", item)):
                await asyncio.sleep(0.05)
        return resolved


@dataclass
class Pair:
    """Both ends, on one project."""

    alone: Seat
    through: Seat

    @property
    def server(self) -> Server:
        return self.alone.server

    async def lists(self, typed: str, sees: Sees) -> tuple[Json, Json]:
        """The results alone and through Starling after typing this on the free line."""
        before = await self.alone.list_at(self.alone.type(typed), sees)
        after = await self.through.list_at(self.through.type(typed), sees)
        return before, after


@asynccontextmanager
async def pair(server: Server, folder: Path, **start: Any) -> AsyncIterator[Pair]:
    """The server alone and through Starling."""
    root = Path(shutil.copytree(SAMPLES / server.sample.folder, folder / "project"))
    async with (
        seat(server, root, folder / "home alone", starling=False, **start) as alone,
        seat(server, root, folder / "home through", starling=True, **start) as through,
    ):
        yield Pair(alone, through)


@asynccontextmanager
async def seat(server: Server, root: Path, home: Path, *, starling: bool, **start: Any) -> AsyncIterator[Seat]:
    """One end, started, with the sample open and Starling's index ready."""
    with environment(home):
        command = list(server.started_by)
        if starling:
            command = [sys.executable, "-m", "lsp_server", "--stdio", "--ranker", "signals", ROOMY, "--", *command]
        probe = Probe(command)
        await probe.start(root, timeout=PATIENCE, **start)
    try:
        end = Seat(probe, server, root)
        end.show(end.source)
        if starling:
            await ranking(probe)
        yield end
    finally:
        await probe.stop()


@contextmanager
def environment(home: Path) -> Iterator[None]:
    """Children start with the installed servers on PATH and this home."""
    before = dict(os.environ)
    home.mkdir(exist_ok=True)
    os.environ["PATH"] = path_with_servers()
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        os.environ[name] = str(home)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def names(result: Json) -> set[str]:
    """The names that a list knows; those of kind Text are mere words, which clangd gives before it knows any."""
    return {bare(item) for item in items_of(result) if item.get("kind") != TEXT}


def bare(item: Json) -> str:
    """The name in a label: without our mark, clangd's leading space or bullet, and the signature."""
    return item["label"].removeprefix(STAR).lstrip(" •").split("(")[0].strip()


def by_name(result: Json, name: str) -> Json:
    """The first item of that name."""
    return next(item for item in items_of(result) if bare(item) == name)


def documentation(item: Json) -> str:
    given = item.get("documentation") or ""
    return given["value"] if isinstance(given, dict) else given


async def refusal(reply: Awaitable[Json]) -> str:
    """What the server says instead of a result."""
    with pytest.raises(BackendRefused) as caught:
        await reply
    return str(caught.value)


def starred(result: Json) -> list[Json]:
    return [item for item in items_of(result) if item["label"].startswith(STAR)]
