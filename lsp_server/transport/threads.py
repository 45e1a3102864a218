"""Standard streams read and written by threads, where the event loop can't wait for them: on Windows, and for regular files."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import IO, Protocol

log = logging.getLogger(__name__)

CHUNK = 1 << 16  # bytes read at once
HIGH, LOW = 1 << 16, 1 << 14  # unsent bytes above which the sender is paused, and below which it goes on


class Writes(Protocol):
    """Who writes; called on the loop."""

    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def connection_lost(self, exc: Exception | None) -> None:
        """All has been written (None), or nothing more can be."""
        ...


class ThreadWriter:
    """What a WriteTransport is to a connection. `write` never blocks; a thread of its own writes."""

    def __init__(self, file: IO[bytes], owner: Writes) -> None:
        self._file, self._owner = file, owner
        self._loop = asyncio.get_running_loop()
        self._changed = threading.Condition()  # guards what follows
        self._waiting: deque[bytes] = deque()
        self._unsent = 0
        self._closing = False
        self._paused = False  # the loop's alone
        threading.Thread(target=self._run, name="stdout", daemon=True).start()

    def write(self, data: bytes) -> None:
        with self._changed:
            if self._closing:
                return
            self._waiting.append(data)
            self._unsent += len(data)
            self._changed.notify()
            full = self._unsent > HIGH
        if full and not self._paused:
            self._paused = True
            self._owner.pause_writing()

    def get_write_buffer_size(self) -> int:
        with self._changed:
            return self._unsent

    def is_closing(self) -> bool:
        with self._changed:
            return self._closing

    def close(self) -> None:
        """Write what is there, and end."""
        with self._changed:
            self._closing = True
            self._changed.notify()

    def _run(self) -> None:
        error = None
        try:
            while (data := self._next()) is not None:
                view = memoryview(data)
                while view:
                    view = view[self._file.write(view) or 0 :]
                with self._changed:
                    self._unsent -= len(data)
                    low = self._unsent < LOW
                if low:
                    self._call(self._resume)
        except OSError as failed:
            error = failed
            self.close()
        finally:
            with contextlib.suppress(OSError):
                self._file.close()
            self._call(lambda: self._owner.connection_lost(error))

    def _next(self) -> bytes | None:
        """The next bytes to write; None once all has been written after `close`."""
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait()
            return self._waiting.popleft() if self._waiting else None

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            self._owner.resume_writing()

    def _call(self, function: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(function)


class ThreadReader:
    """What a ReadTransport is to a connection: `received` gets bytes on the loop, `ended` hears the end of file."""

    def __init__(self, fd: int, received: Callable[[bytes], None], ended: Callable[[], object]) -> None:
        self._fd, self._received, self._ended = fd, received, ended
        self._loop = asyncio.get_running_loop()
        self._taken = threading.Semaphore(1)  # a chunk at a time
        self._reading = threading.Event()
        self._reading.set()
        threading.Thread(target=self._run, name="stdin", daemon=True).start()

    def pause_reading(self) -> None:
        self._reading.clear()

    def resume_reading(self) -> None:
        self._reading.set()

    def is_closing(self) -> bool:
        return False

    def _run(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            while data := self._read():
                self._taken.acquire()
                self._reading.wait()
                self._loop.call_soon_threadsafe(self._take, data)
            self._loop.call_soon_threadsafe(self._ended)

    def _read(self) -> bytes:
        try:
            return os.read(self._fd, CHUNK)
        except OSError as error:  # on Windows a pipe whose other end has gone
            log.info("standard input has ended: %s", error)
            return b""

    def _take(self, data: bytes) -> None:
        try:
            self._received(data)
        finally:
            self._taken.release()
