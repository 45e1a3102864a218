"""The workspace index on disk: one file a generation, which is whole and right, or is thrown away.

    magic · length of the manifest · manifest (JSON) · padding · words uint32 · ids uint32 · CRC-32 of all before

Several processes may read and write one folder at once: a file gets its name when it is whole, is never changed after,
and only older ones are removed. Whatever is wrong with a file, reading it says None, and takes no more memory than asked for.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import stat
import struct
import sys
import time
import uuid
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np

from corpus.syntax.tokens import U32
from tuning.ranking.serving.index.counts import BUCKET, FULL, CountTable
from tuning.ranking.serving.index.regular_files import open_regular

log = logging.getLogger(__name__)

MAGIC = b"StarIdx2"
_HEAD = struct.Struct("<8sQ")
_CRC = struct.Struct("<I")
ALIGNED = 64  # bytes
CHUNK = 1 << 22  # bytes that are checked or written at once
STALE = 3600.0  # seconds after which a temporary file is no longer being written
TRIES = 3  # readings of the folder while another process replaces what is in it
UNUSED = 60 * 86_400.0  # seconds after which an index is removed when another workspace's is written
LARGEST = 1_000_000_000  # bytes of all workspaces' indexes: those that were used longest ago go first
FORMER = ("manifest*.json", "words-*.npy", "ids-*.npy")  # of version 1


@dataclass(slots=True)
class IndexedFile:
    """A file as it was counted. `ids` uint32 [n]: its tokens; a view of the mapped cache file, or an array of its own."""

    modified: int  # ns
    size: int  # bytes
    ids: U32


@dataclass
class Kept:
    """What the index is made of."""

    table: CountTable
    files: dict[str, IndexedFile]
    names: int


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What the files that are there now make likely. Far larger or smaller is not worth loading."""

    slots: int
    path_bytes: int  # of all paths


_Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 40)]


class _Manifest(msgspec.Struct, kw_only=True):
    slots: Annotated[int, msgspec.Meta(ge=BUCKET, le=1 << 32, multiple_of=BUCKET)]
    names: _Count
    overflow: list[tuple[_Count, Annotated[int, msgspec.Meta(ge=FULL, le=1 << 40)]]]
    files: list[tuple[str, int, _Count, _Count]]  # path, modified, size, how many ids


_manifest = msgspec.json.Decoder(_Manifest)


def read(folder: Path, expected: Expected) -> Kept | None:
    """The newest index in the folder; None without a good one. What is broken is removed."""
    for _ in range(TRIES):
        for path in _generations(folder):
            try:
                found = _read(path, expected)
                with contextlib.suppress(OSError):  # a disk that can only be read
                    os.utime(folder)  # used now
                return found
            except FileNotFoundError:  # another process has just put a newer one in its place
                break
            except Exception as error:  # whatever is wrong with it, it is only a cache: the index is built anew
                log.info("the index kept in %s is not used: %s", path, error)
                _remove(path)
        else:
            return None
    return None


def write(folder: Path, kept: Kept) -> None:
    """Keep the index. From then on its files' ids are views of what was written. Raises OSError, and leaves nothing then."""
    _make_private(folder)
    _remove_stale(folder)
    name = uuid.uuid4().hex
    temporary = folder / f"{name}.tmp"
    path = folder / f"index-{name}.bin"
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        with os.fdopen(os.open(temporary, flags, 0o600), "wb", buffering=0) as out:
            crc = 0
            for chunk in _content(kept):
                crc = zlib.crc32(chunk, crc)
                _put(out, chunk)
            _put(out, _CRC.pack(crc))
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _remove_older(folder, path)
    _remove_unused(folder)
    total = sum(len(file.ids) for file in kept.files.values())
    try:
        with open_regular(path) as written:
            mapped = _mapped(written, os.fstat(written.fileno()).st_size - _CRC.size - 4 * total, total)
    except FileNotFoundError:  # another process has just put a newer one in its place
        return
    at = 0
    for file in kept.files.values():
        file.ids = mapped[at : at + len(file.ids)]
        at += len(file.ids)


