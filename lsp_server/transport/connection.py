"""The connection to one editor, over standard streams or a socket. Limits how much is buffered in both directions."""

from __future__ import annotations

import asyncio
import logging
import os
import selectors
import signal
import sys
from collections.abc import Callable
from typing import IO, cast

from lsp_server.jsonrpc.frames import MAX_BODY, Frames, NotFrames, frame, header
from lsp_server.session.authentication import Authentication
from lsp_server.session.session import Session
from lsp_server.transport.threads import ThreadReader, ThreadWriter

log = logging.getLogger(__name__)

MAX_UNSENT = 64_000_000  # bytes in the write buffer above which we stop reading from the editor
LARGE = 1_000_000  # bytes from which a message is written separately from its header, to save a copy
INITIALIZE_BODY = 4_000_000  # maximum bytes of a message from a socket client that has not authenticated yet
INITIALIZE_SECONDS = 30.0  # a socket client must authenticate within this time
FLUSH_SECONDS = 1.0  # to send what is buffered once the session has ended


def on_signals(stop: Callable[[], object]) -> None:
    """Call `stop` on SIGTERM and SIGINT."""
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            asyncio.get_running_loop().add_signal_handler(number, stop)
        except (
            NotImplementedError
        ):  # Windows: the default handler ends this process; children end when their pipes close
            break


class Connection(asyncio.Protocol):
    """The connection to an editor. `done` gets the exit code (int) when the session has ended."""

    def __init__(
        self,
        new_session: Callable[[Connection, Authentication], Session],
        authentication: Authentication,
        *,
        is_socket: bool = False,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.done: asyncio.Future[int] = loop.create_future()
        self.session = new_session(self, authentication)
        self._frames = Frames(is_socket=is_socket)
        self._writer: asyncio.WriteTransport | None = None
        self._reader: asyncio.ReadTransport | None = None
        self._reading_paused = False  # because the editor does not read
        self._is_socket = is_socket
        self._writer_lost = False
        self._exit_code: int | None = None  # set once the session has ended
        if is_socket:
            self._frames.max_body = INITIALIZE_BODY
            timeout = loop.call_later(INITIALIZE_SECONDS, self._initialize_timed_out)
            self.done.add_done_callback(lambda _: timeout.cancel())

    # Called by the session

    def send(self, body: bytes) -> None:
        """Queue one message. While more than MAX_UNSENT bytes are queued, nothing is read from the editor."""
        if self._writer is None or self._writer.is_closing():
            return
        if len(body) > LARGE:
            self._writer.write(header(body))
            self._writer.write(body)
        else:
            self._writer.write(frame(body))
        if self._writer.get_write_buffer_size() > MAX_UNSENT and not self._reading_paused:
            log.warning("the editor does not read: Starling stops reading from it until it does")
            self._pause_reading(True)

    def close(self, code: int) -> None:
        """Close the connection after the session has ended. Queued messages get FLUSH_SECONDS to be sent."""
        self._exit_code = code
        if self._writer is not None:
            unsent = self._writer.get_write_buffer_size()
            self._writer.close()
            if unsent and not self._writer_lost:
                asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._finish)
                return
        self._finish()

    def _finish(self) -> None:
        if self._exit_code is not None and not self.done.done():
            if self._is_socket and self._writer is not None:
                self._writer.abort()  # `close` keeps the socket and its buffer until the client has read everything
            self.done.set_result(self._exit_code)

    def authenticated(self) -> None:
        """The client sent the right token: lift the limit on the size of its messages."""
        self._frames.max_body = MAX_BODY

    # Called by the event loop

    def connect(self, writer: asyncio.WriteTransport) -> None:
        """Send through this transport (standard output)."""
        self._writer = writer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._reader = cast(asyncio.ReadTransport, transport)
        if isinstance(transport, asyncio.WriteTransport):  # a socket: one transport both ways
            self._writer = transport

    def data_received(self, data: bytes) -> None:
        for body in self._frames.feed(data):
            if isinstance(body, NotFrames):
                log.warning("closing a connection that does not speak LSP: %s", body)
                self.session.abort()
                return
            self.session.from_client(body)

    def eof_received(self) -> bool:
        if self._frames.torn:
            log.warning("the input from the editor ended in the middle of a message")
        self.session.abort()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        if self._is_socket:
            self.writer_lost()
        self.session.abort()

    def writer_lost(self) -> None:
        """Nothing more can be sent."""
        self._writer_lost = True
        self._finish()

    def pause_writing(self) -> None:
        self.session.pause_servers(True)

    def resume_writing(self) -> None:
        self._pause_reading(False)
        self.session.pause_servers(False)

    def _pause_reading(self, paused: bool) -> None:
        self._reading_paused = paused
        if self._reader is not None and not self._reader.is_closing():
            (self._reader.pause_reading if paused else self._reader.resume_reading)()

    def _initialize_timed_out(self) -> None:
        if not self.session.authentication.succeeded:
            log.warning("closing a connection: no initialize request with the token within %g s", INITIALIZE_SECONDS)
            self.session.abort()

    # Standard streams

    async def use_standard_streams(self, *, threads: bool = sys.platform == "win32") -> None:
        """Connect to the editor that started this process. From here on `print` writes to stderr, never to the editor.

        `threads`: use threads to read and write. Windows' event loop can't wait for the pipes that editors create.
        """
        out = os.fdopen(os.dup(1), "wb", 0)
        os.dup2(2, 1)
        if threads or not await self._connect_output_pipe(out):
            self.connect(cast(asyncio.WriteTransport, ThreadWriter(out, _OutputProtocol(self))))
        if threads or not await self._connect_input_pipe():
            self._reader = cast(asyncio.ReadTransport, ThreadReader(0, self.data_received, self.eof_received))

    async def _connect_output_pipe(self, out: IO[bytes]) -> bool:
        """Write to `out` with the event loop. Returns False if the loop can't."""
        try:
            writer, _ = await asyncio.get_running_loop().connect_write_pipe(lambda: _OutputProtocol(self), out)
        except (ValueError, OSError):  # a regular file
            return False
        self.connect(writer)
        return True

    async def _connect_input_pipe(self) -> bool:
        """Read standard input with the event loop. Returns False if the loop can't."""
        try:
            with selectors.DefaultSelector() as selector:  # asyncio finds out only when it is too late to say so
                selector.register(0, selectors.EVENT_READ)
            await asyncio.get_running_loop().connect_read_pipe(lambda: self, sys.stdin.buffer)
        except (ValueError, OSError):  # a regular file, or /dev/null
            return False
        return True


class _OutputProtocol(asyncio.Protocol):
    """The asyncio protocol of the output pipe. Passes flow control on to the connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def pause_writing(self) -> None:
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._connection.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.writer_lost()
        self._connection.session.abort()
