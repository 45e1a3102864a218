"""The table in which the ranker looks names up: contexts, their names, and the number of repositories that use them. One file per
group of languages, made by `building`, read as it is needed.

Smoothed with back-off: what a fine context does not know, a coarser one may (Witten & Bell 1991, with a constant for the novel).

TableError    carries the file and what is wrong with it
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray

from corpus.syntax.tokens import U32, U64
from corpus.usage.contexts import hash_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FOLDER = Path(__file__).with_name("tables")
SUFFIX = ".usage"
MAGIC = b"starling usage 1"
NOVEL = 2.0  # a coarser context weighs as much as this many repositories
STEPS = 23.0  # a share is stored as its logarithm: this many steps per factor of e
_HEAD = struct.Struct("<16sIII4x")  # magic, contexts, pairs, repositories
_WIDTHS = (
    ("<u8", 0),
    ("<u4", 1),
    ("<u4", 0),
    ("<u2", 0),
    ("<u2", 0),
    ("<u1", 0),
)  # (type, number of elements beyond the count)


class TableError(ValueError):
    """The file is not a table of this version."""

    def __init__(self, file: Path, problem: str) -> None:
        super().__init__(f"{file}: {problem}")
        self.file, self.problem = file, problem


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the table knows of n names at one place."""

    p: Floats  # [n]: probability of each name, among all names
    share: Floats  # [n]: its share of the finest known context
    projects: Ints  # [n]: number of repositories that use it in that context
    context: int  # index of that context; -1 if no context is known
    of: int  # number of repositories that have that context


@final
@dataclass(frozen=True, kw_only=True)
class Table:
    """The table of a group of languages: c contexts, p pairs of context and name."""

    contexts: U64  # [c], ascending
    starts: U32  # [c + 1]: index of each context's first pair
    names: U32  # [p]: `tokens.name_ids`, ascending within a context
    repositories: NDArray[np.uint16]  # [p]: number of repositories that use the name in the context
    totals: NDArray[np.uint16]  # [c]: number of repositories that have the context
    shares: NDArray[np.uint8]  # [p]: -STEPS · log of the name's share of the context, averaged over repositories
    counted: int  # number of repositories

    @classmethod
    def load(cls, file: Path) -> Table:
        """Read a table. Raises TableError, and OSError."""
        raw = file.read_bytes()
        if len(raw) < _HEAD.size or not raw.startswith(MAGIC):
            raise TableError(file, "is no table of this version.")
        _, contexts, pairs, counted = _HEAD.unpack_from(raw)
        arrays: list[NDArray[np.unsignedinteger]] = []
        at = _HEAD.size
        for (width, more), count in zip(_WIDTHS, (contexts, contexts, pairs, pairs, contexts, pairs), strict=True):
            if len(raw) < at + np.dtype(width).itemsize * (count + more):
                raise TableError(file, "was cut short.")
            arrays.append(np.frombuffer(raw, width, count + more, at))
            at += arrays[-1].nbytes
        ordered, starts = arrays[0], arrays[1]
        if (
            starts[0] != 0
            or starts[-1] != pairs
            or (starts[1:] < starts[:-1]).any()
            or (ordered[1:] <= ordered[:-1]).any()
        ):
            raise TableError(file, "is damaged.")  # a lookup would lead out of it
        names = ("contexts", "starts", "names", "repositories", "totals", "shares")
        return cls(**dict(zip(names, arrays, strict=True)), counted=counted)  # pyright: ignore[reportArgumentType]

    def save(self, file: Path) -> None:
        """Write the table as `load` reads it."""
        head = _HEAD.pack(MAGIC, len(self.contexts), len(self.names), self.counted)
        arrays = (self.contexts, self.starts, self.names, self.repositories, self.totals, self.shares)
        parts = [array.astype(width).tobytes() for array, (width, _) in zip(arrays, _WIDTHS, strict=True)]
        file.write_bytes(b"".join([head, *parts]))

    def evidence(self, contexts: Sequence[str], ids: U32) -> Evidence:
        """Look up names by their ids, uint32 [n], in `contexts`, the coarsest first."""
        return evidence([self], contexts, ids)

    def found(self, context: str, ids: U32) -> _Found | None:
        """What one context has of names by their ids, uint32 [n]. Returns None if the table has no such context."""
        place = int(np.searchsorted(self.contexts, np.uint64(hash_of(context))))
        if place == len(self.contexts) or int(self.contexts[place]) != hash_of(context):
            return None
        first, last = int(self.starts[place]), int(self.starts[place + 1])
        share, projects = np.zeros(len(ids)), np.zeros(len(ids), np.int64)
        if last > first:
            where = first + np.searchsorted(self.names[first:last], ids)
            where[where == last] = first
            known = self.names[where] == ids
            share[known] = np.exp(self.shares[where[known]] / -STEPS)
            projects[known] = self.repositories[where[known]]
        return _Found(share=share, projects=projects, of=int(self.totals[place]))


@dataclass(frozen=True, kw_only=True)
class _Found:
    """What one table has in one context: as in Evidence."""

    share: Floats
    projects: Ints
    of: int


def evidence(tables: Sequence[Table], contexts: Sequence[str], ids: U32) -> Evidence:
    """Look up names by their ids, uint32 [n], in `contexts`, the coarsest first.

    In each context a later table is to an earlier one as a finer context to a coarser one: it says more about the place.
    """
    n = len(ids)
    p, share, projects = np.full(n, 1e-6), np.zeros(n), np.zeros(n, np.int64)
    finest, of = -1, 0
    for level, context in enumerate(contexts):
        for table in tables:
            found = table.found(context, ids)
            if found is None:
                continue
            p = (found.of * found.share + NOVEL * p) / (found.of + NOVEL)
            if finest == level:
                share = (found.of * found.share + NOVEL * share) / (found.of + NOVEL)
                projects, of = projects + found.projects, of + found.of
            else:
                finest, share, projects, of = level, found.share, found.projects, found.of
    return Evidence(p=p, share=share, projects=projects, context=finest, of=of)


def table_of(group: str, folder: Path = FOLDER) -> Table | None:
    """Load a folder's table of a group of languages (the packaged one), or return None if there is none. Raises TableError, OSError."""
    file = folder / f"{group}{SUFFIX}"
    return Table.load(file) if file.is_file() else None
