"""Files of an index that are nearly another one: what a ranker finds in them it has not guessed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from corpus.mining import copies
from corpus.mining.copies import ALIKE, FEWEST
from corpus.syntax.tokens import U64, tokenize

Shingles = Mapping[Path, U64]


def shingles(root: Path, suffixes: tuple[str, ...]) -> Shingles:
    """The distinct shingles of every file below a folder, sorted uint64 [n] each."""
    files = (path for path in sorted(root.resolve().rglob("*")) if path.name.endswith(suffixes) and path.is_file())
    return {path: shingled(path.read_bytes()) for path in files}


def shingled(data: bytes) -> U64:
    """A text's distinct shingles, sorted uint64 [n]."""
    return np.unique(copies.shingles(tokenize(data).hashes))


def near_copies(path: Path, known: Shingles) -> list[Path]:
    """The other files that are nearly `path`."""
    own = known[path]
    return [other for other, found in known.items() if other != path and _alike(own, found)]


def _alike(a: U64, b: U64) -> bool:
    small, large = sorted((len(a), len(b)))
    if small < max(FEWEST, ALIKE * large):
        return False
    both = len(np.intersect1d(a, b, assume_unique=True))
    return both >= ALIKE * (small + large - both)
