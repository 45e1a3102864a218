"""A child process that speaks frames on its standard streams. It knows nothing of what the frames say.

A child never outlives its parent: its stdin closes with us everywhere, and on Linux the kernel also kills it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import cast

from lsp_server.wire import Frames, WireError, frame

log = logging.getLogger(__name__)

STDERR_LINES = 40
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _die_with_parent() -> None:  # runs in the child, between fork and exec
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Child(asyncio.SubprocessProtocol):
    """A running child. `on_body` gets each message, `on_exit` the exit code once, both on the loop."""

    def __init__(self, name: str, on_body: Callable[[bytes], None], on_exit: Callable[[int], None]) -> None:
        self.name = name
        self.stderr_tail: deque[str] = deque(maxlen=STDERR_LINES)
        self._on_body = on_body
        self._on_exit = on_exit
        self._frames = Frames()
        self._transport: asyncio.SubprocessTransport | None = None
        self._exited = asyncio.get_running_loop().create_future()

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        *,
        on_body: Callable[[bytes], None],
        on_exit: Callable[[int], None],
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Child:
        """Start `command` (no shell). Raises OSError where it can't be started."""
        loop = asyncio.get_running_loop()
        _, child = await loop.subprocess_exec(
            lambda: cls(command[0], on_body, on_exit),
            *command,
            cwd=cwd,
            env=None if env is None else dict(env),
            start_new_session=True,  # one group to end, wrappers and their children alike
            preexec_fn=_die_with_parent if _libc is not None else None,
        )
        return child

    @property
    def pid(self) -> int:
        assert self._transport is not None
        return self._transport.get_pid()

    @property
    def alive(self) -> bool:
        return not self._exited.done()

    def send(self, body: bytes) -> None:
        """Queue one message. Never blocks; a child that has gone swallows it."""
        stdin = self._pipe(0)
        if stdin is not None and not stdin.is_closing():
            cast(asyncio.WriteTransport, stdin).write(frame(body))

    def pause(self, paused: bool) -> None:
        """Stop (or go on) reading its output, for a reader downstream that can't keep up."""
        stdout = cast(asyncio.ReadTransport | None, self._pipe(1))
        if stdout is not None and not stdout.is_closing():
            (stdout.pause_reading if paused else stdout.resume_reading)()

    async def stop(self, grace: float = 2.0) -> None:
        """Close its stdin, wait, then end its whole group: politely first, then not."""
        stdin = self._pipe(0)
        if stdin is not None:
            stdin.close()
        for ending in (None, signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
            if ending is not None:
                self._signal(ending)
            try:
                await asyncio.wait_for(asyncio.shield(self._exited), grace if ending is None else 1.0)
                break
            except TimeoutError:
                log.info("%s (pid %s) is still there", self.name, self.pid)
        self._signal(getattr(signal, "SIGKILL", signal.SIGTERM))  # what the leader left behind in its group
        if self._transport is not None:
            self._transport.close()

    def kill(self) -> None:
        self._signal(getattr(signal, "SIGKILL", signal.SIGTERM))

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if sys.platform == "win32":
                if self.alive and self._transport is not None:
                    self._transport.kill()
            else:
                os.killpg(self.pid, number)

    def _pipe(self, fd: int) -> asyncio.BaseTransport | None:
        return None if self._transport is None else self._transport.get_pipe_transport(fd)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 2:
            for line in data.decode(errors="replace").splitlines():
                self.stderr_tail.append(line)
                log.info("%s: %s", self.name, line)
            return
        for body in self._frames.feed(data):
            if isinstance(body, WireError):
                log.warning("%s sent bytes that are no message: %s", self.name, body)
            else:
                self._on_body(body)

    def process_exited(self) -> None:
        if not self._exited.done():
            assert self._transport is not None
            code = self._transport.get_returncode()
            self._exited.set_result(code)
            if self._frames.torn:
                log.warning("%s ended inside a message", self.name)
            self._on_exit(0 if code is None else code)
