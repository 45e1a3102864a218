"""What breaks costs as little as it can: crashes, hangs, bad bytes, and an editor that has gone."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.frames import Frames, frame
from lsp_server.probe import Probe
from lsp_server.servers.backend import BackendRefused
from tests.scenarios.harness import SIGNALS, URI, Scene, ranking, until

LIST = [{"label": "a"}, {"label": "b"}]


async def test_crash_restarts_with_documents_as_they_are(tmp_path: Path) -> None:
    scene = Scene(tmp_path, crash_on=["textDocument/hover"], completion=LIST)
    async with scene.starling() as probe:
        probe.open(URI, "old\n", "python")
        probe.change(URI, 2, "new", {"start": {"line": 0, "character": 0}, "end": {"line": 0, "character": 3}})
        with pytest.raises(BackendRefused):
            await probe.backend.request("odd/thing", {}, 10) and await probe.backend.request(
                "textDocument/rename", {}, 10
            )
            probe.backend.notify("textDocument/hover", {})
            await probe.backend.request("textDocument/rename", {"again": 1}, 10)
        opened = await until(lambda: scene.received("textDocument/didOpen")[1:])
        assert opened[0]["textDocument"]["text"] == "new\n"
        assert opened[0]["textDocument"]["version"] == 2
        assert await probe.complete(URI, 0, 0) == LIST
        assert len(await probe.heard("window/showMessage")) == 1


async def test_reading_request_is_retried_once(tmp_path: Path) -> None:
    scene = Scene(tmp_path, crash_on=["textDocument/completion"], crash_once=str(tmp_path / "once"), completion=LIST)
    async with scene.starling() as probe:
        assert await probe.complete(URI, 0, 0) == LIST


async def test_request_that_always_crashes_gets_an_error(tmp_path: Path) -> None:
    async with Scene(tmp_path, crash_on=["textDocument/completion"]).starling() as probe:
        with pytest.raises(BackendRefused, match="exit code 3"):
            await probe.complete(URI, 0, 0)


async def test_registrations_and_progress_of_a_dead_server_end(tmp_path: Path) -> None:
    async with Scene(tmp_path, crash_on=["die"]).starling() as probe:
        registration = {"id": "r", "method": "odd/method"}
        for id, method, params in (
            (1, "client/registerCapability", {"registrations": [registration]}),
            (2, "window/workDoneProgress/create", {"token": 5}),
        ):
            probe.backend.notify("fake/send", {"jsonrpc": "2.0", "id": id, "method": method, "params": params})
        token = (await probe.heard("window/workDoneProgress/create"))[0]["token"]
        probe.backend.notify("die", {})
        ended = (await probe.heard("$/progress"))[0]
        assert ended == {"token": token, "value": {"kind": "end"}}
        taken = (await probe.heard("client/unregisterCapability"))[0]["unregisterations"]
        registered = (await probe.heard("client/registerCapability"))[0]["registrations"]
        assert taken == [{"id": registered[0]["id"], "method": "odd/method"}]


async def test_missing_command_is_said_with_what_to_do(tmp_path: Path) -> None:
    Scene(tmp_path)
    probe = Probe([sys.executable, "-m", "lsp_server", "--stdio", "--ranker", "off", "--", "no-such-server"])
    await probe.start()
    assert "'no-such-server' was not found" in (await probe.heard("window/showMessage"))[0]["message"]
    with pytest.raises(BackendRefused, match="not found"):
        await probe.backend.request("textDocument/hover", {}, 10)
    await probe.stop()


def test_a_server_that_can_not_be_loaded_says_why(tmp_path: Path) -> None:
    Scene(tmp_path)
    broken = "import sys; sys.modules['lsp_server.app'] = None; from lsp_server.serving import main; main(['--stdio'])"
    done = subprocess.run([sys.executable, "-c", broken], input=b"", capture_output=True, timeout=30, check=False)
    assert done.returncode == 1
    assert b"Starling can't serve" in done.stderr
    assert b"lsp_server.app" in done.stderr


async def test_ranker_killed_costs_the_ranking_only(tmp_path: Path) -> None:
    async with Scene(tmp_path, completion=LIST).starling(*SIGNALS) as probe:
        probe.open(URI, "x.\n", "python")
        await ranking(probe)
        status = await probe.backend.request("starling/status", {}, 10)
        os.kill(status["rankerPid"], signal.SIGKILL)
        assert len(await probe.complete(URI, 0, 2)) == 2
        await ranking(probe)  # it is there again, with the document
        assert all("sortText" in item for item in await probe.complete(URI, 0, 2))


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
async def test_no_child_outlives_starling(tmp_path: Path, ending: signal.Signals) -> None:
    probe = Probe(Scene(tmp_path, stubborn=True).command("--ranker", "signals"))
    await probe.start()
    await ranking(probe)
    children = psutil.Process(probe.backend.pid).children(recursive=True)
    assert len(children) >= 2
    os.kill(probe.backend.pid, ending)
    await until(lambda: not any(child.is_running() and child.status() != "zombie" for child in children))
    await probe.backend.stop()


def talk(scene: Scene, *bodies: bytes, raw: bytes = b"") -> tuple[list[dict], int]:
    """Write messages, then close; returns the replies and the exit code."""
    data = raw + b"".join(frame(body) for body in bodies)
    done = subprocess.run(scene.command(), input=data, capture_output=True, timeout=30, check=False)
    return [json.loads(body) for body in Frames().feed(done.stdout) if isinstance(body, bytes)], done.returncode


INITIALIZE = wire.request(1, "initialize", {"capabilities": {}})


def test_requests_before_initialize_are_refused(tmp_path: Path) -> None:
    replies, code = talk(Scene(tmp_path), wire.request(5, "textDocument/hover", {}), wire.notification("exit", None))
    assert (replies[0]["id"], replies[0]["error"]["code"]) == (5, wire.SERVER_NOT_INITIALIZED)
    assert code == 1


def test_garbage_and_invalid_json_do_not_end_it(tmp_path: Path) -> None:
    replies, _ = talk(
        Scene(tmp_path),
        b"{not json",
        wire.request(6, "odd", {}),
        wire.notification("exit", None),
        raw=b"garbage\r\n\r\n",
    )
    assert [reply["error"]["code"] for reply in replies] == [wire.PARSE_ERROR, wire.SERVER_NOT_INITIALIZED]


async def test_shutdown_then_exit_is_code_zero(tmp_path: Path) -> None:
    probe = Probe(Scene(tmp_path).command())
    await probe.start()
    with pytest.raises(BackendRefused, match="already requested"):
        await probe.backend.request("initialize", {"capabilities": {}}, 10)
    await probe.backend.request("shutdown", None, 10)
    with pytest.raises(BackendRefused, match="shut down"):
        await probe.backend.request("odd", {}, 10)
    probe.backend.notify("exit", None)
    await until(lambda: probe.exited)
    assert probe.exited is not None
    assert probe.exited.code == 0
    await probe.backend.stop()


async def test_torn_frames_of_the_server_are_skipped(tmp_path: Path) -> None:
    async with Scene(tmp_path).starling() as probe:
        probe.backend.notify("fake/bytes", {"text": "no header at all\r\n\r\n"})
        assert await probe.backend.request("odd", {"x": 1}, 10) == {"echo": {"x": 1}}


async def test_read_only_home(tmp_path: Path) -> None:
    scene = Scene(tmp_path, completion=LIST)
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        os.environ[name] = "/proc/nowhere"  # not even root can write there
    async with scene.starling("--ranker", "signals") as probe:
        probe.open(URI, "x.\n", "python")
        await ranking(probe)
        assert len(await probe.complete(URI, 0, 2)) == 2
