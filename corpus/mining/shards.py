"""The corpus on disk: Parquet shards of files with their sites, and the manifest that says what they hold.

The manifest is written last: a folder without one is not whole, and `read` refuses it. Every file is written beside its
place and moved there.

CorpusError            carries the folder and what to do about it
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
SHARD_BYTES = 64_000_000  # of source text
ROWS = 2_000  # a row group


class CorpusError(Exception):
    """A corpus folder that can't be used as it is; carries the folder and what to do."""

    def __init__(self, folder: Path, problem: str, remedy: str) -> None:
        super().__init__(f"{folder}: {problem} {remedy}")
        self.folder, self.problem, self.remedy = folder, problem, remedy


@dataclass(frozen=True, kw_only=True)
class Row:
    """One file of the corpus. Offsets of `sites` (start, end, kind) are bytes of `text`."""

    part: str
    repository: str
    revision: str
    licence: str
    path: str
    language: str
    sha256: bytes
    text: str
    sites: Sequence[tuple[int, int, str]]


class Shard(msgspec.Struct, kw_only=True):
    """A file of the corpus as the manifest lists it."""

    file: str
    sha256: str
    rows: int
    bytes: int


class Repository(msgspec.Struct, kw_only=True):
    """What became of one source. Counts are [files, bytes]."""

    name: str
    revision: str
    licence: str
    part: str
    kept: tuple[int, int]
    sites: int
    languages: dict[str, tuple[int, int]]
    dropped: dict[str, tuple[int, int]]


class Manifest(msgspec.Struct, kw_only=True):
    """What a corpus is made of; the same for the same input, options and seed."""

    version: int = SCHEMA_VERSION
    options: dict[str, Any]
    repositories: list[Repository]
    failed: dict[str, str]  # source -> why nothing of it is here
    shards: list[Shard]


def schema() -> pa.Schema:
    """The columns of a shard."""
    import pyarrow as pa

    site = pa.struct([("start", pa.int32()), ("end", pa.int32()), ("kind", pa.string())])
    texts = [(name, pa.string()) for name in ("part", "repository", "revision", "licence", "path", "language")]
    columns = [*texts, ("sha256", pa.binary(32)), ("text", pa.large_string()), ("sites", pa.list_(site))]
    return pa.schema(columns, metadata={"starling.version": str(SCHEMA_VERSION)})


def write(folder: Path, part: str, rows: Iterable[Row]) -> list[Shard]:
    """Write one part's shards. What is there of an earlier run is replaced file by file."""
    shards: list[Shard] = []
    waiting: list[Row] = []
    size = 0
    for row in rows:
        waiting.append(row)
        size += len(row.text)
        if size >= SHARD_BYTES:
            shards.append(_write_shard(folder, f"{part}-{len(shards):05d}.parquet", waiting))
            waiting, size = [], 0
    if waiting:
        shards.append(_write_shard(folder, f"{part}-{len(shards):05d}.parquet", waiting))
    return shards


def _write_shard(folder: Path, name: str, rows: Sequence[Row]) -> Shard:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, list[Any]] = {field: [getattr(row, field) for row in rows] for field in schema().names}
    columns["sites"] = [[{"start": s, "end": e, "kind": k} for s, e, k in row.sites] for row in rows]
    with replacing(folder / name) as temporary:
        pq.write_table(pa.table(columns, schema=schema()), temporary, compression="zstd", row_group_size=ROWS)
        digest = _digest(temporary)
    return Shard(file=name, sha256=digest, rows=len(rows), bytes=sum(len(row.text.encode()) for row in rows))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Say what the folder holds, and drop shards that are not of it."""
    with replacing(folder / MANIFEST) as temporary:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=1) + b"\n")
    listed = {shard.file for shard in manifest.shards}
    for file in folder.glob("*.parquet"):
        if file.name not in listed:
            file.unlink()


def manifest_file(place: Path) -> Path:
    """The manifest in a corpus's folder; any other path is a manifest's own."""
    return place / MANIFEST if place.is_dir() else place


def read_manifest(folder: Path) -> Manifest:
    """What a corpus holds, of its folder or of a manifest's file. Raises CorpusError where it is not whole or of another version."""
    try:
        manifest = msgspec.json.decode(manifest_file(folder).read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise CorpusError(
            folder,
            "has no manifest, so it is no corpus, or one that was not finished.",
            "Run the same `mine` again: it goes on.",
        ) from None
    except (msgspec.DecodeError, OSError) as error:
        raise CorpusError(folder, f"has a manifest that can't be read ({error}).", "Mine it again.") from error
    if manifest.version != SCHEMA_VERSION:
        raise CorpusError(
            folder, f"is of schema version {manifest.version}, this Starling reads {SCHEMA_VERSION}.", "Mine it again."
        )
    return manifest


def read(folder: Path, *, parts: Sequence[str] = (), checked: bool = False) -> Iterator[Row]:
    """Every file of a corpus, in the order in which they were written. `checked` compares the shards' hashes first."""
    import pyarrow.parquet as pq

    manifest = read_manifest(folder)
    for shard in manifest.shards:
        if parts and shard.file.rpartition("-")[0] not in parts:
            continue
        path = folder / shard.file
        if not path.is_file() or (checked and _digest(path) != shard.sha256):
            raise CorpusError(folder, f"lacks {shard.file} as its manifest lists it.", "Mine it again.")
        for batch in pq.ParquetFile(path).iter_batches(batch_size=200):
            for values in batch.to_pylist():
                values["sites"] = [(site["start"], site["end"], site["kind"]) for site in values["sites"]]
                yield Row(**values)


@contextlib.contextmanager
def replacing(path: Path) -> Generator[Path]:
    """A private file to write that takes `path`'s place at the end, or is removed where writing it failed."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def alone(folder: Path) -> Generator[Any]:
    """Hold the folder; CorpusError where another run does."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock", timeout=0)
    try:
        with lock:
            yield lock
    except Timeout:
        raise CorpusError(folder, "is being written by another run.", "Wait for it, or give another folder.") from None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
