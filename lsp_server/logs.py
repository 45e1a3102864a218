"""Where log lines go: stderr, and a file of this process in the user's log folder. Never stdout, which is the editor's.

Nothing here waits: lines are written by a thread for each place, and where one does not keep up (an editor that does not
read stderr, a slow disk) lines are left out there, and their number is said.
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
MAX_BYTES = 2_000_000  # of a process's file; what was before them is kept once more
KEPT_FILES = 10  # of processes that started before
WAITING = 2000  # lines for one place
LAST_WORDS = 0.5  # seconds for what waits when we end


def log_folder() -> Path:
    return Path(platformdirs.user_log_dir("starling", appauthor=False))


def log_file() -> Path:
    """This process's own: two that wrote one file would cut off each other's lines."""
    return log_folder() / f"starling-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"


def to_stderr_and_file() -> None:
    """Set logging up. A home that can't be written costs the file and nothing else."""
    handlers: list[logging.Handler] = [_Background("stderr", _write_to_stderr)]
    missing = ""
    try:
        path = log_file()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _remove_old(path.parent)
        handlers.append(_Background("log file", _Rotating(path).write))
    except OSError as error:
        missing = str(error)
    logging.basicConfig(level=os.environ.get("STARLING_LOG", "INFO").upper(), format=FORMAT, handlers=handlers)
    logging.raiseExceptions = False
    if missing:
        logging.getLogger(__name__).warning("no log file: %s", missing)


class _Background(logging.Handler):
    """Hands lines to a thread of its own, which `write`s them; OSError ends it. At the end it gets LAST_WORDS to finish."""

    def __init__(self, name: str, write: Callable[[str], object]) -> None:
        super().__init__()
        self._write = write
        self._lines: deque[str] = deque()
        self._left_out = 0
        self._news = threading.Condition()
        self._ended = False
        self._idle = True
        threading.Thread(target=self._work, name=f"log to {name}", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        with self._news:
            if self._ended or len(self._lines) >= WAITING:
                self._left_out += 1
            else:
                self._lines.append(line)
                self._news.notify()

    def flush(self) -> None:
        """Wait for what there is to be written, but not for long."""
        until = time.monotonic() + LAST_WORDS
        with self._news:
            while (self._lines or not self._idle) and not self._ended and (left := until - time.monotonic()) > 0:
                self._news.wait(left)

    def _work(self) -> None:
        while True:
            with self._news:
                self._idle = True
                self._news.notify_all()
                while not self._lines:
                    self._news.wait()
                self._idle = False
                lines = list(self._lines)
                self._lines.clear()
                if self._left_out:
                    lines.append(f"({self._left_out} lines are left out: they were not read in time)")
                    self._left_out = 0
            try:
                for line in lines:
                    self._write(line + "\n")
            except OSError:  # nobody reads it any more, or the disk is full: there is no place left to say so
                with self._news:
                    self._ended = True
                    self._lines.clear()
                    self._news.notify_all()
                return


def _write_to_stderr(text: str) -> None:
    data = memoryview(text.encode("utf-8", "backslashreplace"))
    while data:
        data = data[os.write(2, data) :]


class _Rotating:
    """A file that only its owner can read (log lines name files), which begins anew when it is full."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = self._opened()
        self._size = 0

    def write(self, text: str) -> None:
        data = text.encode("utf-8", "backslashreplace")
        if self._size + len(data) > MAX_BYTES:
            os.close(self._fd)
            self._path.replace(self._path.with_suffix(".log.1"))
            self._fd, self._size = self._opened(), 0
        self._size += os.write(self._fd, data)

    def _opened(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def _remove_old(folder: Path) -> None:
    """The files of processes that started long before."""
    found: list[tuple[float, Path]] = []
    for path in folder.glob("starling*.log*"):
        with contextlib.suppress(OSError):  # another process removes them too
            found.append((path.stat().st_mtime, path))
    for _, path in sorted(found, reverse=True)[KEPT_FILES - 1 :]:
        with contextlib.suppress(OSError):
            path.unlink()
