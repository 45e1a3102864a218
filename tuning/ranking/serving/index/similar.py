"""Files like this one, by the rare names that both have, and what else those have: an import may bring in what nothing here uses yet.

Likeness is the cosine of tf-idf vectors of sets of names (Salton & Buckley 1988). Holds ids, no text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from corpus.syntax.tokens import U32

Floats = NDArray[np.float64]

FLOOR = 0.01  # of shares, before their logarithm, and of lengths
TINY = 1e-6


@dataclass(frozen=True, kw_only=True)
class Similar:
    """What the files like one have. `names`: uint32 [v], rising."""

    names: U32
    best: Floats  # [v]: how like it is the file that has the name and is likest
    lift: Floats  # [v]: how much more often files have the name, weighted by their likeness, than files do; a logarithm

    def columns(self, ids: U32) -> dict[str, Floats]:
        """float64 [n] each, for n names' ids: 0 for names that no file has."""
        best, lift = np.zeros(len(ids)), np.zeros(len(ids))
        if len(self.names):
            place = np.minimum(np.searchsorted(self.names, ids), len(self.names) - 1)
            known = self.names[place] == ids
            best[known], lift[known] = self.best[place[known]], self.lift[place[known]]
        return {"similar_best": best, "similar_lift": lift}


NONE = Similar(names=np.zeros(0, np.uint32), best=np.zeros(0), lift=np.zeros(0))


@final
class NamesOfFiles:
    """Which names each of n files has. v different names, e of all files together."""

    def __init__(self, texts: Sequence[U32]) -> None:
        """`texts`: token ids of each file, names with the lowest bit set."""
        n = len(texts)
        together = np.concatenate([np.zeros(0, np.uint32), *texts])
        owners = np.repeat(np.arange(n, dtype=np.uint64), [len(text) for text in texts])
        are_names = (together & 1).astype(np.bool_)
        entries = np.unique(
            owners[are_names] << np.uint64(32) | together[are_names]
        )  # all files at once: many are small
        self._owner = (entries >> np.uint64(32)).astype(np.int64)  # [e]
        self._names, self._which, counts = np.unique(entries.astype(np.uint32), return_inverse=True, return_counts=True)
        self._share = counts / max(1, n)  # [v]
        self._weights = np.log((n + 1) / counts) ** 2  # [v]: inverse document frequency, squared
        self._lengths = FLOOR + np.sqrt(self._by_file(self._weights, n))  # [n]

    def like(self, ids: U32) -> Similar:
        """What files like the one with these token ids have."""
        if not len(self._names):
            return NONE
        weights = self._weights * np.isin(self._names, _names(ids))
        likeness = self._by_file(weights, len(self._lengths)) / (self._lengths * (FLOOR + np.sqrt(weights.sum())))
        by_entry = likeness[self._owner]
        best = np.zeros(len(self._names))
        np.maximum.at(best, self._which, by_entry)
        share = np.bincount(self._which, by_entry, minlength=len(self._names)) / (likeness.sum() + TINY)
        return Similar(names=self._names, best=best, lift=np.log((share + FLOOR) / (self._share + FLOOR)))

    def _by_file(self, values: Floats, n: int) -> Floats:
        """float64 [n]: each file's sum of its names' values, float64 [v]."""
        return np.bincount(self._owner, values[self._which], minlength=n).astype(np.float64)


def _names(ids: U32) -> U32:
    return np.unique(ids[(ids & 1).astype(np.bool_)])
