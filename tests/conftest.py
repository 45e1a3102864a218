"""Sessions in front of scripted servers, each with a home of its own; whatever was started is ended."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from lsp_server.probe import Probe
from lsp_server.settings import Settings
from tests.fakes.editor import FakeEditor

FAKE = Path(__file__).parent / "fakes" / "server.py"


@dataclass
class Scripted:
    """A fake server's command, and what it wrote down."""

    folder: Path
    spec: Path

    @property
    def command(self) -> tuple[str, ...]:
        return (sys.executable, str(FAKE), str(self.spec))

    @property
    def log(self) -> list[bytes]:
        """The bodies that it received, over all its lives."""
        path = self.folder / "received"
        return path.read_bytes().splitlines() if path.exists() else []

    def received(self, method: str) -> list[dict[str, Any]]:
        return [m for body in self.log if (m := json.loads(body)).get("method") == method]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own for each test: no log, cache or setting of the user's is read or written."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("USERPROFILE", str(folder))
    for name in ("CACHE", "CONFIG", "DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(folder / name.lower()))
    return folder


@pytest.fixture
def scripted(tmp_path: Path) -> Callable[..., Scripted]:
    """scripted(completion=[...], hang=[...]): a fake server's specification, written down."""

    def write(**spec: Any) -> Scripted:
        path = tmp_path / "spec.json"
        path.write_text(json.dumps({"log": str(tmp_path / "received"), **spec}))
        return Scripted(tmp_path, path)

    return write


@pytest_asyncio.fixture
async def editor(scripted: Callable[..., Scripted]) -> AsyncIterator[Callable[..., Awaitable[FakeEditor]]]:
    """await editor(scripted or spec keys): a session in this process, initialized, its ranker off."""
    started: list[FakeEditor] = []

    async def start(
        server: Scripted | None = None, settings: Settings | None = None, *, initialize: bool = True, **spec: Any
    ) -> FakeEditor:
        found = server if server is not None else scripted(**spec)
        made = FakeEditor(settings or Settings(ranker="off", command=found.command))
        started.append(made)
        if initialize:
            await made.initialize()
        return made

    yield start
    for made in started:
        await made.gone()


@pytest_asyncio.fixture
async def starling(scripted: Callable[..., Scripted]) -> AsyncIterator[Callable[..., Awaitable[Probe]]]:
    """await starling(spec keys): Starling as editors start it, a process, in front of a fake server."""
    started: list[Probe] = []

    async def start(
        server: Scripted | None = None,
        *,
        flags: tuple[str, ...] = ("--ranker", "off"),
        root: Path | None = None,
        options: Any = None,
        launch: tuple[str, ...] = (sys.executable, "-m", "lsp_server"),
        **spec: Any,
    ) -> Probe:
        found = server if server is not None else scripted(**spec)
        made = Probe([*launch, "--stdio", *flags, "--", *found.command])
        started.append(made)
        await made.start(root, options=options)
        return made

    yield start
    for made in started:
        with suppress(Exception):
            await asyncio.wait_for(made.stop(), 10.0)
        made.backend.kill()
