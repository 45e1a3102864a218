"""Counts of many repositories, on disk: how often names stand in contexts. Kept, so that later repositories can be added.

Each repository counts once: of a name in a context, whether it stands there, and its part of what stands there. Contexts and
names are hashes: there is no text. A name of 0 is the context itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import msgspec
import numpy as np
from numpy.typing import NDArray

from corpus.shards import CorpusError, replacing
from corpus.syntax.tokens import U32, U64, hash_names, name_ids
from corpus.usage.contexts import hash_of

WHOLE = 10_000  # a repository's share of one context, in parts
MANIFEST = "usage.json"
VERSION = 1


class Counted(msgspec.Struct, kw_only=True):
    """One repository that was counted."""

    name: str
    revision: str
    licence: str
    files: dict[str, int]  # by group of languages


class UsageManifest(msgspec.Struct, kw_only=True):
    """Whose counts a folder holds, and how they were made."""

    version: int = VERSION
    options: dict[str, Any]
    repositories: list[Counted]


@final
@dataclass(frozen=True, kw_only=True)
class Counts:
    """n pairs, rising by context and name."""

    contexts: U64
    names: U32
    repositories: U32  # in which the name stands in the context
    shares: U64  # the sum of its parts of the context, in parts of WHOLE

    @classmethod
    def empty(cls) -> Counts:
        """No counts."""
        return cls(
            contexts=np.zeros(0, np.uint64),
            names=np.zeros(0, np.uint32),
            repositories=np.zeros(0, np.uint32),
            shares=np.zeros(0, np.uint64),
        )

    @classmethod
    def of_one(cls, uses: Mapping[str, Mapping[str, int]]) -> Counts:
        """The counts of one repository, of the names in each context."""
        contexts: list[int] = []
        names: list[str] = []
        shares: list[int] = []
        wholes: list[int] = []
        for context, found in uses.items():
            total = sum(found.values())
            own = hash_of(context)
            wholes.append(own)
            for name, count in found.items():
                contexts.append(own)
                names.append(name)
                shares.append(WHOLE * count // total)
        ids = name_ids(hash_names(names)) if names else np.zeros(0, np.uint32)
        return summed(
            np.array([*contexts, *wholes], np.uint64),
            np.concatenate([ids, np.zeros(len(wholes), np.uint32)]),
            np.ones(len(contexts) + len(wholes), np.uint32),
            np.array([*shares, *([WHOLE] * len(wholes))], np.uint64),
            once=True,
        )

    @classmethod
    def together(cls, parts: Sequence[Counts]) -> Counts:
        """The sums."""
        return summed(
            np.concatenate([part.contexts for part in parts]),
            np.concatenate([part.names for part in parts]),
            np.concatenate([part.repositories for part in parts]),
            np.concatenate([part.shares for part in parts]),
        )

    def only(self, which: NDArray[np.bool_]) -> Counts:
        """Those pairs."""
        return Counts(
            contexts=self.contexts[which],
            names=self.names[which],
            repositories=self.repositories[which],
            shares=self.shares[which],
        )

    def save(self, file: Path) -> None:
        """Write them where `load` finds them."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = {name: getattr(self, name) for name in ("contexts", "names", "repositories", "shares")}
        with replacing(file) as temporary:
            pq.write_table(pa.table(columns), temporary, compression="zstd")

    @classmethod
    def load(cls, file: Path) -> Counts:
        """What a file holds."""
        import pyarrow.parquet as pq

        table = pq.read_table(file)
        return cls(**{name: table[name].to_numpy() for name in table.column_names})


def summed(contexts: U64, names: U32, repositories: U32, shares: U64, *, once: bool = False) -> Counts:
    """Pairs that may be there several times, each once with its sums; `once`: of one repository, which counts once."""
    order = np.lexsort((names, contexts))
    contexts, names, repositories, shares = contexts[order], names[order], repositories[order], shares[order]
    new = np.ones(len(contexts), np.bool_)
    new[1:] = (contexts[1:] != contexts[:-1]) | (names[1:] != names[:-1])
    starts = np.flatnonzero(new)
    if not len(starts):
        return Counts.empty()
    found = np.add.reduceat(repositories, starts)
    return Counts(
        contexts=contexts[starts],
        names=names[starts],
        repositories=np.ones(len(starts), np.uint32) if once else found.astype(np.uint32),
        shares=np.add.reduceat(shares, starts),
    )


def read_counted(folder: Path) -> UsageManifest:
    """Whose counts are in a folder. Raises CorpusError."""
    file = folder / MANIFEST
    try:
        manifest = msgspec.json.decode(file.read_bytes(), type=UsageManifest)
    except (OSError, msgspec.MsgspecError) as error:
        raise CorpusError(
            folder, f"holds no counts that can be read ({error}).", "Run: python -P -m corpus usage count"
        ) from error
    if manifest.version != VERSION:
        raise CorpusError(
            folder, f"holds counts of version {manifest.version}, this Starling reads {VERSION}.", "Count again."
        )
    return manifest


def write_counted(folder: Path, manifest: UsageManifest) -> None:
    """Say whose counts are in a folder."""
    manifest.repositories.sort(key=lambda one: one.name)
    with replacing(folder / MANIFEST) as temporary:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=1) + b"\n")
