"""The learned combination of signals and model, and what its probabilities are worth in stars.

Linear and listwise: score = weights · columns, p = softmax over the list. Weights are data (blend.json), fitted by
`python -m benchmarks.quality fit` on libraries that no figure is measured on. Never drops a candidate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from tuning.ranking.features import MODEL, SIGNALS, Floats

FILE = Path(__file__).with_name("blend.json")


class BlendError(ValueError):
    """A blend file that does not fit this version; carries what is wrong with it."""


class _Stored(msgspec.Struct, kw_only=True):
    signals: dict[str, float]
    model: dict[str, float]
    stars: list[float]  # p at which an item gets 1, 2, 3, 4, 5 stars


@dataclass(frozen=True, kw_only=True)
class Blend:
    """Weights by column: `signals` for lists without the model's scores, `model` with them."""

    signals: Floats
    model: Floats
    stars: tuple[float, ...]

    @classmethod
    def load(cls, path: Path = FILE) -> Blend:
        """Read a blend. Raises BlendError where a column is unknown or missing."""
        try:
            stored = msgspec.json.decode(path.read_bytes(), type=_Stored)
        except (OSError, msgspec.DecodeError) as error:
            raise BlendError(f"{path}: {error}") from error
        return cls(
            signals=_vector(stored.signals, SIGNALS, path),
            model=_vector(stored.model, SIGNALS + MODEL, path),
            stars=tuple(stored.stars),
        )

    def save(self, path: Path = FILE) -> None:
        """Write it where `load` finds it."""
        stored = _Stored(
            signals={name: round(float(w), 4) for name, w in zip(SIGNALS, self.signals, strict=True)},
            model={name: round(float(w), 4) for name, w in zip(SIGNALS + MODEL, self.model, strict=True)},
            stars=[float(p) for p in self.stars],
        )
        temporary = path.with_suffix(".tmp")
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(stored), indent=2) + b"\n")
        temporary.replace(path)

    def scores(self, matrix: Floats) -> Floats:
        """Blended scores, float64[n], from the columns of `signals` or `with_model`."""
        return matrix @ (self.signals if matrix.shape[1] == len(SIGNALS) else self.model)

    def rating(self, p: float) -> int:
        """0 for no star, else 1 to 5."""
        return sum(p >= threshold for threshold in self.stars)


def _vector(weights: Mapping[str, float], names: tuple[str, ...], path: Path) -> Floats:
    if set(weights) != set(names):
        raise BlendError(f"{path}: columns differ: {sorted(set(weights) ^ set(names))}")
    return np.array([weights[name] for name in names])


def fit(
    lists: list[tuple[Floats, int]], *, monotone: tuple[int, ...] = (), l2: float = 0.003, steps: int = 600
) -> Floats:
    """Weights that make the truth likely: mean listwise cross-entropy + l2, by Adam from zero.

    `lists`: (columns float64[n_i, f], index of the truth). `monotone` columns are kept from going below zero.
    """
    rows = np.concatenate([matrix for matrix, _ in lists])
    starts = np.cumsum([0] + [len(matrix) for matrix, _ in lists])[:-1]
    owner = np.repeat(np.arange(len(lists)), [len(matrix) for matrix, _ in lists])
    truth = starts + np.array([index for _, index in lists])
    scale = rows.std(axis=0) + 1e-6
    scaled = rows / scale
    weights = np.zeros(rows.shape[1])
    momentum, energy = np.zeros_like(weights), np.zeros_like(weights)
    target = scaled[truth].sum(axis=0)
    for step in range(1, steps + 1):
        logits = scaled @ weights
        logits -= np.maximum.reduceat(logits, starts)[owner]
        odds = np.exp(logits)
        p = odds / np.add.reduceat(odds, starts)[owner]
        gradient = (scaled.T @ p - target) / len(lists) + l2 * weights
        momentum = 0.9 * momentum + 0.1 * gradient
        energy = 0.99 * energy + 0.01 * gradient**2
        rate = 0.1 * (1 - step / (steps + 1))
        weights -= rate * (momentum / (1 - 0.9**step)) / (np.sqrt(energy / (1 - 0.99**step)) + 1e-8)
        weights[list(monotone)] = np.maximum(weights[list(monotone)], 0.0)
    return weights / scale
