"""Copies are found whatever their order and number, and files that are merely alike in kind are not."""

from __future__ import annotations

import numpy as np

from corpus.mining.copies import FEWEST, PERMUTATIONS, near_copies, shingles, signatures
from corpus.syntax.tokens import tokenize
from tests.corpus.repositories import module


def flags(*texts: bytes) -> list[bool]:
    return near_copies(signatures([shingles(tokenize(text).hashes) for text in texts])).tolist()


def edited(text: bytes, changes: int) -> bytes:
    lines = text.split(b"\n")
    for number in range(changes):
        lines[2 * number + 4] += f"  + changed_{number}".encode()
    return b"\n".join(lines)


def test_the_first_stays_and_later_copies_go() -> None:
    one, two = module("one", 60), module("two", 60)
    assert flags(one, two, edited(one, 3), one, edited(two, 2)) == [False, False, True, True, True]


def test_a_file_that_was_rewritten_is_no_copy() -> None:
    one = module("one", 60)
    assert flags(one, edited(one, 50)) == [False, False]


def test_small_files_are_never_copies() -> None:
    small = b"import a\nimport b\n"
    assert len(shingles(tokenize(small).hashes)) == 0
    assert len(shingles(tokenize(b"a " * (FEWEST + 5)).hashes)) == FEWEST
    assert flags(small, small) == [False, False]


def test_signatures_estimate_the_share_of_common_shingles() -> None:
    one = module("one", 80)
    for changes in (2, 10, 30):
        a, b = (set(shingles(tokenize(text).hashes).tolist()) for text in (one, edited(one, changes)))
        both = signatures([np.array(sorted(a), np.uint64), np.array(sorted(b), np.uint64)])
        truth = len(a & b) / len(a | b)
        # Five standard deviations of a mean of PERMUTATIONS independent draws.
        assert abs((both[0] == both[1]).mean() - truth) < 5 * np.sqrt(truth * (1 - truth) / PERMUTATIONS) + 1e-9


def test_no_files_at_all() -> None:
    assert near_copies(signatures([])).tolist() == []
