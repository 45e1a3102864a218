"""Counts of hashed keys in one flat uint32 array: 20 bits of fingerprint and 12 bits of count a slot.

Keeps no keys, so it cannot grow: its owner adds its keys again to a larger one. A key is looked for in one bucket
(half a cache line) only; a full bucket refuses new keys. Removing is adding a negative count. One thread writes at a
time; others may look up meanwhile and see a batch half applied.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from corpus.syntax.tokens import I64, U32, U64, Bools

BUCKET = 8
SLICE = 1 << 15  # keys a step: bounds temporary arrays, and how long one numpy call can hold the interpreter
_COUNT_BITS = 12
FULL = (1 << _COUNT_BITS) - 1  # the slot says "look in `overflow`"
_COUNT = np.uint32(FULL)
_TAG_BITS = 20
_TAG = np.uint64((1 << _TAG_BITS) - 1)


class CountTable:
    """`words` uint32 [buckets, BUCKET]: tag << 12 | count, 0 when free; exact counts >= FULL are in `overflow`.

    Two keys are taken for one with a probability below BUCKET / 2**20 a look-up.
    """

    def __init__(self, slots: int) -> None:
        self.words: U32 = np.zeros((max(1, slots // BUCKET), BUCKET), np.uint32)
        self.overflow: dict[int, int] = {}  # flat slot -> count; a few thousand entries in 50 MB of source

    @property
    def slots(self) -> int:
        return self.words.size

    def add(self, keys: U64, sign: int = 1) -> None:
        """Count every occurrence in `keys` (uint64 [n], repeats welcome) once more, or once less (sign = -1)."""
        places = np.sort(self._places(keys))  # in the order of buckets: memory is walked, not jumped through
        if not len(places):
            return
        first = np.flatnonzero(np.concatenate(([True], places[1:] != places[:-1])))
        amounts = np.diff(first, append=len(places)) * sign
        places = places[first]
        start = 0
        while start < len(places):
            end = min(start + SLICE, len(places))
            self._add_unique(places[start:end], amounts[start:end])
            start = end

    def count(self, keys: U64) -> I64:
        """int64 [n]: the count of each key; 0 for a key that is not there."""
        places = self._places(keys)
        buckets = (places >> np.uint64(_TAG_BITS)).astype(np.int64)
        rows = self.words[buckets]
        slot, found = _find(rows, places)
        counts = np.where(found, (rows[np.arange(len(rows)), slot] & _COUNT).astype(np.int64), 0)
        for i in np.flatnonzero(counts == FULL):
            counts[i] = self.overflow.get(int(buckets[i] * BUCKET + slot[i]), FULL)
        return counts

    def _places(self, keys: U64) -> U64:
        """bucket << 20 | tag of each key: the bucket from its high half, the tag from its low bits."""
        buckets = ((keys >> np.uint64(32)) * np.uint64(len(self.words))) >> np.uint64(32)
        return (buckets << np.uint64(_TAG_BITS)) | (keys & _TAG)

    def _add_unique(self, places: U64, amounts: I64) -> None:
        buckets = (places >> np.uint64(_TAG_BITS)).astype(np.int64)
        rows = self.words[buckets]
        slot, found = _find(rows, places)
        at = np.flatnonzero(found)
        flat = buckets[at] * BUCKET + slot[at]
        self._store(flat, rows[at, slot[at]], amounts[at])
        new = np.flatnonzero(~found & (amounts > 0))
        if not len(new):
            return
        # The k-th new key of a bucket takes the bucket's k-th free slot; this slice may just have freed some.
        owners = buckets[new]
        rank = np.arange(len(new)) - np.searchsorted(owners, owners)
        free = (self.words[owners] & _COUNT) == 0
        order = np.cumsum(free, axis=1, dtype=np.uint8)
        fits = rank < order[:, -1]
        new, rank, owners = new[fits], rank[fits], owners[fits]
        slot = np.argmax(order[fits] > rank[:, None], axis=1)
        tags = (places[new] & _TAG).astype(np.uint32) << np.uint32(_COUNT_BITS)
        self._store(owners * BUCKET + slot, tags, amounts[new])

    def _store(self, flat: I64, words: U32, amounts: I64) -> None:
        """Write `words` with their counts changed by `amounts` to the flat slots."""
        counts = (words & _COUNT).astype(np.int64)
        for i in np.flatnonzero(counts == FULL):
            counts[i] = self.overflow.get(int(flat[i]), FULL)
        was_over = counts >= FULL
        counts = np.maximum(counts + amounts, 0)
        for i in np.flatnonzero(counts >= FULL):
            self.overflow[int(flat[i])] = int(counts[i])
        for i in np.flatnonzero(was_over & (counts < FULL)):
            self.overflow.pop(int(flat[i]), None)
        clipped = np.minimum(counts, FULL).astype(np.uint32)
        self.words.reshape(-1)[flat] = np.where(clipped > 0, (words & ~_COUNT) | clipped, np.uint32(0))


def _find(rows: U32, places: U64) -> tuple[NDArray[np.intp], Bools]:
    """The slot of each place in its bucket (`rows` uint32 [n, BUCKET]), and whether it is there."""
    tags = (places & _TAG).astype(np.uint32)
    same = ((rows >> np.uint32(_COUNT_BITS)) == tags[:, None]) & ((rows & _COUNT) != 0)
    slot = np.argmax(same, axis=1)
    return slot, same[np.arange(len(rows)), slot]
