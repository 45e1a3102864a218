"""How good an order is: R@1, R@5 and MRR over positions whose list has the truth, with bootstrap intervals (Efron 1979)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

SAMPLES = 1000
Ranks = NDArray[np.int64]
FIGURES: Mapping[str, Callable[[Ranks], NDArray[np.float64]]] = {
    "R@1": lambda ranks: (ranks < 1).astype(np.float64),
    "R@5": lambda ranks: (ranks < 5).astype(np.float64),
    "MRR": lambda ranks: 1 / (ranks + 1),
}


def summary(ranks: Sequence[int]) -> dict[str, tuple[float, float, float]]:
    """(mean, and its 95 % interval from 1,000 resamples) of each figure; `ranks` are the truth's places, from 0."""
    values = np.asarray(ranks, np.int64)
    generator = np.random.default_rng(0)
    chosen = generator.integers(0, len(values), (SAMPLES, len(values)))
    found: dict[str, tuple[float, float, float]] = {}
    for name, of in FIGURES.items():
        scores = of(values)
        low, high = np.quantile(scores[chosen].mean(axis=1), (0.025, 0.975))
        found[name] = (float(scores.mean()), float(low), float(high))
    return found


def rank_of(scores: NDArray[np.float64], is_truth: NDArray[np.bool_]) -> int:
    """Place of the truth by falling score, from 0; others of equal score count against it half the time.

    Where several candidates are the truth (overloads), the best placed counts. No score (NaN) is the lowest.
    """
    scores = np.where(np.isnan(scores), -np.inf, scores)
    best = scores[is_truth].max()
    others = scores[~is_truth]
    return int((others > best).sum() + (others == best).sum() // 2)


def rank_in(order: NDArray[np.intp], is_truth: NDArray[np.bool_]) -> int:
    """Place of the truth in an order of candidates (their indexes, best first), from 0; of several the best placed."""
    return int(np.flatnonzero(is_truth[order])[0])


def signed(figures: tuple[float, float, float]) -> str:
    """A change with its interval."""
    return "{:+.3f} [{:+.3f}, {:+.3f}]".format(*figures)


def gained(before: Sequence[int], after: Sequence[int]) -> tuple[float, float, float]:
    """How much R@1 rose, places from 0 of the same lists in the same order; with its 95 % interval, bootstrapped in pairs."""
    gains = np.array([(then < 1) - (now < 1) for now, then in zip(before, after, strict=True)], float)
    drawn = np.random.default_rng(0).integers(0, len(gains), (SAMPLES, len(gains)))
    low, high = np.quantile(gains[drawn].mean(axis=1), (0.025, 0.975))
    return float(gains.mean()), float(low), float(high)
