"""Messages over the limit, garbled ones, and ends that do not read: bounded, and nobody is left waiting."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lsp_server.features.loading import LazyFeatures
from lsp_server.jsonrpc import child, wire
from lsp_server.jsonrpc.frames import Oversized, frame
from lsp_server.servers.server import State
from lsp_server.session.authentication import Authentication
from lsp_server.session.session import Session
from lsp_server.settings import Settings
from lsp_server.transport import connection
from lsp_server.transport.connection import Connection
from tests.fakes.editor import URI, editing, received_in
from tests.scenarios.harness import until
from tests.scenarios.several import several

HOVER = "textDocument/hover"
CHANGE = "textDocument/didChange"
WHERE = {"textDocument": {"uri": URI}, "position": {"line": 0, "character": 0}}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "MAX_REPLY", 20_000)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("method", [HOVER, "textDocument/completion", "odd/thing"])
async def test_an_answer_over_the_limit_is_an_error_to_whoever_asked(tmp_path: Path, method: str) -> None:
    big = {"items": [], "x": "a" * 100_000}
    async with editing(tmp_path, completion=big, results={HOVER: big, "odd/thing": big}) as editor:
        assert "over the limit of 20000" in (await editor.ask(method, WHERE))["error"]["message"]
        assert "result" in await editor.ask("odd/other", {})


@pytest.mark.parametrize("method", [HOVER, "textDocument/completion", "completionItem/resolve", "odd/thing"])
async def test_a_garbled_answer_is_an_error_to_whoever_asked(tmp_path: Path, method: str) -> None:
    async with editing(tmp_path, resolve=True, raw={method: '{"x":{{{'}) as editor:
        params = {"label": "x"} if method == "completionItem/resolve" else WHERE
        assert "can't be read" in (await editor.ask(method, params))["error"]["message"]


async def test_a_garbled_request_of_the_server_is_refused(tmp_path: Path) -> None:
    async with editing(tmp_path) as editor:
        editor.make_server_send(b'{"jsonrpc":"2.0","id":31,"method":"odd/ask","params":{{')
        await editor.flushed()
        await editor.flushed()
        log = (tmp_path / "log.jsonl").read_text()
        assert '"id": 31' in log
        assert str(wire.PARSE_ERROR) in log


async def test_what_the_editor_sends_over_the_limit_is_answered_or_ends_the_session(tmp_path: Path) -> None:
    async with editing(tmp_path) as editor:
        head = b'{"jsonrpc":"2.0","id":8,"method":"odd/thing","params":{"x":"'
        editor.session.from_client(Oversized(600_000_000, 512, head + b'aaa"}}'))
        assert "over the limit" in (await editor.reply(8))["error"]["message"]
        editor.session.from_client(Oversized(600_000_000, 512, b"zzz"))
        assert "result" in await editor.ask("odd/thing", {})
        head = b'{"jsonrpc":"2.0","method":"textDocument/didChange","params":{"x":"'
        editor.session.from_client(Oversized(600_000_000, 512, head))
        assert await asyncio.wait_for(editor.closed, 20) == 1
        assert "doesn't know the document's text" in editor.shown()[-1]


async def test_one_and_one_point_nought_are_one_id(tmp_path: Path) -> None:
    async with editing(tmp_path, hang=[HOVER]) as editor:
        editor.request(HOVER, WHERE, 41.0)
        editor.make_server_send({"id": 41, "result": "x"})
        assert (await editor.until(lambda m: m.get("id") == 41))["result"] == "x"


async def test_a_server_that_does_not_read_for_a_while_gets_one_change_for_many(tmp_path: Path) -> None:
    async with editing(tmp_path) as editor:
        editor.open("")
        await editor.flushed()
        server = editor.session.pool.one
        assert server is not None
        assert server.pid is not None
        os.kill(server.pid, signal.SIGSTOP)
        text = ""
        for number in range(200):
            text += "x" * 10_000
            span = {
                "start": {"line": 0, "character": number * 10_000},
                "end": {"line": 0, "character": number * 10_000},
            }
            change = {"range": span, "text": "x" * 10_000}
            document = {"uri": URI, "version": number + 2}
            editor.notify(CHANGE, {"textDocument": document, "contentChanges": [change]})
        os.kill(server.pid, signal.SIGCONT)
        await editor.flushed()
        changes = received_in(tmp_path, CHANGE)
        assert len(changes) < 100
        assert changes[-1] == {"textDocument": {"uri": URI, "version": 201}, "contentChanges": [{"text": text}]}


async def test_a_server_that_never_reads_again_is_started_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lsp_server.jsonrpc import outbox
    from lsp_server.servers import backend

    monkeypatch.setattr(backend, "Outbox", partial(outbox.Outbox, limit=100_000))
    async with editing(tmp_path, life=str(tmp_path / "life"), lives=[{}]) as editor:
        server = editor.session.pool.one
        assert server is not None
        assert server.pid is not None
        before = server.pid
        os.kill(before, signal.SIGSTOP)
        for number in range(60):
            editor.notify("odd/note", {"number": number, "x": "x" * 20_000})
        await editor.heard("window/showMessage")
        assert "result" in await editor.ask(HOVER, WHERE)
        assert server.pid != before


async def test_a_server_that_starts_while_the_editor_does_not_read_is_not_read(tmp_path: Path) -> None:
    async with several(tmp_path, {"python": {"one": {}}}) as scene:
        session = scene.editor.session
        session.pause_servers(True)
        scene.editor.open("x", URI)
        (server,) = session.pool
        await until(lambda: server.state is State.RUNNING)
        output = server._process._backend._child._pipe(1)  # type: ignore[union-attr]
        assert isinstance(output, asyncio.ReadTransport)
        assert not output.is_reading()
        session.pause_servers(False)
        assert output.is_reading()


async def test_what_a_client_did_not_read_is_freed_when_it_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "FLUSH_SECONDS", 0.05)
    ours, theirs = socket.socketpair()
    with theirs:
        editor = Connection(
            lambda client, authentication: Session(client, Settings(), LazyFeatures, authentication),
            Authentication(),
            is_socket=True,
        )
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(lambda: editor, ours)
        for number in itertools.count():
            editor.data_received(frame(wire.request(number, "odd/early", {})))
            if transport.get_write_buffer_size():
                break
        editor.session.abort()
        assert await asyncio.wait_for(editor.done, 20) == 1
        await until(lambda: ours.fileno() == -1, 5)
        assert transport.get_write_buffer_size() == 0


class _Unread(asyncio.Transport):
    """A socket whose other end reads nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.unread = 0
        self.reading = True

    def write(self, data: Any) -> None:
        self.unread += len(data)

    def get_write_buffer_size(self) -> int:
        return self.unread

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return False


async def test_an_editor_that_does_not_read_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "MAX_UNSENT", 10_000)
    editor = Connection(
        lambda client, authentication: Session(client, Settings(), LazyFeatures, authentication), Authentication()
    )
    transport = _Unread()
    editor.connection_made(transport)
    for number in range(200):
        if transport.reading:
            editor.data_received(frame(wire.request(number, "odd/early", {})))
    assert not transport.reading
    assert transport.unread < 12_000
    editor.pause_writing()
    assert editor.session.state.does_not_read
    editor.resume_writing()
    assert transport.reading
    assert not editor.session.state.does_not_read
