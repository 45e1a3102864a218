"""How much one source may ask of a run, and the only way in which a source's files are opened.

The limits lie far above the largest repositories that people write, so only a broken or hostile source meets one. What they
bound is memory and time: a few kilobytes can describe any number of files.
"""

from __future__ import annotations

import os
import stat
from io import FileIO
from pathlib import Path
from typing import final

from corpus.mining.snapshots import SourceRefused

ENTRIES = 1_000_000  # files and folders; Chromium has half as many. A million take some 0.5 GB
DEPTH = 256  # folders in one another; a path that can be checked out seldom has more than 40
LONGEST_PATH = 4_096  # characters: PATH_MAX, beyond which no file can be opened
KEPT = 2_000_000_000  # bytes of code that is kept: they are in memory until they are handed over
OBJECT = 32_000_000  # bytes of a git tree, commit or tag: a folder of a million files has as many
CONTROL = 256_000_000  # bytes of a file in which git keeps references: packed-refs of a million has 60 MB
HEADERS = 4_000_000  # bytes between two members of a tar: names and attributes, seldom more than a thousand
DIRECTORY = 64_000_000  # bytes of a zip's directory: some 600,000 members
LICENCE_FILES = 1_000  # each takes up to 0.2 s
SECONDS = 1_800.0  # by the clock for one source: 20 times what the largest repositories take on one slow core

# Opening a FIFO waits for somebody to write; links are followed only where the caller did so already.
_OPENING = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


@final
class Walk:
    """What was met of one source so far. Raises SourceRefused at a limit."""

    def __init__(self, source: str) -> None:
        self._source, self._count = source, 0

    def listed(self, count: int) -> None:
        """So many more files and folders were listed."""
        self._count += count
        if self._count > ENTRIES:
            raise SourceRefused(
                self._source,
                f"has more than {ENTRIES:,} files and folders.",
                "If it is meant to, give its folders as sources of their own.",
            )

    def met(self, path: str) -> None:
        """This file or folder is looked at."""
        if path.count("/") >= DEPTH or len(path) > LONGEST_PATH:
            raise SourceRefused(
                self._source,
                f"has folders deeper than {DEPTH}, or a path longer than {LONGEST_PATH:,} characters.",
                "Remove them, or leave the source out.",
            )


def open_regular(path: Path | str) -> FileIO:
    """Open a file to read. Raises OSError, also where it is a FIFO, a device or a socket: never waits for one."""
    return FileIO(os.fspath(path), opener=_open)


def _open(path: str, _: int) -> int:
    descriptor = os.open(path, _OPENING)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(None, "not a regular file", path)
    return descriptor


def is_utf8(text: str) -> bool:
    """Whether a name can be written as UTF-8. One that could not be read as such has surrogates instead of its bytes."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(text: str) -> str:
    """The text with escapes for what is not Unicode, as in a file's name of other bytes: manifests are UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()
