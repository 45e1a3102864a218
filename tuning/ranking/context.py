"""This file around the cursor, as tokens, and what it says of each name: exact counts by one scan of arrays.

Holds no file but the one being edited; the line being written is not part of it (the caller leaves it out).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuning.ranking.grams import CONTEXT
from tuning.ranking.tokens import I64, U32, U64, tokenize

REACH = 200_000  # bytes on each side of the cursor that count
FAR = 1 << 30

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LocalCounts:
    """n names: `orders` int64 [CONTEXT + 1, n] uses after the last k tokens, `totals` int64 [CONTEXT + 1] of any name."""

    orders: I64
    totals: I64
    last_use: I64  # tokens back to the nearest use before the cursor, FAR where there is none


@dataclass(frozen=True)
class FileContext:
    """`hashes` uint64 [t] of the file, `names` bool [t]; the cursor stands at token `cursor`."""

    hashes: U64
    names: NDArray[np.bool_]
    cursor: int
    ids: U32  # of the last CONTEXT tokens before the cursor, nearest last

    @classmethod
    def of(cls, before: bytes, after: bytes) -> FileContext:
        """`before` ends where the identifier starts, `after` begins on the next line."""
        left, right = tokenize(before[-REACH:]), tokenize(after[:REACH])
        gap = np.zeros(CONTEXT, np.uint64)
        ids = np.concatenate([np.zeros(CONTEXT, np.uint32), left.ids()])[-CONTEXT:]
        return cls(
            hashes=np.concatenate([gap, left.hashes, gap, right.hashes]),
            names=np.concatenate([gap != 0, left.names, gap != 0, right.names]),
            cursor=CONTEXT + len(left.hashes),
            ids=ids,
        )

    def counts(self, names: U64) -> LocalCounts:
        """What the file says of these names, uint64 [n] hashes (repeats welcome)."""
        unique, inverse = np.unique(names, return_inverse=True)
        at = np.flatnonzero(self.names)
        matched = np.zeros(len(at), np.int64)
        alive = np.ones(len(at), bool)
        for k in range(1, CONTEXT + 1):
            alive &= self.hashes[at - k] == self.hashes[self.cursor - k]
            matched += alive
        totals = np.array([np.count_nonzero(matched >= k) for k in range(CONTEXT + 1)])
        orders = np.zeros((CONTEXT + 1, len(unique)), np.int64)
        last = np.full(len(unique), FAR, np.int64)
        if len(unique):
            place = np.minimum(np.searchsorted(unique, self.hashes[at]), len(unique) - 1)
            known = unique[place] == self.hashes[at]
            at, matched, place = at[known], matched[known], place[known]
            for k in range(CONTEXT + 1):
                orders[k] = np.bincount(place[matched >= k], minlength=len(unique))
            earlier = at < self.cursor
            np.minimum.at(last, place[earlier], self.cursor - at[earlier])
        return LocalCounts(orders=orders[:, inverse], totals=totals, last_use=last[inverse])


def interpolated(orders: I64, totals: I64, prior: Floats, weight: float) -> Floats:
    """float64 [n]: each order's estimate leans on the next shorter one, the shortest on `prior`, by `weight` uses."""
    p = prior
    for counts, total in zip(orders, totals, strict=True):
        p = (counts + weight * p) / (total + weight)
    return p
