"""Standard streams by threads, as on Windows and for regular files: the same messages, the same end."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.frames import Frames, frame
from lsp_server.probe import Probe
from tests.scenarios.harness import URI, Scene, until

WITH_THREADS = """
import functools, sys
from lsp_server.transport.connection import Connection
Connection.use_standard_streams = functools.partialmethod(Connection.use_standard_streams, threads=True)
from lsp_server.__main__ import main
sys.exit(main())
"""
PATIENCE = 30.0
LONG = "x" * 3_000_000


def command(scene: Scene) -> list[str]:
    return [sys.executable, "-c", WITH_THREADS, "--stdio", "--ranker", "off", "--", *scene.fake]


async def test_a_session_from_beginning_to_end(tmp_path: Path) -> None:
    probe = Probe(command(Scene(tmp_path)))
    await probe.start(tmp_path)
    probe.open(URI, "text", "python")
    assert await probe.backend.request("odd/long", {"text": LONG}, PATIENCE) == {"echo": {"text": LONG}}
    await probe.stop()
    assert probe.backend.exited is not None
    assert probe.backend.exited.code == 0


async def test_an_editor_that_reads_late_gets_every_reply(tmp_path: Path) -> None:
    probe = Probe(command(Scene(tmp_path)))
    await probe.start(tmp_path)
    probe.backend.pause(True)
    asked = [asyncio.create_task(probe.backend.request("odd/long", {"n": n, "text": LONG}, PATIENCE)) for n in range(8)]
    await asyncio.sleep(0)
    await until(lambda: len(Scene(tmp_path).received("odd/long")) >= 2)
    probe.backend.pause(False)
    assert [reply["echo"]["n"] for reply in await asyncio.gather(*asked)] == list(range(8))
    await probe.stop()


async def test_it_ends_with_its_input(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *command(Scene(tmp_path)), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), PATIENCE) == 1


@pytest.mark.parametrize("threads", [True, False])
def test_regular_files(tmp_path: Path, threads: bool) -> None:
    scene = Scene(tmp_path)
    given, got = tmp_path / "in", tmp_path / "out"
    given.write_bytes(frame(wire.request(1, "initialize", {"capabilities": {}})))
    how = command(scene) if threads else scene.command()
    with given.open("rb") as stdin, got.open("wb") as stdout:
        subprocess.run(how, stdin=stdin, stdout=stdout, timeout=PATIENCE, check=False)
    replies = [json.loads(body) for body in Frames().feed(got.read_bytes()) if isinstance(body, bytes)]
    assert [reply["id"] for reply in replies if "id" in reply] == [1]
