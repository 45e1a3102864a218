"""An editor that closes its end without a word: everything that Starling started ends, whatever it ignores."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psutil
import pytest

from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.frames import frame
from tests.scenarios.harness import Scene, ended, until


@pytest.mark.parametrize("stubborn", [False, True], ids=["polite", "ignores exit and end of input"])
async def test_end_of_input_ends_every_child(tmp_path: Path, stubborn: bool) -> None:
    scene = Scene(tmp_path, stubborn=stubborn)
    starling = await asyncio.create_subprocess_exec(
        *scene.command("--ranker", "signals"), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert starling.stdin is not None
    starling.stdin.write(frame(wire.request(1, "initialize", {"capabilities": {}})))
    process = psutil.Process(starling.pid)
    await until(lambda: len(process.children(recursive=True)) >= 2)  # the wrapped server and the ranker
    children = process.children(recursive=True)
    starling.stdin.close()
    assert await ended(starling) == 1
    assert [child.pid for child in children if child.is_running() and child.status() != "zombie"] == []
