"""An editor's end of a session: bytes in, bytes out, over standard streams or a socket, bounded both ways."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import IO, cast

from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Frames, frame, header
from lsp_server.session.session import Admission, Session
from lsp_server.transport.threads import ThreadReader, ThreadWriter

log = logging.getLogger(__name__)

UNREAD = 64_000_000  # bytes that an editor has not read when we stop reading what it sends
LARGE = 1_000_000  # bytes of a message that are not copied to stand behind its header
INITIALIZE_BODY = 4_000_000  # bytes of a message before whoever is on a socket has shown its token
INITIALIZE_SECONDS = 30.0  # for it to do so
LAST_WORDS = 1.0  # seconds for what is unsent when the session has ended


def on_signals(stop: Callable[[], object]) -> None:
    """Call `stop` on SIGTERM and SIGINT."""
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            asyncio.get_running_loop().add_signal_handler(number, stop)
        except NotImplementedError:  # Windows: its default handling ends us, and our pipes end the children
            break


class Connection(asyncio.Protocol):
    """An editor on a pair of streams, or on a socket. `done` is set to the exit code when the session has ended."""

    def __init__(
        self, new_session: Callable[[Connection, Admission], Session], admission: Admission, *, is_socket: bool = False
    ) -> None:
        loop = asyncio.get_running_loop()
        self.done: asyncio.Future[int] = loop.create_future()
        self.session = new_session(self, admission)
        self._frames = Frames(is_socket=is_socket)
        self._writer: asyncio.WriteTransport | None = None
        self._reader: asyncio.ReadTransport | None = None
        self._holding = False  # nothing is read of an editor that does not read
        self._is_socket = is_socket
        self._writer_lost = False
        self._code: int | None = None  # of the exit, once the session has ended
        if is_socket:
            self._frames.max_body = INITIALIZE_BODY
            late = loop.call_later(INITIALIZE_SECONDS, self._late)
            self.done.add_done_callback(lambda _: late.cancel())

    # For a session

    def send(self, body: bytes) -> None:
        """Queue one message; an editor that does not read is not read either, from UNREAD bytes on."""
        if self._writer is None or self._writer.is_closing():
            return
        if len(body) > LARGE:
            self._writer.write(header(body))
            self._writer.write(body)
        else:
            self._writer.write(frame(body))
        if self._writer.get_write_buffer_size() > UNREAD and not self._holding:
            log.warning("the editor does not read what it is sent: nothing more is read of it until it does")
            self._read_on(False)

    def close(self, code: int) -> None:
        """The session has ended: the last messages go out, but nobody waits long for an editor that does not read."""
        self._code = code
        if self._writer is not None:
            unsent = self._writer.get_write_buffer_size()
            self._writer.close()
            if unsent and not self._writer_lost:
                asyncio.get_running_loop().call_later(LAST_WORDS, self._finish)
                return
        self._finish()

    def _finish(self) -> None:
        if self._code is not None and not self.done.done():
            self.done.set_result(self._code)

    def admitted(self) -> None:
        """Whoever is on the socket has shown its token: its messages may be as long as an editor's."""
        self._frames.max_body = wire.MAX_BODY

    # What the loop calls

    def connect(self, writer: asyncio.WriteTransport) -> None:
        self._writer = writer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._reader = cast(asyncio.ReadTransport, transport)
        if isinstance(transport, asyncio.WriteTransport):  # a socket: one transport both ways
            self._writer = transport

    def data_received(self, data: bytes) -> None:
        for body in self._frames.feed(data):
            if isinstance(body, wire.NotFrames):
                log.warning("a connection is closed: %s", body)
                self.session.closed_by_client()
                return
            self.session.from_client(body)

    def eof_received(self) -> bool:
        if self._frames.torn:
            log.warning("the editor's input ended inside a message")
        self.session.closed_by_client()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        if self._is_socket:
            self.writer_lost()
        self.session.closed_by_client()

    def writer_lost(self) -> None:
        """All that could be sent has been sent."""
        self._writer_lost = True
        self._finish()

    # A client that does not read holds up the wrapped servers instead of filling our memory.
    def pause_writing(self) -> None:
        for server in self.session.pool:
            server.pause(True)

    def resume_writing(self) -> None:
        self._read_on(True)
        for server in self.session.pool:
            server.pause(False)

    def _read_on(self, on: bool) -> None:
        self._holding = not on
        if self._reader is not None and not self._reader.is_closing():
            (self._reader.resume_reading if on else self._reader.pause_reading)()

    def _late(self) -> None:
        if not self.session.admission.given:
            log.warning("a connection is closed: no initialize within %g s", INITIALIZE_SECONDS)
            self.session.closed_by_client()

    # Standard streams

    async def use_standard_streams(self, *, threads: bool = sys.platform == "win32") -> None:
        """Speak with the editor that started us. From here on a stray print goes to stderr, never to the editor.

        `threads`: threads read and write, since Windows' event loop can't wait for the pipes that editors make.
        """
        out = os.fdopen(os.dup(1), "wb", 0)
        os.dup2(2, 1)
        if threads or not await self._writes_pipe(out):
            self.connect(cast(asyncio.WriteTransport, ThreadWriter(out, _Writing(self))))
        if threads or not await self._reads_pipe():
            self._reader = cast(asyncio.ReadTransport, ThreadReader(0, self.data_received, self.eof_received))

    async def _writes_pipe(self, out: IO[bytes]) -> bool:
        """Whether the loop can write to it."""
        try:
            writer, _ = await asyncio.get_running_loop().connect_write_pipe(lambda: _Writing(self), out)
        except (ValueError, OSError):  # a regular file
            return False
        self.connect(writer)
        return True

    async def _reads_pipe(self) -> bool:
        """Whether the loop can read standard input."""
        try:
            await asyncio.get_running_loop().connect_read_pipe(lambda: self, sys.stdin.buffer)
        except (ValueError, OSError):  # a regular file
            return False
        return True


class _Writing(asyncio.Protocol):
    """The protocol of the outgoing pipe: hands its flow control to the connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def pause_writing(self) -> None:
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._connection.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.writer_lost()
        self._connection.session.closed_by_client()
