"""Editors on a socket, and what else reaches one: web pages, other users, clients without the token."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.frames import Frames, frame
from tests.scenarios.harness import Scene, ended, until

TOKEN = "a token of the test's own"
START = [sys.executable, "-m", "lsp_server", "--ranker", "off"]


class Client:
    """One connection: frames out, decoded messages in."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._frames = Frames()
        self._messages: list[Any] = []

    def send(self, body: bytes) -> None:
        self.writer.write(frame(body))

    async def message(self) -> Any:
        """The next one; None at the end of the connection."""
        async with asyncio.timeout(20):
            while not self._messages:
                data = await self.reader.read(1 << 16)
                if not data:
                    return None
                self._messages += [wire.loads(body) for body in self._frames.feed(data) if isinstance(body, bytes)]
        return self._messages.pop(0)

    async def ask(self, method: str, params: Any) -> Any:
        self.send(wire.request(method, method, params))
        while (message := await self.message()) is not None and "method" in message:
            pass
        return message

    async def initialize(self, **options: Any) -> Any:
        return await self.ask("initialize", {"capabilities": {}, "initializationOptions": {"starling": options}})

    async def closed(self) -> bool:
        async with asyncio.timeout(20):
            while await self.reader.read(1 << 16):
                pass
        return True


class Listening:
    """A server process and what it said on stderr."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.port = 0
        self.said: list[str] = []

    async def until_said(self, words: str) -> str:
        assert self.process.stderr is not None
        while True:
            line = (await asyncio.wait_for(self.process.stderr.readline(), 20)).decode()
            assert line, self.said
            self.said.append(line)
            if words in line:
                return line

    async def connect(self) -> Client:
        return Client(*await asyncio.open_connection("127.0.0.1", self.port))


@asynccontextmanager
async def listening(*words: str, token: str | None = TOKEN, cwd: Path | None = None) -> AsyncIterator[Listening]:
    env = {**os.environ, **({} if token is None else {"STARLING_TOKEN": token})}
    process = await asyncio.create_subprocess_exec(*START, *words, stderr=asyncio.subprocess.PIPE, env=env, cwd=cwd)
    server = Listening(process)
    try:
        line = await server.until_said("listens on")
        if ":" in line:
            server.port = int(line.rsplit(":", 1)[1])
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        assert await ended(process) == 0


def post(body: bytes) -> bytes:
    """What a browser sends for a web page's fetch(…, {method: "POST", mode: "no-cors"})."""
    return b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b" % (
        len(body), body,
    )  # fmt: skip


def evil(path: Path, **more: Any) -> bytes:
    options = {"starling": {"command": ["touch", str(path)], "servers": {"python": [["touch", str(path)]]}, **more}}
    return wire.request(1, "initialize", {"capabilities": {}, "initializationOptions": options})


@pytest.mark.parametrize("framed", [False, True], ids=["a body alone", "a frame in the body"])
async def test_a_web_page_starts_nothing(tmp_path: Path, framed: bool) -> None:
    async with listening("--tcp", ":0") as server:
        client = await server.connect()
        body = evil(tmp_path / "made", token=TOKEN)
        client.writer.write(post(frame(body) if framed else body))
        assert await client.closed()
        assert "POST" in await server.until_said("closing a connection")
        assert not (tmp_path / "made").exists()


async def test_garbage_after_a_good_message_closes_the_connection(tmp_path: Path) -> None:
    async with listening("--tcp", ":0", "--", *Scene(tmp_path).fake) as server:
        client = await server.connect()
        assert "result" in await client.initialize(token=TOKEN)
        client.writer.write(b"garbage\r\n" + frame(wire.request(2, "odd", {})))
        assert await client.closed()


@pytest.mark.parametrize("options", [{}, {"token": ""}, {"token": "another"}, {"token": 5}, {"token": None}], ids=str)
async def test_without_the_token_nothing_starts(tmp_path: Path, options: dict[str, Any]) -> None:
    scene = Scene(tmp_path)
    async with listening("--tcp", ":0", "--", *scene.fake) as server:
        client = await server.connect()
        reply = await client.initialize(**options)
        assert "token" in reply["error"]["message"]
        assert await client.closed()
        await server.until_said("did not send the right token")
    assert not scene.log.exists()


async def test_no_options_at_all_bring_no_token(tmp_path: Path) -> None:
    async with listening("--tcp", ":0", "--", *Scene(tmp_path).fake) as server:
        client = await server.connect()
        assert "error" in await client.ask("initialize", {"capabilities": {}})


async def test_the_token_is_printed_where_none_is_given(tmp_path: Path) -> None:
    async with listening("--tcp", ":0", "--", *Scene(tmp_path).fake, token=None) as server:
        line = await server.until_said('"token"')
        token = json.loads("{" + line[line.index('"initializationOptions"') :] + "}")["initializationOptions"][
            "starling"
        ]
        assert len(token["token"]) >= 32
        assert "result" in await (await server.connect()).initialize(**token)


