"""Reads regular files and nothing else, up to a size. A workspace may hold FIFOs, devices and links in their place."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

# Not to wait for a FIFO's writer, not to follow a link that took the file's place, not to become a terminal's process.
_FLAGS = os.O_RDONLY | sum(
    getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOFOLLOW", "O_CLOEXEC", "O_NOCTTY", "O_BINARY")
)


class NotReadable(OSError):
    """What is there is no regular file, or too large."""


def open_regular(path: str | Path) -> io.FileIO:
    """Open a regular file to read. Raises OSError for anything else; never waits for a writer, follows no link."""
    try:
        _check(path, os.lstat(path))  # before opening: that alone can do something to a device
        file = io.FileIO(os.open(path, _FLAGS))
    except ValueError as error:  # a NUL in the name
        raise NotReadable(f"{path!r}: {error}") from error
    try:
        _check(path, os.fstat(file.fileno()))
    except BaseException:
        file.close()
        raise
    return file


def read_regular(path: str | Path, most: int) -> bytes:
    """The content of a regular file of at most so many bytes. Raises OSError."""
    with open_regular(path) as file:
        data = file.read(most + 1) or b""
        while len(data) <= most and (more := file.read(most + 1 - len(data))):
            data += more
    if len(data) > most:
        raise NotReadable(f"{path}: larger than {most} bytes")
    return data


def _check(path: str | Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise NotReadable(f"{path}: not a regular file")
