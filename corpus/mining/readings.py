"""The work folder: what was read of each source, kept so that a later run does not read it again.

A survey is made by `read`, wherever that runs, and put down by `keep`, where the folder is. Whatever is wrong with a source
comes out of `read` as a SourceError: the process that writes the corpus opens none. A survey whose head is missing was cut off
while it was put down, and counts for nothing. The folder may be deleted.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
import numpy as np

from corpus.mining.copies import PERMUTATIONS, Signatures
from corpus.mining.limits import is_utf8, printable
from corpus.mining.shards import replacing
from corpus.mining.snapshots import Snapshot, SourceError, SourceRefused, failed
from corpus.mining.sources import snapshot
from corpus.mining.survey import Options, survey

VERSION = 2  # of what a survey keeps; a change of the rules changes it
HEAD, TEXTS, SIGNATURES = "head.json", "texts", "signatures"


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where to read, and what it is called ("owner/name"); '' for its folder's name."""

    place: str
    name: str = ""


class Head(msgspec.Struct, kw_only=True):
    """A survey without its files' texts and signatures, which stand beside it."""

    name: str
    revision: str
    licence: str
    files: list[tuple[str, str, str, int, list[tuple[int, int, str]]]]  # path, language, sha256, bytes, sites
    dropped: dict[str, tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A survey on its way to the work folder; `head` is a Head in JSON, `signatures` uint32 [files, PERMUTATIONS]."""

    key: str
    name: str
    head: bytes
    texts: bytes
    signatures: bytes


@dataclass(frozen=True, kw_only=True)
class Known:
    """A source whose survey is kept already, as `key`."""

    key: str


def read(source: Source, *, options: Options, base: str, known: Collection[str] = ()) -> Reading | Known:
    """Survey one source, whose place may be relative to `base`, unless its key is in `known`. Raises SourceError, and no other
    exception: a library's over what it did not expect is one of the source."""
    try:
        opened = snapshot(os.path.join(base, source.place), name=source.name)  # noqa: PTH118  (a revision may follow)
        if not is_utf8(opened.name):
            problem = f"has a name that is not UTF-8 ({printable(opened.name)})."
            raise SourceRefused(source.place, problem, "Give it one, as a line SOURCE NAME of a --list.")
        key = _key(opened, options)
        return Known(key=key) if key in known else _surveyed(opened, options, key)
    except SourceError:
        raise
    except Exception as error:
        raise failed(source.place, error) from error


def _surveyed(opened: Snapshot, options: Options, key: str) -> Reading:
    found = survey(opened, options)
    files = [
        (file.path, file.language, file.sha256.hex(), len(file.data), [(s.start, s.end, s.kind) for s in file.sites])
        for file in found.files
    ]
    head = Head(
        name=found.name, revision=found.revision, licence=found.licence, files=files, dropped=dict(found.dropped)
    )
    return Reading(
        key=key,
        name=found.name,
        head=msgspec.json.encode(head),
        texts=b"".join(file.data for file in found.files),
        signatures=found.signatures.tobytes(),
    )


def _key(opened: Snapshot, options: Options) -> str:
    """What its survey is kept as."""
    asked = msgspec.json.encode([VERSION, opened.name, opened.revision, asdict(options)])
    return hashlib.sha256(asked).hexdigest()[:20]


def keep(work: Path, found: Reading) -> None:
    """Put a survey down; its head is last, with it the survey is whole."""
    folder = work / found.key
    folder.mkdir(exist_ok=True, mode=0o700)
    for name, content in ((TEXTS, found.texts), (SIGNATURES, found.signatures), (HEAD, found.head)):
        with replacing(folder / name) as temporary:
            temporary.write_bytes(content)


def keys(work: Path) -> set[str]:
    """The surveys that are whole."""
    return {head.parent.name for head in work.glob(f"*/{HEAD}")}


def head(folder: Path) -> Head:
    """One survey's head."""
    return msgspec.json.decode((folder / HEAD).read_bytes(), type=Head)


def texts(folder: Path, stored: Head) -> Iterator[bytes]:
    """Its files, in the order of `stored.files`."""
    with (folder / TEXTS).open("rb") as stream:
        for _, _, _, size, _ in stored.files:
            yield stream.read(size)


def signatures(work: Path, surveys: Collection[str], out: Path) -> Signatures:
    """The signatures of these surveys one after another, mapped from `out`, which the caller removes."""
    with out.open("wb") as stream:
        for key in surveys:
            with (work / key / SIGNATURES).open("rb") as part:
                shutil.copyfileobj(part, stream)
        total = stream.tell() // (4 * PERMUTATIONS)
    if not total:
        return np.zeros((0, PERMUTATIONS), np.uint32)
    return np.memmap(out, np.uint32, "r", shape=(total, PERMUTATIONS))


def forget(work: Path, names: Collection[str]) -> None:
    """Remove what was read of these repositories (folded), now or earlier. Other surveys stay for when they are asked for."""
    for folder in work.iterdir():
        if folder.is_dir() and (not (folder / HEAD).is_file() or head(folder).name.casefold() in names):
            shutil.rmtree(folder)
