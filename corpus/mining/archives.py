"""Published archives: members of tars and zips, read where they stand. Nothing is unpacked to the disk.

What an archive's headers say is believed up to a limit only, and is never a reason to ask for memory.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast, final

from corpus.mining.limits import DIRECTORY, HEADERS, Walk, open_regular
from corpus.mining.snapshots import ABSENT, Entry, Snapshot, SourceBroken, SourceRefused

ARCHIVES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar", ".zip", ".whl")
EXPANSION = 200  # times its own size an archive may hold
FEWEST = 64_000_000  # bytes that any archive may hold
CHUNK = 1 << 17  # bytes that are unpacked at once
ENCRYPTED = 1  # of a zip member's flags
# What the libraries raise over an archive that is not as they expect. MemoryError is none of it.
TORN = (
    *(OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(ValueError, LookupError, ArithmeticError, RuntimeError),
)
_UNPACKING: tuple[tuple[bytes, Callable[[Any], Any]], ...] = (
    (b"\x1f\x8b", gzip.open),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ", lzma.open),
    (b"\x5d\0\0", lzma.open),
)


def archive(place: Path, name: str) -> Snapshot:
    """The snapshot of an archive, known by the hash of its file. Raises SourceBroken."""
    source = str(place)

    def entries() -> Iterator[Entry]:
        files = _zipped if place.name.endswith((".zip", ".whl")) else _tarred
        try:
            with open_regular(place) as file:
                limit = max(FEWEST, EXPANSION * file.seek(0, io.SEEK_END))
                file.seek(0)
                yield from files(file, source, limit)
        except TORN as error:
            raise _torn(source, error) from error

    try:
        with open_regular(place) as file:
            digest = hashlib.file_digest(io.BufferedReader(file), "sha256").hexdigest()
    except OSError as error:
        raise _torn(source, error) from error
    return Snapshot(name=name, revision=digest[:40], entries=entries)


def _torn(source: str, error: Exception) -> SourceBroken:
    said = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return SourceBroken(source, f"is no archive that can be read ({said}).", "Download it again.")


def _refused(source: str, problem: str) -> SourceRefused:
    return SourceRefused(source, problem, "If it is meant to, unpack it and give the folder.")


def _too_much(source: str, limit: int) -> SourceRefused:
    return _refused(source, f"holds more than {limit // 1_000_000} MB.")


def _inside(path: str) -> str | None:
    """A member's path below the archive's root; None for one that leads elsewhere."""
    pure = PurePosixPath(path.replace("\\", "/"))
    return None if pure.is_absolute() or ".." in pure.parts else pure.as_posix()


# Tars


@final
class _Allowed:
    """What a tar is unpacked from, read up to `until` and no further: headers can go on for ever."""

    def __init__(self, stream: IO[bytes], source: str) -> None:
        self._stream, self._source, self._read, self.until = stream, source, 0, HEADERS

    def read(self, size: int) -> bytes:
        if self._read > self.until:
            raise _refused(self._source, f"has a header of more than {HEADERS // 1_000_000} MB.")
        data = self._stream.read(size)
        self._read += len(data)
        return data


def _tarred(file: io.FileIO, source: str, limit: int) -> Iterator[Entry]:
    """Members in the order in which they are packed: a compressed archive can be read forward only."""
    start = file.read(8)
    file.seek(0)
    buffered = io.BufferedReader(file, CHUNK)
    unpack = next((unpack for mark, unpack in _UNPACKING if start.startswith(mark)), None)
    allowed = _Allowed(unpack(buffered) if unpack else buffered, source)
    walk = Walk(source)
    total = 0
    given: dict[str, Any] = {"bufsize": CHUNK, "encoding": "utf-8", "errors": "surrogateescape"}
    with tarfile.open(fileobj=cast("IO[bytes]", allowed), mode="r|", **given) as packed:
        while (member := packed.next()) is not None:
            cast("Any", packed).members.clear()  # it keeps them all, for whoever asks for one by name
            walk.listed(1)
            total += max(0, member.size)
            if total > limit:
                raise _too_much(source, limit)
            allowed.until = member.offset_data + max(0, member.size) + HEADERS
            walk.met(member.name)
            path = _inside(member.name)
            content = packed.extractfile(member) if member.isreg() and path is not None else None
            if path is not None and content is not None:
                yield Entry(path=path, size=member.size, read=_member(source, content.read, member.size))


def _member(source: str, content: Callable[[int], bytes], size: int) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            return content(size)
        except TORN as error:
            raise _torn(source, error) from error

    return read


# Zips


@final
class _Capped(io.BufferedReader):
    """A zip's file. Its directory is read in one piece, as large as the file says that it is."""

    source = ""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > DIRECTORY:
            raise _refused(self.source, f"has a directory of more than {DIRECTORY // 1_000_000} MB.")
        return super().read(DIRECTORY if size is None or size < 0 else size)


def _zipped(file: io.FileIO, source: str, limit: int) -> Iterator[Entry]:
    capped = _Capped(file)
    capped.source = source
    with zipfile.ZipFile(capped) as packed:
        members = sorted(packed.infolist(), key=lambda member: member.filename)
        walk = Walk(source)
        walk.listed(len(members))
        if sum(member.file_size for member in members) > limit:
            raise _too_much(source, limit)
        for member in members:
            walk.met(member.filename)
            path = _inside(member.filename)
            if path is not None and not member.is_dir() and not stat.S_ISLNK(member.external_attr >> 16):
                size = member.file_size if _readable(member) else ABSENT
                yield Entry(path=path, size=size, read=_zip_member(packed, source, member))


def _readable(member: zipfile.ZipInfo) -> bool:
    """Whether it can be unpacked in no more memory than it says: the library unpacks other ways of packing without a limit."""
    return member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) and not member.flag_bits & ENCRYPTED


def _zip_member(packed: zipfile.ZipFile, source: str, member: zipfile.ZipInfo) -> Callable[[], bytes]:
    def content(size: int) -> bytes:
        with packed.open(member) as file:
            return file.read(size)

    return _member(source, content, member.file_size)
