"""Threads that read and write standard streams that the event loop can't wait for: on Windows, and regular files."""

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
HIGH_WATER, LOW_WATER = 1 << 16, 1 << 14  # unsent bytes: writing is paused above the first, resumed below the second


class WriterCallbacks(Protocol):
    """Callbacks of a ThreadWriter, called on the event loop."""

    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def connection_lost(self, exc: Exception | None) -> None:
        """Writing has ended: everything was written (`exc` is None), or the stream failed."""
        ...


class ThreadWriter:
    """The part of asyncio.WriteTransport that Connection uses. `write` never blocks: a thread does the writing."""

    def __init__(self, file: IO[bytes], callbacks: WriterCallbacks) -> None:
        self._file, self._callbacks = file, callbacks
        self._loop = asyncio.get_running_loop()
        self._changed = threading.Condition()  # guards the next three
        self._queue: deque[bytes] = deque()
        self._unsent = 0
        self._closing = False
        self._paused = False  # used on the event loop only
        threading.Thread(target=self._run, name="stdout", daemon=True).start()

    def write(self, data: bytes) -> None:
        with self._changed:
            if self._closing:
                return
            self._queue.append(data)
            self._unsent += len(data)
            self._changed.notify()
            full = self._unsent > HIGH_WATER
        if full and not self._paused:
            self._paused = True
            self._callbacks.pause_writing()

    def get_write_buffer_size(self) -> int:
        with self._changed:
            return self._unsent

    def is_closing(self) -> bool:
        with self._changed:
            return self._closing

    def close(self) -> None:
        """Write what is queued, then close the file and end the thread."""
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
                    low = self._unsent < LOW_WATER
                if low:
                    self._call(self._resume)
        except OSError as failed:
            error = failed
            self.close()
        finally:
            with contextlib.suppress(OSError):
                self._file.close()
            self._call(lambda: self._callbacks.connection_lost(error))

    def _next(self) -> bytes | None:
        """Wait for the next bytes to write. Returns None once `close` was called and the queue is empty."""
        with self._changed:
            while not self._queue and not self._closing:
                self._changed.wait()
            return self._queue.popleft() if self._queue else None

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            self._callbacks.resume_writing()

    def _call(self, function: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the event loop is closed
            self._loop.call_soon_threadsafe(function)


class ThreadReader:
    """The part of asyncio.ReadTransport that Connection uses.

    Calls `on_data` and, at the end of the file, `on_eof` on the event loop.
    """

    def __init__(self, fd: int, on_data: Callable[[bytes], None], on_eof: Callable[[], object]) -> None:
        self._fd, self._on_data, self._on_eof = fd, on_data, on_eof
        self._loop = asyncio.get_running_loop()
        self._delivered = threading.Semaphore(1)  # one chunk at a time is on its way to the loop
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
        with contextlib.suppress(RuntimeError):  # the event loop is closed
            while data := self._read():
                self._delivered.acquire()
                self._reading.wait()
                self._loop.call_soon_threadsafe(self._deliver, data)
            self._loop.call_soon_threadsafe(self._on_eof)

    def _read(self) -> bytes:
        try:
            return os.read(self._fd, CHUNK)
        except OSError as error:  # Windows reports a closed pipe this way
            log.info("standard input was closed: %s", error)
            return b""

    def _deliver(self, data: bytes) -> None:
        try:
            self._on_data(data)
        finally:
            self._delivered.release()
