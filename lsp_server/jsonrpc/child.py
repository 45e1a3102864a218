"""A child process that exchanges frames over its standard streams. Knows nothing of their content.

When Starling ends, a `guarded` child is killed with every process that it started: it runs below a small supervisor process
(`guard`), or on Windows in a job object (`job`). A child that is not guarded ends by itself when its standard input closes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

from lsp_server.jsonrpc.frames import MAX_REPLY, Frames, frame
from lsp_server.jsonrpc.wire import WireError

log = logging.getLogger(__name__)

STDERR_LINES = 40
LONGEST_LINE = 4096  # bytes kept of a line on standard error
MAX_UNSENT = 1 << 18  # bytes in the pipe to a child above which `on_flow(True)` is called
DRAIN_SECONDS = 0.5  # to read what a child wrote before it exited
SILENT_GRACE = 1.0  # seconds in which a child must exit after it closed its output
GUARD = str(Path(__file__).with_name("guard.py"))
# On Windows: Ctrl+C in our console does not reach the child, and no console window opens for it.
CREATION_FLAGS = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW if sys.platform == "win32" else 0
SIGKILL = getattr(signal, "SIGKILL", signal.SIGTERM)


class Child(asyncio.SubprocessProtocol):
    """A running child process. The callbacks run on the event loop.

    `on_body` gets each message body, or a WireError for bytes that are not a message. `on_exit` gets the exit code, once.
    `on_flow` gets True when the child does not keep up with what is sent, and False when it does again.
    """

    def __init__(
        self,
        name: str,
        on_body: Callable[[bytes | WireError], None],
        on_exit: Callable[[int], None],
        on_flow: Callable[[bool], None],
        stderr_level: int,
    ) -> None:
        self.name = name
        self.pid = 0
        self.stderr_tail: deque[str] = deque(maxlen=STDERR_LINES)
        self._on_body, self._on_exit, self._on_flow = on_body, on_exit, on_flow
        self._stderr_level = stderr_level
        self._stderr = b""  # the beginning of a line that is not complete yet
        self._frames = Frames(MAX_REPLY)
        self._stopping = False
        self._transport: asyncio.SubprocessTransport | None = None
        self._kill_tree: Callable[[], None] | None = None  # kills the child and every process that it started
        self._exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        *,
        on_body: Callable[[bytes | WireError], None],
        on_exit: Callable[[int], None],
        on_flow: Callable[[bool], None] = lambda held: None,
        name: str = "",
        guarded: bool = True,
        stderr_level: int = logging.DEBUG,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Child:
        """Start `command`, without a shell. Raises OSError if it can't be started. If cancelled, no process is left."""

        def child() -> Child:
            return cls(name or command[0], on_body, on_exit, on_flow, stderr_level)

        spawn = _spawn_guarded if guarded else _spawn
        spawning = asyncio.get_running_loop().create_task(spawn(child, command, cwd, env))
        try:
            return await asyncio.shield(spawning)
        except asyncio.CancelledError:
            await asyncio.wait([spawning])
            if not spawning.cancelled() and spawning.exception() is None:
                await spawning.result().stop(grace=0.0)
            raise

    @property
    def alive(self) -> bool:
        return not self._exited.done()

    def send(self, body: bytes) -> None:
        """Queue one message. Never blocks. A message to a child that has ended is discarded."""
        stdin = self._pipe(0)
        if stdin is not None and not stdin.is_closing():
            cast(asyncio.WriteTransport, stdin).write(frame(body))

    def pause(self, paused: bool) -> None:
        """Stop or resume reading its output, because the reader behind us does not keep up."""
        stdout = cast(asyncio.ReadTransport | None, self._pipe(1))
        if stdout is not None and not stdout.is_closing():
            (stdout.pause_reading if paused else stdout.resume_reading)()

    async def stop(self, grace: float = 2.0) -> None:
        """Close its stdin and wait `grace` seconds. If it still runs: SIGTERM, then kill it and every process that it started."""
        self._stopping = True
        stdin = self._pipe(0)
        if stdin is not None:
            stdin.close()
        for end, patience in ((None, grace), (self._terminate, 1.0), (self.kill, 2.0), (self._kill_leader, 1.0)):
            if end is not None and self.alive:
                log.info("%s (pid %s) is still running", self.name, self.pid)
                end()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._exited), patience)
                break
        self._close()

    def kill(self) -> None:
        """Kill it at once, with every process that it started."""
        if self._kill_tree is not None:
            self._kill_everything()
        elif self.alive:
            self._kill_leader()

    def _kill_everything(self) -> None:
        if self._kill_tree is not None:
            self._kill_tree()
            self._kill_tree = None

    def _terminate(self) -> None:
        if self.alive and self._transport is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._transport.get_pid(), signal.SIGTERM)

    def _kill_leader(self) -> None:
        """Kill the process that we started: the guard if there is one. Its pid can't be reused before we reap it."""
        if self.alive and self._transport is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._transport.get_pid(), SIGKILL)

    def _close(self) -> None:
        self._kill_everything()
        if self._transport is not None:
            self._transport.close()

    def _pipe(self, fd: int) -> asyncio.BaseTransport | None:
        return None if self._transport is None else self._transport.get_pipe_transport(fd)

    # Called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)
        self.pid = self._transport.get_pid()
        stdin = cast(asyncio.WriteTransport | None, self._pipe(0))
        if stdin is not None:
            stdin.set_write_buffer_limits(high=MAX_UNSENT)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 2:
            self._take_stderr(data)
            return
        for body in self._frames.feed(data):
            try:
                self._on_body(body)
            except Exception:  # the other messages must be handled
                log.exception("a defect in Starling: a message of %s was not handled", self.name)

    def _take_stderr(self, data: bytes) -> None:
        *lines, self._stderr = (self._stderr + data).split(b"\n")
        if len(self._stderr) > LONGEST_LINE:
            lines, self._stderr = [*lines, self._stderr], b""
        for line in lines:
            text = line[:LONGEST_LINE].decode(errors="replace").rstrip("\r")
            self.stderr_tail.append(text)
            log.log(self._stderr_level, "%s: %s", self.name, text)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == 2 and self._stderr:
            self._take_stderr(b"\n")
        if fd == 1 and self.alive:
            asyncio.get_running_loop().call_later(SILENT_GRACE, self._end_silent)

    def _end_silent(self) -> None:
        if self.alive and not self._stopping:
            log.warning("%s closed its output but did not exit: killing it", self.name)
            self.kill()

    def pause_writing(self) -> None:
        self._on_flow(True)

    def resume_writing(self) -> None:
        self._on_flow(False)

    def process_exited(self) -> None:
        """The pipes may still hold what it wrote last. Wait for their end, but not long: another process may keep them open."""
        asyncio.get_running_loop().call_later(DRAIN_SECONDS, self._drained)

    def _drained(self) -> None:
        """If the loop was busy all the time, what it has just read is handed to us by callbacks that come after this one."""
        asyncio.get_running_loop().call_soon(self._report_exit)

    def connection_lost(self, exc: Exception | None) -> None:
        self._report_exit()

    def _report_exit(self) -> None:
        if not self._exited.done():
            assert self._transport is not None
            code = self._transport.get_returncode()
            self._exited.set_result(0 if code is None else code)
            if self._frames.torn:
                log.warning("%s exited in the middle of a message", self.name)
            self._on_exit(0 if code is None else code)

    # Called by the functions below

    def set_guard(self, kill_tree: Callable[[], None], pid: int) -> None:
        """`pid` is the command's own process; `kill_tree` kills it and every process that it started."""
        self._kill_tree, self.pid = kill_tree, pid


