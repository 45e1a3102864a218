"""What the ranker looks names up in: contexts, the names that stand in them, and in how many repositories they do. One file a
group of languages, made by `building`, read as it is needed.

Smoothed with back-off: what a fine context does not know, a coarser one may (Witten & Bell 1991, with a constant for the novel).

TableError    carries the file and what is wrong with it
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
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
NOVEL = 2.0  # repositories that a coarser context counts as much as
STEPS = 23.0  # a share is kept as its logarithm, in so many steps a factor of e
_HEAD = struct.Struct("<16sIII4x")  # magic, contexts, pairs, repositories
_WIDTHS = (("<u8", 0), ("<u4", 1), ("<u4", 0), ("<u2", 0), ("<u2", 0), ("<u1", 0))  # and how many more than its count


class TableError(ValueError):
    """A file that is no table of this version."""

    def __init__(self, file: Path, problem: str) -> None:
        super().__init__(f"{file}: {problem}")
        self.file, self.problem = file, problem


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known of n names at one place."""

    p: Floats  # [n]: how likely each is, of all names that there are
    share: Floats  # [n]: its part of the finest context that is known
    projects: Ints  # [n]: in how many repositories it stands in that context
    context: int  # which of the contexts that is, by its place; -1 where none is known
    of: int  # in how many repositories that context stands


@final
@dataclass(frozen=True, kw_only=True)
class Table:
    """A group of languages' counts. c contexts, p pairs of a context and a name."""

    contexts: U64  # [c], rising
    starts: U32  # [c + 1]: where each context's pairs are
    names: U32  # [p]: `tokens.name_ids`, rising within a context
    repositories: NDArray[np.uint16]  # [p]: in which the name stands in the context
    totals: NDArray[np.uint16]  # [c]: repositories in which the context stands
    shares: NDArray[np.uint8]  # [p]: the name's part of the context, the mean over repositories: -STEPS · log
    counted: int  # repositories in all

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
        names = ("contexts", "starts", "names", "repositories", "totals", "shares")
        return cls(**dict(zip(names, arrays, strict=True)), counted=counted)  # pyright: ignore[reportArgumentType]

    def save(self, file: Path) -> None:
        """Write it as `load` reads it."""
        head = _HEAD.pack(MAGIC, len(self.contexts), len(self.names), self.counted)
        arrays = (self.contexts, self.starts, self.names, self.repositories, self.totals, self.shares)
        parts = [array.astype(width).tobytes() for array, (width, _) in zip(arrays, _WIDTHS, strict=True)]
        file.write_bytes(b"".join([head, *parts]))

    def evidence(self, contexts: Sequence[str], ids: U32) -> Evidence:
        """What is known of names by their ids, uint32 [n], in `contexts`, the coarsest first."""
        n = len(ids)
        p = np.full(n, 1e-6)
        share, projects = np.zeros(n), np.zeros(n, np.int64)
        finest, of = -1, 0
        for level, context in enumerate(contexts):
            place = int(np.searchsorted(self.contexts, np.uint64(hash_of(context))))
            if place == len(self.contexts) or int(self.contexts[place]) != hash_of(context):
                continue
            first, last = int(self.starts[place]), int(self.starts[place + 1])
            total = int(self.totals[place])
            here = np.zeros(n)
            where = first + np.searchsorted(self.names[first:last], ids)
            where[where == last] = first
            known = self.names[where] == ids if last > first else np.zeros(n, np.bool_)
            here[known] = np.exp(self.shares[where[known]] / -STEPS)
            p = (total * here + NOVEL * p) / (total + NOVEL)
            finest, of = level, total
            share = here
            projects = np.zeros(n, np.int64)
            projects[known] = self.repositories[where[known]]
        return Evidence(p=p, share=share, projects=projects, context=finest, of=of)


@cache
def table_of(group: str) -> Table | None:
    """The table that came with the package for a group of languages; None where there is none. Raises TableError."""
    file = FOLDER / f"{group}{SUFFIX}"
    return Table.load(file) if file.is_file() else None