def _read(path: Path, expected: Expected) -> Kept:
    with open_regular(path) as file:
        status = os.fstat(file.fileno())
        if not _is_own(status):
            raise ValueError("not a file of this user")
        head = file.read(_HEAD.size)
        magic, length = _HEAD.unpack(head)
        most = (1 << 22) + 3 * expected.path_bytes
        if magic != MAGIC or length > most:
            raise ValueError("another version, or far too many files")
        text = _exactly(file, length + _padding(length))
        manifest = _manifest.decode(text[:length])
        if not 0.5 * expected.slots <= manifest.slots <= 3 * expected.slots:
            raise ValueError("the workspace has another size now")
        total = sum(count for *_, count in manifest.files)
        start = _HEAD.size + len(text) + 4 * manifest.slots
        if status.st_size != start + 4 * total + _CRC.size or manifest.names > total:
            raise ValueError("not as long as it says")
        words = np.empty(manifest.slots, np.uint32)
        _fill(file, _bytes(words))
        ids = _mapped(file, start, total)
        crc = zlib.crc32(_bytes(words), zlib.crc32(text, zlib.crc32(head)))
        for at in range(0, total, CHUNK // 4):
            crc = zlib.crc32(_bytes(ids[at : at + CHUNK // 4]), crc)
        file.seek(start + 4 * total)
        if _exactly(file, _CRC.size) != _CRC.pack(crc):
            raise ValueError("a checksum is wrong")
    if any(slot >= manifest.slots for slot, _ in manifest.overflow):
        raise ValueError("a count without a slot")
    table = CountTable(BUCKET)
    table.words, table.overflow = words.reshape(-1, BUCKET), dict(manifest.overflow)
    files: dict[str, IndexedFile] = {}
    at = 0
    for name, modified, size, count in manifest.files:
        files[_path(name)] = IndexedFile(modified, size, ids[at : at + count])
        at += count
    if len(files) != len(manifest.files):
        raise ValueError("a file twice")
    return Kept(table, files, manifest.names)


def _content(kept: Kept) -> Iterator[bytes | memoryview]:
    """What is written before the checksum, in chunks."""
    manifest = msgspec.json.encode(
        _Manifest(
            slots=kept.table.slots,
            names=kept.names,
            overflow=list(kept.table.overflow.items()),
            files=[(_stored(path), file.modified, file.size, len(file.ids)) for path, file in kept.files.items()],
        )
    )
    yield _HEAD.pack(MAGIC, len(manifest))
    yield manifest + bytes(_padding(len(manifest)))
    yield _bytes(kept.table.words)
    chunk: list[U32] = []
    size = 0
    for file in kept.files.values():
        chunk.append(file.ids)
        size += file.ids.nbytes
        if size >= CHUNK:
            yield _bytes(np.concatenate(chunk))
            chunk, size = [], 0
    if size:
        yield _bytes(np.concatenate(chunk))


def _put(out: io.RawIOBase, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while len(view):
        view = view[out.write(view) or 0 :]


def _exactly(file: io.RawIOBase, size: int) -> bytes:
    data = bytearray(size)
    _fill(file, memoryview(data))
    return bytes(data)


def _fill(file: io.RawIOBase, into: memoryview) -> None:
    while len(into):
        got = file.readinto(into)
        if not got:
            raise ValueError("cut off")
        into = into[got:]


def _bytes(array: U32) -> memoryview:
    """The bytes of an array that is not empty, as they are in memory."""
    return memoryview(array.data).cast("B")


def _mapped(file: io.FileIO, start: int, count: int) -> U32:
    """uint32 [count] of the file from `start` on, which must be there: what is mapped beyond a file's end kills."""
    if not count:
        return np.zeros(0, np.uint32)
    return np.asarray(np.memmap(file, np.uint32, "r", start, (count,)))


def _padding(length: int) -> int:
    """Bytes after a manifest, so that the arrays after it are aligned."""
    return -(_HEAD.size + length) % ALIGNED


def _stored(path: str) -> str:
    """A path as JSON can hold it: its bytes, which need not be Unicode text."""
    return path if path.isascii() else os.fsencode(path).decode("latin-1")


def _path(stored: str) -> str:
    return stored if stored.isascii() else os.fsdecode(stored.encode("latin-1"))


def _is_own(status: os.stat_result) -> bool:
    return sys.platform == "win32" or status.st_uid == os.geteuid()


def _make_private(folder: Path) -> None:
    """Make the folder, for its owner alone. Raises OSError where it is another user's, or no folder."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or not _is_own(status):
        raise PermissionError(f"{folder} is not a folder of this user")
    if status.st_mode & 0o077 and sys.platform != "win32":
        folder.chmod(0o700)


def _generations(folder: Path) -> list[Path]:
    """The index files in the folder, the newest first."""
    return sorted(folder.glob("index-*.bin"), key=_modified, reverse=True)


def _remove_unused(folder: Path) -> None:
    """Remove what other workspaces left beside this folder: what was not used for long, and beyond `LARGEST` bytes the oldest."""
    total = 0
    for other in sorted(folder.parent.iterdir(), key=lambda place: (place == folder, _modified(place)), reverse=True):
        used = _modified(other)  # before anything in it is removed
        _remove_stale(other)
        indexes = _generations(other)
        total += sum(_size(path) for path in indexes)
        if other != folder and (total > LARGEST or time.time_ns() - used > UNUSED * 1e9):
            for path in indexes:
                _remove(path)
            with contextlib.suppress(OSError):  # it is no folder, or holds something else
                other.rmdir()


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:  # gone since it was listed
        return 0


def _modified(path: Path) -> int:
    try:
        return path.lstat().st_mtime_ns
    except OSError:  # gone since it was listed
        return 0


def _remove_stale(folder: Path) -> None:
    """Remove what a process that was ended left half written: it may be large, and the disk full because of it."""
    for path in folder.glob("*.tmp"):
        if time.time_ns() - _modified(path) > STALE * 1e9:
            _remove(path)


def _remove_older(folder: Path, newest: Path) -> None:
    """Remove the generations before this one. Another process may have written a newer one; that stays."""
    written = _modified(newest)
    former = (path for pattern in FORMER for path in folder.glob(pattern))
    for path in (*former, *(path for path in _generations(folder) if _modified(path) <= written)):
        if path != newest:
            _remove(path)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):  # gone, or mapped by another process on Windows: the next one removes it
        path.unlink()
