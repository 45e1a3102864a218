"""Whether p means what it says: of the items shown with p = 0.6, some 60 % should be right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tuning.ranking.serving.features import Floats
from tuning.ranking.serving.stars import ratings

BINS = 10
DRAWS = 200
First = tuple[float, bool]  # p of an item, and whether it was right


def calibration_error(firsts: Sequence[First]) -> float:
    """Expected calibration error: mean |p - share right| over bins of equal width, by how many are in each (Naeini et al. 2015)."""
    p, right = np.array([p for p, _ in firsts]), np.array([right for _, right in firsts], np.float64)
    return _error(p, right[None])[0] if len(firsts) else 0.0


def error_by_chance(firsts: Sequence[First]) -> float:
    """What the error would be on as many lists if every p were exact: the mean of 200 draws. Few lists show an error where there is none."""
    p = np.array([p for p, _ in firsts])
    drawn = np.random.default_rng(0).random((DRAWS, len(p))) < p
    return float(np.mean(_error(p, drawn.astype(np.float64)))) if len(firsts) else 0.0


def by_stars(named: Sequence[First]) -> dict[int, tuple[int, float]]:
    """Of the names with so many stars: how many there are, and the share that is right."""
    found: dict[int, tuple[int, float]] = {}
    stars = np.array(ratings(np.array([p for p, _ in named])))
    right = np.array([right for _, right in named], np.float64)
    for count in sorted(set(stars.tolist())):
        found[count] = int((stars == count).sum()), float(right[stars == count].mean())
    return found


def _error(p: Floats, right: Floats) -> list[float]:
    """Of each row of right [rows, lists]; p [lists]."""
    bins = np.minimum((p * BINS).astype(np.int64), BINS - 1)
    of_bin = np.eye(BINS)[bins]  # [lists, bins]
    return (np.abs((p - right) @ of_bin).sum(axis=1) / len(p)).tolist()
