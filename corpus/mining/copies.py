"""Files that are another file, or nearly: by MinHash over token shingles (Broder 1997), with banding (Leskovec et al., ch. 3).

Works over arrays of signatures, so that its memory is that of one band whatever the number of files.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from corpus.syntax.tokens import U64, Bools

SHINGLE = 6  # tokens
PERMUTATIONS, BANDS = 128, 16  # bands of 8: of files that share 70 % of their shingles, some 61 % meet; at 80 %, 95 %
ALIKE = 0.7  # estimated Jaccard similarity from which a file is a copy
FEWEST = 20  # shingles: smaller files are alike by chance
SEED = 1
_STEP = np.uint64(0x9E3779B97F4A7C15)

Signatures = NDArray[np.uint32]


def shingles(hashes: U64) -> U64:
    """A hash of every SHINGLE tokens in a row, uint64 [n], from those of all; empty for a file with few."""
    return shingles_of(hashes, [slice(0, len(hashes))])[0]


def shingles_of(hashes: U64, texts: Sequence[slice]) -> list[U64]:
    """`shingles` of each text, whose tokens are that part of `hashes`."""
    n = max(0, len(hashes) - SHINGLE + 1)
    keys = hashes[:n].copy()
    for start in range(1, SHINGLE):
        keys *= _STEP
        keys += hashes[start : start + n]
    counts = [text.stop - text.start - SHINGLE + 1 for text in texts]
    return [keys[text.start :][: count if count >= FEWEST else 0] for text, count in zip(texts, counts, strict=True)]


def signatures(texts: Sequence[U64]) -> Signatures:
    """MinHash signatures, uint32 [n, PERMUTATIONS], of n files' shingles; all zero for none."""
    from rensa import RMinHash  # pyright: ignore[reportAttributeAccessIssue]  (it ships no types)

    if not texts:
        return np.zeros((0, PERMUTATIONS), np.uint32)
    offsets = np.cumsum([0] + [len(text) for text in texts]).astype(np.uint64)
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(np.concatenate(texts), offsets, PERMUTATIONS, SEED)
    found = np.array(matrix.to_rows(), np.uint32)
    found[np.diff(offsets.astype(np.int64)) == 0] = 0
    return found


def near_copies(found: Signatures) -> Bools:
    """bool [n]: whether a file is nearly one that stands before it (`found`: uint32 [n, PERMUTATIONS], may be mapped)."""
    copies = np.zeros(len(found), np.bool_)
    rows = PERMUTATIONS // BANDS
    for band in range(BANDS):
        part = np.ascontiguousarray(found[:, band * rows : (band + 1) * rows]).astype(np.uint64)
        keys = part[:, 0].copy()
        for column in part.T[1:]:
            keys *= _STEP
            keys += column
        order = np.argsort(keys, kind="stable")
        same = keys[order][1:] == keys[order][:-1]
        first = np.maximum.accumulate(np.where(np.concatenate(([True], ~same)), np.arange(len(order)), 0))
        later = np.flatnonzero(np.concatenate(([False], same)))
        for begin in range(0, len(later), 4096):
            places = later[begin : begin + 4096]
            mine, theirs = found[order[places]], found[order[first[places]]]
            alike = (mine == theirs).mean(axis=1) >= ALIKE
            copies[order[places[alike & mine.any(axis=1)]]] = True
    return copies
