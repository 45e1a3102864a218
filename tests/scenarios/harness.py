"""Starling in front of the fake server, as a process, with a home of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from lsp_server.probe import Probe

FAKE = Path(__file__).parent.parent / "fakes" / "fake_server.py"
URI = "file:///project/a.py"
SIGNALS = ("--ranker", "signals", "--deadline", "10000")  # milliseconds: a ranking comes, however busy the machine is


class Scene:
    """A folder for one test: the fake's specification, its log, and the commands."""

    def __init__(self, folder: Path, **spec: Any) -> None:
        self.folder = folder
        self.log = folder / "log.jsonl"
        self.spec = folder / "spec.json"
        self.spec.write_text(json.dumps({"log": str(self.log), **spec}))
        home = folder / "home"
        home.mkdir(exist_ok=True)
        for name in ("HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
            os.environ[name] = str(home)

    @property
    def fake(self) -> list[str]:
        return [sys.executable, str(FAKE), str(self.spec)]

    def command(self, *flags: str) -> list[str]:
        chosen = flags or ("--ranker", "off")
        return [sys.executable, "-m", "lsp_server", "--stdio", *chosen, "--", *self.fake]

    def received(self, method: str) -> list[Any]:
        """Params of each message of this method that the fake got."""
        lines = self.log.read_text().split("\n")[:-1] if self.log.exists() else []  # the last one may be half written
        return [m.get("params") for line in lines if (m := json.loads(line)).get("method") == method]

    @asynccontextmanager
    async def starling(self, *flags: str, root: Path | None = None, **start: Any) -> AsyncIterator[Probe]:
        probe = Probe(self.command(*flags))
        await probe.start(root, **start)
        try:
            yield probe
        finally:
            if probe.backend.alive:
                await probe.stop()


async def ended(process: asyncio.subprocess.Process) -> int:
    """Its exit code, and its pipes closed: what it has not read, or nobody has read of it, is no reason to wait."""
    async with asyncio.timeout(30):
        while process.returncode is None:
            await asyncio.sleep(0.02)
    process._transport.close()  # type: ignore[attr-defined]
    return process.returncode


async def until(condition: Callable[[], Any], timeout: float = 20.0) -> Any:
    """Wait for something that no message announces."""
    async with asyncio.timeout(timeout):
        while not (found := condition()):
            await asyncio.sleep(0.02)
    return found


async def ranking(probe: Probe) -> None:
    """Wait until the ranker process answers and has its index."""
    async with asyncio.timeout(30):
        while True:
            status = (await probe.backend.request("starling/status", {}, 10))["ranker"]
            if status is not None and status["index"]:
                return
            await asyncio.sleep(0.05)
