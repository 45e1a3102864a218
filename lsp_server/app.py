"""The composition root: the only place that builds objects. Imports nothing heavy.

Connects a session to its editor, by standard streams or TCP.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from typing import cast

from lsp_server.features.completion import completion
from lsp_server.features.rank import rank
from lsp_server.features.resolve import resolve
from lsp_server.features.status import status
from lsp_server.session import Session
from lsp_server.settings import Settings
from lsp_server.wire import Frames, frame

log = logging.getLogger(__name__)

OWNED = {
    "textDocument/completion": completion,
    "completionItem/resolve": resolve,
    "starling/rank": rank,
    "starling/status": status,
}


class Connection(asyncio.Protocol):
    """An editor on a pair of streams. `done` is set to the exit code when the session has ended."""

    def __init__(self, settings: Settings) -> None:
        self.done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.session = Session(self, settings, OWNED)
        self._frames = Frames()
        self._writer: asyncio.WriteTransport | None = None

    def connect(self, writer: asyncio.WriteTransport) -> None:
        self._writer = writer

    def send(self, body: bytes) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(frame(body))

    def close(self, code: int) -> None:
        if not self.done.done():
            self.done.set_result(code)
        if self._writer is not None:
            self._writer.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.WriteTransport):  # TCP: one transport both ways
            self._writer = transport

    def data_received(self, data: bytes) -> None:
        for body in self._frames.feed(data):
            self.session.from_client(body)

    def eof_received(self) -> bool:
        self.session.closed_by_client()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.session.closed_by_client()

    # A client that does not read holds up the wrapped server instead of filling our memory.
    def pause_writing(self) -> None:
        for server in self.session.fleet:
            server.pause(True)

    def resume_writing(self) -> None:
        for server in self.session.fleet:
            server.pause(False)


class _Writing(asyncio.Protocol):
    """The protocol of the outgoing pipe: hands its flow control to the connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def pause_writing(self) -> None:
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._connection.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.session.closed_by_client()


async def serve_stdio(settings: Settings) -> int:
    """Serve one editor on stdin and stdout. Returns the exit code."""
    loop = asyncio.get_running_loop()
    out = os.dup(1)
    os.dup2(2, 1)  # a stray print must never reach the editor
    connection = Connection(settings)
    await _connect_output(loop, connection, out)
    await _connect_input(loop, connection)
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(number, connection.session.closed_by_client)
        except NotImplementedError:  # Windows: its default handling ends us, and our pipes end the children
            break
    return await connection.done


async def _connect_output(loop: asyncio.AbstractEventLoop, connection: Connection, out: int) -> None:
    try:
        writer, _ = await loop.connect_write_pipe(lambda: _Writing(connection), os.fdopen(out, "wb", 0))
        connection.connect(writer)
    except (ValueError, NotImplementedError, OSError):  # a regular file, or Windows
        connection.connect(cast(asyncio.WriteTransport, _BlockingWriter(out)))


async def _connect_input(loop: asyncio.AbstractEventLoop, connection: Connection) -> None:
    try:
        await loop.connect_read_pipe(lambda: connection, sys.stdin.buffer)
    except (ValueError, NotImplementedError, OSError):

        def read() -> None:
            while data := os.read(0, 1 << 16):
                loop.call_soon_threadsafe(connection.data_received, data)
            loop.call_soon_threadsafe(connection.eof_received)

        threading.Thread(target=read, name="stdin", daemon=True).start()


class _BlockingWriter:
    """Just enough of a WriteTransport over a file descriptor that can't be polled."""

    def __init__(self, fd: int) -> None:
        self._file = os.fdopen(fd, "wb", 0)

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) or 0 :]

    def is_closing(self) -> bool:
        return self._file.closed

    def close(self) -> None:
        self._file.close()


async def serve_tcp(settings: Settings, host: str, port: int) -> int:
    """Serve every editor that connects, each with a session (and wrapped server) of its own, until interrupted."""
    loop = asyncio.get_running_loop()
    connections: set[Connection] = set()

    def accept() -> Connection:
        connection = Connection(settings)
        connections.add(connection)
        connection.done.add_done_callback(lambda _: connections.discard(connection))
        return connection

    server = await loop.create_server(accept, host, port)
    for socket in server.sockets:
        address = socket.getsockname()
        print(f"Starling listens on {address[0]}:{address[1]}", file=sys.stderr, flush=True)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(number, stop.set)
        except NotImplementedError:
            break
    await stop.wait()
    server.close()
    open_connections = list(connections)
    for connection in open_connections:
        connection.session.closed_by_client()
    await asyncio.gather(*(connection.done for connection in open_connections))
    return 0
