"""This file around the cursor, as tokens, and what it says of each name: exact counts by one scan of arrays.

Holds no file but the one being edited; the line being written is not part of it (the caller leaves it out).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corpus.syntax.tokens import I64, U32, Tokens, tokenize
from tuning.ranking.serving.index.grams import CONTEXT
from tuning.ranking.serving.index.repeats import GAP, LONGEST, RECEIVER, SHORTEST, Repeats, shared, summed

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
    """The file's tokens, as ids; compared with what stands before the cursor once, before any list is known."""

    ids: U32  # [t]; GAP before each of the two parts
    cursor: int  # the place of the token that is being written
    places: I64  # [m] of all names
    shared: I64  # [m] tokens before each that are those before the cursor
    repeats: Repeats

    @classmethod
    def of(cls, before: bytes, after: bytes, tokenizer: Callable[[bytes], Tokens] = tokenize) -> FileContext:
        """`before` ends where the identifier starts, `after` begins on the next line."""
        left, right = tokenizer(before[-REACH:]), tokenizer(after[:REACH])
        ids = np.concatenate([GAP, left.ids(), GAP, right.ids()])
        cursor = LONGEST + len(left.hashes)
        tail = ids[cursor - LONGEST : cursor]
        places = np.flatnonzero(ids & 1)
        exact = shared(ids, places, tail)
        alike = shared(ids, places, tail, hole=RECEIVER)
        long = (exact >= SHORTEST) | (alike > RECEIVER)
        names, which = np.unique(ids[places[long]], return_inverse=True)
        repeats = summed(names, (which, exact[long]), (which, alike[long]))
        return cls(ids=ids, cursor=cursor, places=places, shared=exact, repeats=repeats)

    @property
    def tail(self) -> U32:
        """The last tokens before the cursor, nearest last, uint32 [LONGEST]; 0 before the file's first."""
        return self.ids[self.cursor - LONGEST : self.cursor]

    def counts(self, names: U32) -> LocalCounts:
        """What the file says of these names, uint32 [n] ids (repeats welcome)."""
        unique, inverse = np.unique(names, return_inverse=True)
        n = len(unique)
        at, matched = self.places, np.minimum(self.shared, CONTEXT)
        totals = np.array([np.count_nonzero(matched >= k) for k in range(CONTEXT + 1)])
        following = self._following(at[matched >= 2], unique)
        orders = np.zeros((CONTEXT + 1, n), np.int64)
        decayed = np.zeros((len(DECAYS), n))
        last = np.full(n, FAR, np.int64)
        if n:
            place = np.minimum(np.searchsorted(unique, self.ids[at]), n - 1)
            known = unique[place] == self.ids[at]
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

    def _following(self, members: I64, unique: U32) -> I64:
        """Uses of each name right after the last one before the cursor. `members`: places with this receiver."""
        counts = np.zeros(len(unique), np.int64)
        used = self.ids[members]
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