async def _spawn(
    child: Callable[[], Child], command: Sequence[str], cwd: str | None, env: Mapping[str, str] | None
) -> Child:
    _, started = await asyncio.get_running_loop().subprocess_exec(
        child,
        *command,
        cwd=cwd,
        env=None if env is None else dict(env),
        start_new_session=True,
        creationflags=CREATION_FLAGS,
    )
    return started


if sys.platform == "win32":

    async def _spawn_guarded(
        child: Callable[[], Child], command: Sequence[str], cwd: str | None, env: Mapping[str, str] | None
    ) -> Child:
        from lsp_server.jsonrpc.job import Job

        started = await _spawn(child, command, cwd, env)
        try:
            started.set_guard(Job(started.pid).end, started.pid)
        except OSError as error:  # it still ends by itself when its standard input closes
            log.warning("%s can't be put into a job object: %s", command[0], error)
        return started

else:

    async def _spawn_guarded(
        child: Callable[[], Child], command: Sequence[str], cwd: str | None, env: Mapping[str, str] | None
    ) -> Child:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            with theirs:
                _, started = await loop.subprocess_exec(
                    child,
                    *(sys.executable, "-I", "-S", GUARD, str(theirs.fileno())),
                    *command,
                    cwd=cwd,
                    env=None if env is None else dict(env),
                    start_new_session=True,
                    pass_fds=(theirs.fileno(),),
                )
            said = (await loop.sock_recv(ours, 64)).split()
            if len(said) != 2 or said[0] != b"started":
                number = int(said[1]) if len(said) == 2 else 0
                raise OSError(number, os.strerror(number) if number else "its guard process exited")
        except BaseException:
            ours.close()
            raise
        started.set_guard(ours.close, int(said[1]))  # the guard kills everything when it reads the socket's end of file
        return started
