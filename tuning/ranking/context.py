"""This file around the cursor, as tokens, and what it says of each name: exact counts by one scan of arrays.

Holds no file but the one being edited; the line being written is not part of it (the caller leaves it out).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuning.ranking.grams import CONTEXT
from tuning.ranking.tokens import I64, U32, U64, Tokens, tokenize

REACH = 200_000  # bytes on each side of the cursor that count
FAR = 1 << 30
DECAYS = ((1, 200), (2, 200), (2, 1000), (4, 2000))  # (order, tokens away at which a use counts 1/e)

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class LocalCounts:
    """What this file says of n names."""

    orders: I64  # [CONTEXT + 1, n]: uses after the last k tokens before the cursor
    totals: I64  # [CONTEXT + 1]: uses of any name there
    last_use: I64  # [n]: tokens back to the nearest use before the cursor, FAR where there is none
    decayed: Floats  # [len(DECAYS), n]: uses, the nearer to the cursor the more they count
    following: I64  # [n]: uses with this receiver right after the name that was last used with it


@dataclass(frozen=True)
class FileContext:
    """`hashes` uint64 [t] of the file, `names` bool [t]; the cursor stands at token `cursor`."""

    hashes: U64
    names: NDArray[np.bool_]
    cursor: int
    ids: U32  # of the last CONTEXT tokens before the cursor, nearest last

    @classmethod
    def of(cls, before: bytes, after: bytes, tokenizer: Callable[[bytes], Tokens] = tokenize) -> FileContext:
        """`before` ends where the identifier starts, `after` begins on the next line."""
        left, right = tokenizer(before[-REACH:]), tokenizer(after[:REACH])
        gap = np.zeros(CONTEXT, np.uint64)
        nearest = Tokens(left.hashes[-CONTEXT:], left.names[-CONTEXT:])
        return cls(
            hashes=np.concatenate([gap, left.hashes, gap, right.hashes]),
            names=np.concatenate([gap != 0, left.names, gap != 0, right.names]),
            cursor=CONTEXT + len(left.hashes),
            ids=np.concatenate([np.zeros(CONTEXT, np.uint32), nearest.ids()])[-CONTEXT:],
        )

    def counts(self, names: U64) -> LocalCounts:
        """What the file says of these names, uint64 [n] hashes (repeats welcome)."""
        unique, inverse = np.unique(names, return_inverse=True)
        n = len(unique)
        at = np.flatnonzero(self.names)
        matched = np.zeros(len(at), np.int64)
        alive = np.arange(len(at))
        for k in range(1, CONTEXT + 1):
            alive = alive[self.hashes[at[alive] - k] == self.hashes[self.cursor - k]]
            matched[alive] = k
        totals = np.array([np.count_nonzero(matched >= k) for k in range(CONTEXT + 1)])
        following = self._following(at[matched >= 2], unique)
        orders = np.zeros((CONTEXT + 1, n), np.int64)
        decayed = np.zeros((len(DECAYS), n))
        last = np.full(n, FAR, np.int64)
        if n:
            place = np.minimum(np.searchsorted(unique, self.hashes[at]), n - 1)
            known = unique[place] == self.hashes[at]
            at, matched, place = at[known], matched[known], place[known]
            distance = np.abs(self.cursor - at)
            for k in range(CONTEXT + 1):
                orders[k] = np.bincount(place[matched >= k], minlength=n)
            for row, (order, tokens) in enumerate(DECAYS):
                kept = matched >= order
                decayed[row] = np.bincount(place[kept], np.exp(-distance[kept] / tokens), minlength=n)
            earlier = at < self.cursor
            np.minimum.at(last, place[earlier], distance[earlier])
        return LocalCounts(
            orders=orders[:, inverse],
            totals=totals,
            last_use=last[inverse],
            decayed=decayed[:, inverse],
            following=following[inverse],
        )

    def _following(self, members: I64, unique: U64) -> I64:
        """Uses of each name right after the last one before the cursor. `members`: places with this receiver."""
        counts = np.zeros(len(unique), np.int64)
        used = self.hashes[members]
        last = int(np.searchsorted(members, self.cursor)) - 1
        if last < 0 or not len(unique):
            return counts
        again = np.flatnonzero(used[:-1] == used[last]) + 1
        successors = used[again[again != last + 1]]
        place = np.minimum(np.searchsorted(unique, successors), len(unique) - 1)
        return np.bincount(place[unique[place] == successors], minlength=len(unique))


def interpolated(orders: I64, totals: I64, prior: Floats, weight: float) -> Floats:
    """float64 [n]: each order's estimate leans on the next shorter one, the shortest on `prior`, by `weight` uses."""
    p = prior
    for counts, total in zip(orders, totals, strict=True):
        p = (counts + weight * p) / (total + weight)
    return p
