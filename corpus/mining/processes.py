"""A process of this machine that works on pieces one after another, seen from both ends.

It never outlives the process that started it: the pipe between them closes, and on Linux the kernel kills it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Generic, TypeVar, final

T = TypeVar("T")
R = TypeVar("R")

STARTING = 120.0  # seconds at least until a process is ready: it loads libraries
ENDING = 5.0  # seconds to wait for one that was killed
PR_SET_PDEATHSIG = 1


class Died(Exception):
    """The process is gone."""


@final
class Worker(Generic[T, R]):
    """The process, and the pieces that it was given. It works on the first of them, `seconds` at most."""

    def __init__(self, function: Callable[[T], R], seconds: float) -> None:
        # Spawned, not forked: libraries that are loaded here have threads that a fork would lack. It is a child of this
        # thread, and is killed when that ends.
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.pieces: deque[T] = deque()
        self._seconds = seconds
        self._until = time.monotonic() + max(STARTING, seconds)
        self._process = context.Process(target=_serve, args=(theirs, function, os.getpid()), daemon=True)
        try:
            self._process.start()
        finally:
            theirs.close()

    def give(self, piece: T) -> None:
        """Another piece of work, after those that it has."""
        if not self.pieces:
            self._until = max(self._until, time.monotonic() + self._seconds)
        self.pieces.append(piece)
        with contextlib.suppress(OSError):  # it died: `take` will say so
            self.connection.send_bytes(pickle.dumps(piece))

    def take(self) -> tuple[T, R | Exception] | None:
        """The first piece and what became of it; None where the process says that it is ready. Raises Died."""
        try:
            said = self.connection.recv_bytes()
        except (EOFError, OSError):
            raise Died from None
        self._until = time.monotonic() + self._seconds
        return (self.pieces.popleft(), pickle.loads(said)) if said else None

    def overdue(self) -> bool:
        """Whether it has been at its first piece for too long, and still is."""
        return self.left() <= 0 and not self.connection.poll()

    def left(self) -> float:
        """Seconds until its first piece takes too long."""
        return self._until - time.monotonic()

    def stop(self) -> None:
        """End it, whatever it is at: it only reads."""
        self._process.kill()
        self._process.join(ENDING)
        self.connection.close()


def _serve(connection: Connection, function: Callable[[T], R], parent: int) -> None:
    _end_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent decides
    pieces: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_receive, args=(connection, pieces), daemon=True).start()
    connection.send_bytes(b"")
    while True:
        connection.send_bytes(_outcome(function, pieces.get()))


def _end_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before
            os._exit(1)


def _receive(connection: Connection, pieces: SimpleQueue[bytes]) -> None:
    """Take in pieces while the process works; without a parent there is nothing to work for."""
    while True:
        try:
            pieces.put(connection.recv_bytes())
        except (EOFError, OSError):
            os._exit(1)


def _outcome(function: Callable[[T], R], piece: bytes) -> bytes:
    try:
        return pickle.dumps(function(pickle.loads(piece)))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a library's panic (pyo3) is no Exception
        return pickle.dumps(portable(error))


def portable(error: BaseException) -> Exception:
    """The error, or one that says the same and can be unpickled."""
    try:
        again = pickle.loads(pickle.dumps(error))
    except Exception as unpickled:
        again = unpickled
    if isinstance(error, Exception) and type(again) is type(error):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")
