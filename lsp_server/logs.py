"""Configures logging: to stderr, and to a file per process in the user's log folder. Never to stdout, which the editor reads.

Logging never blocks: one thread per destination writes the lines. If a destination does not keep up (an editor that does not
read stderr, a slow disk), lines are dropped there and their number is logged.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import platformdirs

FORMAT = "%(asctime)s %(process)d %(name)s %(levelname)s %(message)s"
MAX_BYTES = 2_000_000  # of a log file; a full one is renamed to .log.1, and a new one is begun
KEPT_FILES = 10  # log files that are kept, of all processes
MAX_QUEUED = 2000  # lines per destination
FLUSH_SECONDS = 0.5  # to write the queued lines at exit


def log_folder() -> Path:
    """The user's log folder on this system."""
    return Path(platformdirs.user_log_dir("starling", appauthor=False))


def log_file() -> Path:
    """The log file of this process. Each process has its own, because two would overwrite each other's lines."""
    return log_folder() / f"starling-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"


def configure_logging() -> None:
    """Configure logging, with the level from STARLING_LOG (default INFO). If the folder is not writable, there is no file."""
    handlers: list[logging.Handler] = [_BackgroundHandler("stderr", _write_to_stderr)]
    missing = ""
    try:
        path = log_file()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _remove_old(path.parent)
        handlers.append(_BackgroundHandler("log file", _RotatingFile(path).write))
    except OSError as error:
        missing = str(error)
    logging.basicConfig(level=os.environ.get("STARLING_LOG", "INFO").upper(), format=FORMAT, handlers=handlers)
    logging.raiseExceptions = False
    if missing:
        logging.getLogger(__name__).warning("there is no log file, because the log folder is not writable: %s", missing)


class _BackgroundHandler(logging.Handler):
    """Queues lines for a thread that calls `write`. An OSError of `write` ends the thread, and later lines are dropped."""

    def __init__(self, name: str, write: Callable[[str], object]) -> None:
        super().__init__()
        self._write = write
        self._queue: deque[str] = deque()
        self._dropped = 0
        self._changed = threading.Condition()
        self._failed = False
        self._idle = True
        threading.Thread(target=self._work, name=f"log to {name}", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        with self._changed:
            if self._failed or len(self._queue) >= MAX_QUEUED:
                self._dropped += 1
            else:
                self._queue.append(line)
                self._changed.notify()

    def flush(self) -> None:
        """Wait until the queued lines are written, at most FLUSH_SECONDS."""
        until = time.monotonic() + FLUSH_SECONDS
        with self._changed:
            while (self._queue or not self._idle) and not self._failed and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._idle = True
                self._changed.notify_all()
                while not self._queue:
                    self._changed.wait()
                self._idle = False
                lines = list(self._queue)
                self._queue.clear()
                if self._dropped:
                    lines.append(f"({self._dropped} lines were dropped, because the reader did not keep up)")
                    self._dropped = 0
            try:
                for line in lines:
                    self._write(line + "\n")
            except OSError:  # the stream is closed or the disk is full: there is nowhere to report it
                with self._changed:
                    self._failed = True
                    self._queue.clear()
                    self._changed.notify_all()
                return


def _write_to_stderr(text: str) -> None:
    data = memoryview(text.encode("utf-8", "backslashreplace"))
    while data:
        data = data[os.write(2, data) :]


class _RotatingFile:
    """A log file of at most MAX_BYTES. Only its owner can read it (mode 0600), since log lines contain file names."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = self._open()
        self._size = 0

    def write(self, text: str) -> None:
        data = text.encode("utf-8", "backslashreplace")
        if self._size + len(data) > MAX_BYTES:
            os.close(self._fd)
            self._path.replace(self._path.with_suffix(".log.1"))
            self._fd, self._size = self._open(), 0
        self._size += os.write(self._fd, data)

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def _remove_old(folder: Path) -> None:
    """Delete the oldest log files, so that with ours KEPT_FILES are left."""
    found: list[tuple[float, Path]] = []
    for path in folder.glob("starling*.log*"):
        with contextlib.suppress(OSError):  # another process may delete it at the same time
            found.append((path.stat().st_mtime, path))
    for _, path in sorted(found, reverse=True)[KEPT_FILES - 1 :]:
        with contextlib.suppress(OSError):
            path.unlink()
