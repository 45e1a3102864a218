"""A nested cache n-gram: names after the last tokens, in this file first, in the workspace behind it.

Orders 1 to 6, interpolated order by order: p_k = (count + strength * p_(k-1)) / (total + strength), the workspace's
counts first and this file's on top, after "Are deep neural networks the best choice for modeling source code?"
(Hellendoorn and Devanbu, 2017). Sees the file without the identifier being completed and the rest of its line:
leaving those out of `before` and `after` is the caller's part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tuning.ranking.grams import CONTEXT
from tuning.ranking.tokens import I64, U32, U64, Bools, Tokens, name_ids, tokenize

F64 = NDArray[np.float64]

BEFORE, AFTER = 300_000, 100_000  # bytes looked at on each side of the cursor of a larger file
NEVER = 1 << 30  # tokens since the last use of what was not used
FLOOR = 1e-7  # probability of a name that nothing knows
RECEIVER = 2  # tokens before a name that say whose member it is: the receiver and its operator
STRENGTH_FILE = 2.0  # pseudo-counts that the shorter context weighs; tuned on CPython's standard library
STRENGTH_WORKSPACE = 2.0


@dataclass(frozen=True, slots=True)
class FileContext:
    """This file's tokens around the cursor, and the names that followed the same last 0 … CONTEXT tokens.

    hashes: uint64 [n], both sides with zeros between; cursor: index of the gap;
    followers: CONTEXT + 1 arrays, followers[k] uint64 [m] the names after the last k tokens, in file order.
    """

    hashes: U64
    names: Bools
    cursor: int
    context: U32
    followers: Sequence[U64]

    @classmethod
    def of(cls, before: bytes, after: bytes) -> Self:
        """The context of a cursor between the two; neither holds the identifier being completed."""
        left, right = _window(before, after)
        gap = np.zeros(CONTEXT, np.uint64)
        hashes = np.concatenate((gap, left.hashes, gap, right.hashes))
        names = np.concatenate((gap != 0, left.names, gap != 0, right.names))
        cursor = CONTEXT + len(left.hashes)
        at = np.flatnonzero(names)
        followers = [hashes[at]]
        for k in range(1, CONTEXT + 1):
            at = at[hashes[at - k] == hashes[cursor - k]]
            followers.append(hashes[at])
        ids = np.concatenate((np.zeros(CONTEXT, np.uint32), left.ids()))
        return cls(hashes, names, cursor, ids[len(ids) - CONTEXT :], followers)

    def uses(self, names_hash: U64) -> I64:
        """int64 [n]: how often each name stands in the file."""
        return self.counts(names_hash)[0]

    def receiver_uses(self, names_hash: U64) -> I64:
        """int64 [n]: how often each name follows the same last two tokens in the file."""
        return self.counts(names_hash)[RECEIVER]

    def last_use(self, names_hash: U64) -> I64:
        """int64 [n]: tokens back from the cursor to the nearest use before it (1: the token before); or NEVER."""
        at = np.flatnonzero(self.names[: self.cursor])
        order, index, known = _locate(names_hash, self.hashes[at])
        nearest = np.full(len(names_hash), NEVER, np.int64)
        nearest[index] = self.cursor - at[known]  # in file order, so that the last write is the nearest use
        return _spread(nearest, order, names_hash)

    def counts(self, names_hash: U64) -> I64:
        """int64 [CONTEXT + 1, n]: how often each name follows the last k tokens, k = 0 … CONTEXT."""
        order = np.argsort(names_hash)
        result = np.zeros((CONTEXT + 1, len(names_hash)), np.int64)
        for k, followers in enumerate(self.followers):
            if len(followers):
                order, index, _ = _locate(names_hash, followers, order)
                found = np.bincount(index, minlength=len(names_hash)).astype(np.int64)
                result[k] = _spread(found, order, names_hash)
        return result

    def totals(self) -> I64:
        """int64 [CONTEXT + 1]: how many names follow the last k tokens."""
        return np.array([len(followers) for followers in self.followers], np.int64)


@dataclass(frozen=True, slots=True)
class Counts:
    """What one text (a file, a workspace) says: counts int64 [CONTEXT + 1, n], totals int64 [CONTEXT + 1]."""

    counts: I64
    totals: I64


def interpolate(layers: Sequence[tuple[Counts, float]], size: int) -> F64:
    """float64 [size] probabilities: at every order, each layer (counts, strength) corrects the one before it."""
    p = np.full(size, FLOOR)
    for k in range(CONTEXT + 1):
        for layer, strength in layers:
            # A batch that is half applied may show a name and not yet its context: no probability above one.
            counts = layer.counts[k]
            total = max(int(layer.totals[k]), int(counts.max(initial=0)))
            if total:
                p = (counts + strength * p) / (total + strength)
    return p


def workspace_ids(names_hash: U64) -> U32:
    """uint32 [n]: the ids under which the workspace counts these names."""
    return name_ids(names_hash)


def _window(before: bytes, after: bytes) -> tuple[Tokens, Tokens]:
    if len(before) + len(after) > BEFORE + AFTER:
        start = max(0, len(before) - BEFORE)
        before = before[before.find(b"\n", start) + 1 if start else 0 :]
        after = after[:AFTER]
    return tokenize(before), tokenize(after)


def _locate(names: U64, tokens: U64, order: I64 | None = None) -> tuple[I64, I64, Bools]:
    """The order that sorts `names`; where in that order each token of `tokens` that is one of them stands; which are."""
    order = np.argsort(names) if order is None else order
    ordered = names[order]
    index = np.searchsorted(ordered, tokens)
    known = index < len(names)
    known[known] = ordered[index[known]] == tokens[known]
    return order, index[known], known


def _spread(values: NDArray[np.int64], order: I64, names: U64) -> I64:
    """`values` in sorted order brought back to the order of `names`; equal names share the first one's value."""
    ordered = names[order]
    result = np.empty(len(names), np.int64)
    result[order] = values[np.searchsorted(ordered, ordered)]
    return result
