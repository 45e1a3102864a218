"""Starts that fail, are cut short or come too early, and ends: whoever asks is answered, and no process stays."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.frames import Frames, frame
from lsp_server.probe import Probe
from lsp_server.servers import generation
from lsp_server.servers import server as server_module
from lsp_server.settings import Settings
from tests.fakes.editor import URI, FakeEditor, editing, received_in
from tests.scenarios.harness import SIGNALS, Scene, ended, ranking, until
from tests.scenarios.several import dynamic, several, where

HOVER = "textDocument/hover"
LIST = [{"label": "a"}]
WHERE = {"textDocument": {"uri": URI}, "position": {"line": 0, "character": 0}}


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "BACK_OFF", (0.05, 0.05, 0.05))
    monkeypatch.setattr(generation, "SHUTDOWN_PATIENCE", 0.5)


def processes_of(folder: Path) -> list[int]:
    """What runs a command that names something in this folder."""
    found: list[int] = []
    for process in psutil.process_iter(["cmdline", "status"]):
        named = any(str(folder) in word for word in process.info["cmdline"] or ())
        if named and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process.pid)
    return found


def running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


async def test_a_server_that_is_woken_while_it_shuts_down_answers(tmp_path: Path) -> None:
    async with several(tmp_path, {"python": {"slow": {**HOVERS, "hang": ["shutdown"]}}}) as scene:
        scene.editor.open("x")
        assert "result" in await scene.editor.ask(HOVER, where(URI))
        scene.editor.notify("textDocument/didClose", {"textDocument": {"uri": URI}})
        scene.editor.session.pool.servers[0].rest_after(0)
        await scene.until_heard("slow", "shutdown")
        scene.editor.open("y")
        assert "result" in await scene.editor.ask(HOVER, where(URI))
        assert len(scene.heard("slow", "initialize")) == 2
        assert scene.heard("slow", "textDocument/didOpen")[-1]["textDocument"]["text"] == "y"


@pytest.mark.parametrize("restarted", [False, True])
async def test_closing_other_files_does_not_keep_an_unused_server(tmp_path: Path, restarted: bool) -> None:
    async with several(tmp_path, {"python": {"unused": HOVERS}}, settings=Settings(ranker="off", idle=1)) as scene:
        editor = scene.editor
        editor.open("x")
        assert "result" in await editor.ask(HOVER, where(URI))
        editor.notify("textDocument/didClose", {"textDocument": {"uri": URI}})
        if restarted:
            editor.session.pool.servers[0].rest_after(1000)
            assert "result" in await editor.ask("starling/restart", {})

        def stopped() -> bool:
            editor.open("y", "file:///project/notes.txt", "plaintext")
            editor.notify("textDocument/didClose", {"textDocument": {"uri": "file:///project/notes.txt"}})
            return len(scene.heard("unused", "shutdown")) == 1 + restarted

        await until(stopped)


@pytest.mark.parametrize("words", [b"", frame(wire.notification("exit", None))], ids=["end of input", "exit"])
def test_an_editor_that_leaves_while_the_server_is_started(tmp_path: Path, words: bytes) -> None:
    scene = Scene(tmp_path, stubborn=True)
    hello = frame(wire.request(1, "initialize", {"capabilities": {}}))
    done = subprocess.run(scene.command(), input=hello + words, capture_output=True, timeout=60, check=False)
    assert done.returncode == 1
    assert processes_of(scene.spec) == []


async def test_sigterm_while_the_server_does_not_answer_initialize(tmp_path: Path) -> None:
    scene = Scene(tmp_path, stubborn=True, hang=["initialize"])
    starling = await asyncio.create_subprocess_exec(*scene.command(), stdin=asyncio.subprocess.PIPE)
    assert starling.stdin is not None
    starling.stdin.write(frame(wire.request(1, "initialize", {"capabilities": {}})))
    await until(lambda: scene.received("initialize"))
    starling.send_signal(signal.SIGTERM)
    assert await ended(starling) == 1
    assert processes_of(scene.spec) == []


HOVERS = {"capabilities": {"hoverProvider": True}}
GARBLED = {
    "not UTF-8": '{"capabilities":{},"x":"\xff"}',
    "nested deep": '{"capabilities":{"x":' + "[" * 3000 + "]" * 3000 + "}}",
    "torn": '{"capabilities":{',
    "no object": '"x"',
    "capabilities that are a list": '{"capabilities":[1]}',
}


@pytest.mark.parametrize("mode", ["one", "several"])
@pytest.mark.parametrize("raw", GARBLED.values(), ids=GARBLED)
async def test_a_restart_whose_initialize_is_garbled(tmp_path: Path, raw: str, mode: str) -> None:
    spec = {**HOVERS, "crash_on": ["die"], "life": str(tmp_path / "life"), "lives": [{"raw": {"initialize": raw}}]}

    async def try_it(editor: FakeEditor) -> None:
        editor.open("x")
        assert "result" in await editor.ask(HOVER, WHERE)
        editor.notify("die", {})
        await editor.heard("window/showMessage")
        reply = await editor.ask(HOVER, WHERE)
        refused = reply.get("error", {}).get("message", "")
        assert ("result" in reply) != ("can't be read" in refused or "no wrapped server answers" in refused)

    if mode == "one":
        async with editing(tmp_path, **spec) as editor:
            await try_it(editor)
    else:
        async with several(tmp_path, {"python": {"one": spec}}) as scene:
            await try_it(scene.editor)


async def test_a_restart_that_dies_right_after_its_answer_is_given_up(tmp_path: Path) -> None:
    spec = {"crash_on": ["die"], "life": str(tmp_path / "life"), "lives": [{"dies_after": ["initialize"]}]}
    async with editing(tmp_path, **spec) as editor:
        assert "result" in await editor.ask(HOVER, WHERE)
        editor.notify("die", {})
        await editor.until(lambda message: "not started again" in str(message.get("params")))
        assert "exit code 5" in (await editor.ask(HOVER, WHERE))["error"]["message"]


async def test_a_refused_initialize_leaves_no_process(tmp_path: Path) -> None:
    scene = Scene(tmp_path, errors=["initialize"])
    async with editing(tmp_path, errors=["initialize"]) as editor:
        for _ in range(2):
            assert "error" in await editor.ask("initialize", {"capabilities": {}})
        await until(lambda: not processes_of(scene.spec))


async def test_a_cancelled_initialize_leaves_no_process_and_may_be_tried_again(tmp_path: Path) -> None:
    lives = [{"hang": []}]
    async with editing(tmp_path) as running_one:
        settings = running_one.session.state.settings
        scene = Scene(tmp_path, hang=["initialize"], stubborn=True, life=str(tmp_path / "life"), lives=lives)
        editor = FakeEditor(settings)
        editor.request("initialize", {"capabilities": {}}, 7)
        await until(lambda: (tmp_path / "life").exists())
        editor.notify("$/cancelRequest", {"id": 7})
        assert (await editor.reply(7))["error"]["code"] == wire.REQUEST_CANCELLED
        assert "result" in await editor.initialize()
        assert "result" in await editor.ask(HOVER, WHERE)
        await editor.gone()
    await until(lambda: not processes_of(scene.spec))


async def test_a_server_that_closes_its_output_is_restarted_and_its_requests_are_answered(tmp_path: Path) -> None:
    spec = {"closes_output_on": ["odd/close"], "life": str(tmp_path / "life"), "lives": [{"closes_output_on": []}]}
    async with editing(tmp_path, **spec) as editor:
        assert "exit code" in (await editor.ask("odd/close", {}))["error"]["message"]
        assert "result" in await editor.ask(HOVER, WHERE)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no subreapers; docs/security.md says so")
@pytest.mark.parametrize("session", [False, True], ids=["in its group", "in a session of its own"])
@pytest.mark.parametrize("ending", ["orderly", signal.SIGKILL, signal.SIGTERM], ids=str)
async def test_what_a_server_started_ends_with_it(tmp_path: Path, session: bool, ending: Any) -> None:
    pids = tmp_path / "pids"
    scene = Scene(tmp_path, spawns={"initialized": {"file": str(pids), "session": session}})
    probe = Probe(scene.command())
    await probe.start()
    pid = int(await until(lambda: pids.exists() and pids.read_text()))
    if ending == "orderly":
        await probe.stop()
        assert not running(pid)
    else:
        os.kill(probe.backend.pid, ending)
        await until(lambda: not running(pid))
        await probe.backend.stop()
    await until(lambda: not processes_of(scene.spec))


async def test_an_editor_that_never_reads_stderr_is_answered(tmp_path: Path) -> None:
    """64 kB fill a pipe; the log at DEBUG has many times as much."""
    scene = Scene(tmp_path, completion=LIST, stderr_on={"textDocument/didChange": 1000})
    env = {**os.environ, "STARLING_LOG": "DEBUG"}
    pipe = asyncio.subprocess.PIPE
    starling = await asyncio.create_subprocess_exec(*scene.command(), stdin=pipe, stdout=pipe, stderr=pipe, env=env)
    assert starling.stdin is not None
    assert starling.stdout is not None
    change = {"textDocument": {"uri": URI, "version": 1}, "contentChanges": [{"text": "x"}]}
    frames, answered = Frames(), []

    async def read(until_answered: int) -> None:
        async with asyncio.timeout(60):
            while until_answered not in answered and (data := await starling.stdout.read(1 << 16)):
                answered.extend(wire.loads(body)["id"] for body in frames.feed(data) if isinstance(body, bytes))

    starling.stdin.write(frame(wire.request(1, "initialize", {"capabilities": {}})))
    await read(1)
    for number in range(2, 6):
        starling.stdin.write(frame(wire.notification("textDocument/didChange", change)))
        starling.stdin.write(frame(wire.request(number, HOVER, WHERE)))
    await read(5)
    starling.stdin.write(frame(wire.request(9, "shutdown", None)))
    starling.stdin.write(frame(wire.notification("exit", None)))
    await read(9)
    assert answered == [1, 2, 3, 4, 5, 9]
    assert await ended(starling) == 0


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
async def test_a_servers_stderr_is_in_the_log_at_debug_only(tmp_path: Path, level: str) -> None:
    os.environ["STARLING_LOG"] = level
    try:
        scene = Scene(tmp_path, stderr_on={"odd/talk": 3})
        async with scene.starling() as probe:
            await probe.backend.request("odd/talk", {}, 10)
    finally:
        del os.environ["STARLING_LOG"]
    logs = list((tmp_path / "home").rglob("*.log"))
    assert len(logs) == 1  # one a process
    assert logs[0].stat().st_mode & 0o077 == 0
    said = [line for line in logs[0].read_text().splitlines() if "of what nobody reads" in line]
    assert len(said) == (3 if level == "DEBUG" else 0)


async def test_a_server_that_was_given_up_is_started_again_when_asked(tmp_path: Path) -> None:
    lives = [{"crash_on": ["initialized"]}] * 3 + [{"crash_on": []}]
    spec = {"crash_on": ["initialized"], "life": str(tmp_path / "life"), "lives": lives}
    async with editing(tmp_path, **spec) as editor:
        await editor.until(lambda message: "not started again" in str(message.get("params")))
        editor.open("x")
        assert "error" in await editor.ask(HOVER, WHERE)
        assert (await editor.ask("starling/restart", {}))["result"] == {"servers": [""]}
        assert "result" in await editor.ask(HOVER, WHERE)
        assert len(received_in(tmp_path, "textDocument/didOpen")) == 1


async def test_restart_names_the_servers_that_there_are(tmp_path: Path) -> None:
    async with several(tmp_path, {"python": {"one": HOVERS, "two": HOVERS}}) as scene:
        names = list(scene.running())
        scene.editor.open("x")
        for name in ("one", "two"):
            await scene.until_heard(name, "textDocument/didOpen")
        before = scene.running()
        reply = await scene.editor.ask("starling/restart", {"server": names[0]})
        assert reply["result"] == {"servers": [names[0]]}
        await scene.until_heard("one", "textDocument/didOpen", 2)
        assert scene.running()[names[0]] != before[names[0]]
        assert scene.running()[names[1]] == before[names[1]]
        for params in ({"server": "three"}, {"server": 5}, []):
            assert (await scene.editor.ask("starling/restart", params))["error"]["code"] == wire.INVALID_PARAMS
        assert names[1] in (await scene.editor.ask("starling/restart", {"server": "three"}))["error"]["message"]


async def test_a_server_that_was_missing_starts_once_it_is_installed(tmp_path: Path) -> None:
    command = tmp_path / "bin" / "my-server"
    settings = Settings(ranker="off", servers={"python": [[str(command)]]})
    editor = FakeEditor(settings)
    await editor.initialize(capabilities=dynamic())
    editor.open("x")
    await editor.until(lambda message: "was not found" in str(message.get("params")))
    editor.open("y", uri="file:///project/other.py")
    assert (await editor.ask(HOVER, WHERE))["error"]["code"] == wire.METHOD_NOT_FOUND
    command.parent.mkdir()
    command.write_text(f"#!/bin/sh\nexec {' '.join(Scene(tmp_path, **HOVERS).fake)}\n")
    command.chmod(0o755)
    editor.open("z", uri="file:///project/third.py")
    assert (await editor.ask(HOVER, WHERE))["result"] == {"echo": WHERE}
    assert len(editor.shown()) == 1
    await editor.gone()


async def test_a_ranker_that_hangs_is_replaced(tmp_path: Path) -> None:
    """Its pings are counted in a process of the test's own, so that they need not take their usual time."""
    script = (
        "import sys; from lsp_server.ranking import ranker_client as r; r.PING_EVERY, r.PINGS = 0.2, 10; "
        "from lsp_server.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    scene = Scene(tmp_path, completion=LIST)
    probe = Probe([sys.executable, "-c", script, *scene.command(*SIGNALS)[3:]])
    await probe.start()
    probe.open(URI, "x.\n", "python")
    await ranking(probe)
    pid = (await probe.backend.request("starling/status", {}, 10))["rankerPid"]
    os.kill(pid, signal.SIGSTOP)
    await probe.complete(URI, 0, 2)
    await until(lambda: not running(pid))
    await ranking(probe)
    assert all("sortText" in item for item in await probe.complete(URI, 0, 2))
    await probe.stop()


def test_standard_output_may_be_a_file(tmp_path: Path) -> None:
    hello = wire.request(1, "initialize", {"capabilities": {}}), wire.request(2, "shutdown", None)
    data = b"".join(frame(body) for body in (*hello, wire.notification("exit", None)))
    (tmp_path / "in").write_bytes(data)
    with (tmp_path / "in").open("rb") as given, (tmp_path / "out").open("wb") as out:
        code = subprocess.run(Scene(tmp_path).command(), stdin=given, stdout=out, timeout=60, check=False).returncode
    replies = [wire.loads(body) for body in Frames().feed((tmp_path / "out").read_bytes()) if isinstance(body, bytes)]
    assert code in (0, 1)  # by how far the start had come
    assert sorted(reply["id"] for reply in replies) == [1, 2]
