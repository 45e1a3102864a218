"""Counts of many repositories on disk: in how many a name is used in a context. More repositories can be added later.

Each repository counts once for a pair of context and name, and adds the name's share of all names in that context. Contexts and
names are hashes, not text. The name 0 stands for the context itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import msgspec
import numpy as np
from numpy.typing import NDArray

from corpus.mining.shards import CorpusError, replacing
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
    """The repositories that a folder has counts of, and the options of the counting."""

    version: int = VERSION
    options: dict[str, Any]
    repositories: list[Counted]


@final
@dataclass(frozen=True, kw_only=True)
class Counts:
    """n pairs of context and name, in ascending order."""

    contexts: U64
    names: U32
    repositories: U32  # number of repositories that use the name in the context
    shares: U64  # sum of the name's shares of the context, in units of 1 / WHOLE

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
        """Make the counts of one repository from its names in each context."""
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
        """Add counts."""
        return summed(
            np.concatenate([part.contexts for part in parts]),
            np.concatenate([part.names for part in parts]),
            np.concatenate([part.repositories for part in parts]),
            np.concatenate([part.shares for part in parts]),
        )

    def only(self, which: NDArray[np.bool_]) -> Counts:
        """Select pairs."""
        return Counts(
            contexts=self.contexts[which],
            names=self.names[which],
            repositories=self.repositories[which],
            shares=self.shares[which],
        )

    def save(self, file: Path) -> None:
        """Write the counts as `load` reads them."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = {name: getattr(self, name) for name in ("contexts", "names", "repositories", "shares")}
        with replacing(file) as temporary:
            pq.write_table(
                pa.table(columns),
                temporary,
                compression="zstd",
                compression_level=19,
                use_dictionary=["names"],  # pyright: ignore[reportArgumentType]  (its stubs have no list)
                column_encoding={
                    "contexts": "DELTA_BINARY_PACKED",
                    "repositories": "BYTE_STREAM_SPLIT",
                    "shares": "BYTE_STREAM_SPLIT",
                },
            )

    @classmethod
    def load(cls, file: Path) -> Counts:
        """Read a file."""
        import pyarrow.parquet as pq

        table = pq.read_table(file)
        return cls(**{name: table[name].to_numpy() for name in table.column_names})


def summed(contexts: U64, names: U32, repositories: U32, shares: U64, *, once: bool = False) -> Counts:
    """Merge equal pairs by adding them. `once`: they are of one repository, which counts once."""
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
    """Read the manifest of a folder of counts. Raises CorpusError."""
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
    """Write the manifest of a folder of counts."""
    manifest.repositories.sort(key=lambda one: one.name)
    with replacing(folder / MANIFEST) as temporary:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=1) + b"\n")
