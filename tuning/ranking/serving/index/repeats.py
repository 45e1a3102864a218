"""Where the text before the cursor was written before, and which names came next: the longer the repeat, the likelier again.

Contexts of any length, after PPM* (Cleary, Teahan, Witten 1995), in this file and in the files nearest to it; once as
they are, and once with any receiver in the place of this one. Keeps hashes, no text.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray

from corpus.syntax.tokens import I64, U32, tokenize
from tuning.ranking.serving.index.similar import NamesOfFiles

Floats = NDArray[np.float64]

LONGEST = 30  # tokens before the cursor that are compared
SHORTEST = 2  # what one token before has in common says nothing
RECEIVER = 2  # tokens back from a member stands what it is a member of
GROWTH = 1.3  # a repeat weighs so much more for each token that it is longer
NEARBY_TOKENS = 600_000  # of other files: some 2 MB of source
KEPT = 8  # last tokens whose places are remembered
USUAL = tokenize(b".").ids()  # those whose places are looked for beforehand
GAP = np.zeros(LONGEST, np.uint32)  # between files: no token has the id 0
_WEIGHTS = GROWTH ** np.arange(LONGEST + 1) - 1


@dataclass(frozen=True)
class Repeats:
    """What n names stand after. `names` uint32 [n] ids, rising; the rest has a value for each."""

    names: U32
    longest: Floats  # tokens
    weight: Floats  # of all repeats together
    longest_alike: Floats  # with any receiver
    weight_alike: Floats

    def values(self, names: U32) -> tuple[Floats, ...]:
        """The four values, float64 [m] each, of other names (ids, uint32 [m]); 0 for what stands nowhere."""
        if not len(self.names):
            return (np.zeros(len(names)),) * 4
        place = np.minimum(np.searchsorted(self.names, names), len(self.names) - 1)
        known = self.names[place] == names
        values = (self.longest, self.weight, self.longest_alike, self.weight_alike)
        return tuple(np.where(known, value[place], 0.0) for value in values)


def columns(names: U32, file: Repeats, nearby: Repeats) -> dict[str, Floats]:
    """float64 [n] each, of names (ids, uint32 [n]); `repeat` and `alike` are the longest of both."""
    out: dict[str, Floats] = {}
    for where, repeats in (("file", file), ("nearby", nearby)):
        longest, weight, longest_alike, weight_alike = repeats.values(names)
        out |= {
            f"repeat_{where}": longest,
            f"repeats_{where}": np.log1p(weight),
            f"alike_{where}": longest_alike,
            f"alikes_{where}": np.log1p(weight_alike),
        }
    for kind in ("repeat", "alike"):
        out[kind] = np.maximum(out[f"{kind}_file"], out[f"{kind}_nearby"])
    return out


def shared(ids: U32, places: I64, tail: U32, *, known: int = 0, hole: int = 0) -> I64:
    """int64 [m]: how many tokens right before each place are those at the end of `tail` (uint32 [LONGEST]).

    The first `known` are taken to be, and the token `hole` back may be another. A tail that ends before (0) ends the comparison.
    """
    lengths = np.full(len(places), known)
    alive = np.arange(len(places))
    at = places
    for back in range(known + 1, LONGEST + 1):
        if back != hole:
            same = ids[at - back] == tail[-back]
            alive, at = alive[same], at[same]
        if not len(alive) or not tail[-back]:
            break
        lengths[alive] = back
    return lengths


def summed(names: U32, exact: tuple[I64, I64], alike: tuple[I64, I64]) -> Repeats:
    """Repeats by name. `names` uint32 [n], rising; `exact` and `alike`: which of them stands at m places, and m lengths."""
    values: list[Floats] = []
    for (which, lengths), least in ((exact, SHORTEST), (alike, RECEIVER + 1)):
        kept = lengths >= least
        which, lengths = which[kept], lengths[kept]
        longest = np.zeros(len(names))
        np.maximum.at(longest, which, lengths)
        values += (longest, np.bincount(which, _WEIGHTS[lengths], minlength=len(names)).astype(np.float64))
    return Repeats(names, *values)


@dataclass(frozen=True)
class _After:
    """The m places of names after one token, sorted out once."""

    places: I64
    names: U32  # [n] of all that stand there, rising
    which: I64  # [m] of them
    second: U32  # [m] tokens two back
    third: U32


@final
class Nearby:
    """The tokens of the files nearest to one, nearest first."""

    def __init__(self, texts: Iterable[U32]) -> None:
        kept: list[U32] = []
        left = NEARBY_TOKENS
        for text in texts:
            if len(text) <= left:
                kept.append(np.asarray(text))
                left -= len(text)
        self.names_of_files = NamesOfFiles(kept)
        self._ids = np.concatenate([GAP, *(part for text in kept for part in (text, GAP))])
        self._known: dict[int, _After] = {}
        for token in USUAL:
            self._after(int(token))

    def repeats(self, tail: U32) -> Repeats:
        """What stands there after the tokens that `tail` (uint32 [LONGEST]) ends with."""
        after = self._after(int(tail[-1]))
        exact = np.flatnonzero(after.second == tail[-2]) if tail[-2] else np.zeros(0, np.int64)
        alike = np.flatnonzero(after.third == tail[-3]) if tail[-3] else np.zeros(0, np.int64)
        return summed(
            after.names,
            (after.which[exact], shared(self._ids, after.places[exact], tail, known=2)),
            (after.which[alike], shared(self._ids, after.places[alike], tail, known=3)),
        )

    def _after(self, token: int) -> _After:
        """The names that stand right after a token."""
        found = self._known.get(token)
        if found is None:
            if len(self._known) >= KEPT:
                self._known.clear()
            ids = self._ids
            places = np.flatnonzero((ids[1:] & 1).astype(np.bool_) & (ids[:-1] == token)) + 1
            names, which = np.unique(ids[places], return_inverse=True)
            found = _After(places, names, which, ids[places - 2], ids[places - 3])
            self._known[token] = found
        return found


def nearest(folder: str, files: Mapping[str, U32]) -> Sequence[U32]:
    """Texts by the way from a folder to theirs, shortest first; `files` maps paths to token ids."""
    here = Path(folder).parts
    by_folder: dict[str, list[str]] = {}
    for path in files:
        by_folder.setdefault(path.rpartition(os.sep)[0], []).append(path)

    def way(other: str) -> tuple[int, str]:
        there = Path(other).parts
        common = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(here, there, strict=False)))
        return len(here) + len(there) - 2 * common, other

    return [files[path] for near in sorted(by_folder, key=way) for path in sorted(by_folder[near])]