async def test_who_has_the_token_still_chooses_no_command_and_no_model(tmp_path: Path) -> None:
    made = tmp_path / "made"
    async with listening("--tcp", ":0") as server:
        client = await server.connect()
        client.send(evil(made, token=TOKEN, server="x", base="x", adapter="x", logAccepted=True, starLimit=3))
        refused: list[str] = []
        while (message := await client.message()).get("id") != 1:
            refused.append(message["params"]["message"])
        assert "result" in message
        assert len(refused) == 6
        assert all("not from a client on a socket" in words for words in refused)
        client.send(wire.notification("initialized", {}))
        item = {"uri": "file:///x/a.py", "languageId": "python", "version": 1, "text": ""}
        client.send(wire.notification("textDocument/didOpen", {"textDocument": item}))
        status = await client.ask("starling/status", {})
        assert [row for row in status["result"]["servers"] if "touch" in row["command"]] == []
        assert not made.exists()


async def test_a_long_message_before_the_token_closes_the_connection(tmp_path: Path) -> None:
    async with listening("--tcp", ":0", "--", *Scene(tmp_path).fake) as server:
        client = await server.connect()
        client.writer.write(b"Content-Length: 500000000\r\n\r\n")
        assert await client.closed()


async def test_two_editors_on_one_socket_each_have_a_session(tmp_path: Path) -> None:
    async with listening("--tcp", ":0", "--", *Scene(tmp_path).fake) as server:
        clients = [await server.connect() for _ in range(2)]
        pids = set()
        for number, client in enumerate(clients):
            await client.initialize(token=TOKEN)
            assert (await client.ask("odd/thing", {"n": number}))["result"] == {"echo": {"n": number}}
            pids.add((await client.ask("starling/status", {}))["result"]["servers"][0]["pid"])
        assert len(pids) == 2
        clients[0].writer.close()  # without a word: its wrapped server ends, the other session goes on
        await until(lambda: len([pid for pid in pids if Path(f"/proc/{pid}").exists()]) == 1)
        assert (await clients[1].ask("odd/thing", {"n": 3}))["result"] == {"echo": {"n": 3}}


async def test_a_client_that_leaves_during_initialize_leaves_no_server(tmp_path: Path) -> None:
    scene = Scene(tmp_path, hang=["initialize"], stubborn=True, spawns={"initialize": {"file": str(tmp_path / "pids")}})
    async with listening("--tcp", ":0", "--", *scene.fake) as server:
        client = await server.connect()
        options = {"starling": {"token": TOKEN}}
        client.send(wire.request(1, "initialize", {"capabilities": {}, "initializationOptions": options}))
        pid = int(await until(lambda: (tmp_path / "pids").exists() and (tmp_path / "pids").read_text()))
        client.writer.close()
        await until(lambda: not Path(f"/proc/{pid}").exists())


def test_another_host_than_loopback_needs_a_flag_that_says_the_risk() -> None:
    done = subprocess.run([*START, "--tcp", "0.0.0.0:0"], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 2
    assert "--allow-remote" in done.stderr
    assert "not encrypted" in done.stderr


@pytest.mark.parametrize("address", ["127.0.0..1:0", "127.0.0.1:\u00b2"])
def test_an_address_that_can_not_be_one_is_named(address: str) -> None:
    done = subprocess.run([*START, "--tcp", address], capture_output=True, timeout=20, check=False)
    assert done.returncode in (1, 2)
    assert address in done.stderr.decode()


async def test_with_the_flag_it_listens_and_warns() -> None:
    async with listening("--tcp", "0.0.0.0:0", "--allow-remote") as server:
        assert "not encrypted" in await server.until_said("Warning")


async def test_a_pipe_is_a_socket_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "starling.sock"
    async with listening("--pipe", str(path), "--", *Scene(tmp_path).fake, token=None):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        client = Client(*await asyncio.open_unix_connection(str(path)))
        assert "result" in await client.initialize()
        assert (await client.ask("odd/thing", {"n": 1}))["result"] == {"echo": {"n": 1}}
    assert not path.exists()


async def test_a_pipe_that_the_editor_listens_on_is_connected_to(tmp_path: Path) -> None:
    path = tmp_path / "editor.sock"
    connected: asyncio.Queue[Client] = asyncio.Queue()
    editor = await asyncio.start_unix_server(lambda r, w: connected.put_nowait(Client(r, w)), str(path))
    command = [*START, "--pipe", str(path), "--", *Scene(tmp_path).fake]
    process = await asyncio.create_subprocess_exec(*command)
    client = await asyncio.wait_for(connected.get(), 20)
    assert "result" in await client.initialize()
    assert "result" in await client.ask("shutdown", None)
    client.send(wire.notification("exit", None))
    assert await ended(process) == 0
    editor.close()
    assert path.exists()  # it is the editor's


async def test_a_socket_left_behind_is_replaced_and_a_file_is_not(tmp_path: Path) -> None:
    path = tmp_path / "left.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    async with listening("--pipe", str(path), token=None):
        pass
    path.write_text("somebody's")
    done = subprocess.run([*START, "--pipe", str(path)], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 2
    assert "is not a socket" in done.stderr
    assert path.read_text() == "somebody's"
