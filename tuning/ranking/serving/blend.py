"""The learned combination of signals and model.

Linear and listwise: score = weights · columns, p = softmax over the list; weights of their own for members, bare names and
imports. They are data (blend.json), fitted by `python -P -m tuning.ranking fit` on repositories that no figure is measured
on. Never drops a candidate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from tuning.ranking.serving.features import MODEL, SIGNALS, Floats

FILE = Path(__file__).with_name("blend.json")
KINDS = ("member", "name", "import")  # of sites; the last resort is "name"


def weighed_as(kind: str) -> str:
    """Whose weights a kind of site has: its own, or a bare name's."""
    return kind if kind in KINDS else "name"


class BlendError(ValueError):
    """A blend file that does not fit this version; carries what is wrong with it."""


class _Stored(msgspec.Struct, kw_only=True):
    signals: dict[str, dict[str, float]]  # kind -> column -> weight
    model: dict[str, dict[str, float]]


@dataclass(frozen=True, kw_only=True)
class Blend:
    """Weights by kind of site and column: `signals` for lists without the model's scores, `model` with them."""

    signals: Mapping[str, Floats]
    model: Mapping[str, Floats]

    @classmethod
    def load(cls, path: Path = FILE) -> Blend:
        """Read a blend. Raises BlendError where a kind or a column is unknown or missing."""
        try:
            stored = msgspec.json.decode(path.read_bytes(), type=_Stored)
        except (OSError, msgspec.DecodeError) as error:
            raise BlendError(f"{path}: {error}") from error
        return cls(
            signals=_vectors(stored.signals, SIGNALS, path),
            model=_vectors(stored.model, SIGNALS + MODEL, path),
        )

    def save(self, path: Path = FILE) -> None:
        """Write it where `load` finds it."""
        stored = _Stored(signals=_named(self.signals, SIGNALS), model=_named(self.model, SIGNALS + MODEL))
        temporary = path.with_suffix(".tmp")
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(stored), indent=1) + b"\n")
        temporary.replace(path)

    def scores(self, matrix: Floats, kind: str) -> Floats:
        """Blended scores, float64[n], from the columns of `signals` or `with_model`, at a site of a kind."""
        weights = self.signals if matrix.shape[1] == len(SIGNALS) else self.model
        return matrix @ weights[weighed_as(kind)]


def _vectors(weights: Mapping[str, Mapping[str, float]], names: Sequence[str], path: Path) -> dict[str, Floats]:
    if set(weights) != set(KINDS):
        raise BlendError(f"{path}: kinds differ: {sorted(set(weights) ^ set(KINDS))}")
    for columns in weights.values():
        if set(columns) != set(names):
            raise BlendError(f"{path}: columns differ: {sorted(set(columns) ^ set(names))}")
    return {kind: np.array([columns[name] for name in names]) for kind, columns in weights.items()}


def _named(weights: Mapping[str, Floats], names: Sequence[str]) -> dict[str, dict[str, float]]:
    return {
        kind: {name: round(float(weight), 4) for name, weight in zip(names, vector, strict=True)}
        for kind, vector in weights.items()
    }


def fit(
    lists: Sequence[tuple[NDArray[np.floating], int]],
    *,
    monotone: Sequence[int] = (),
    toward: Floats | None = None,
    l2: float = 0.003,
    steps: int = 600,
) -> Floats:
    """Weights that make the truth likely: mean listwise cross-entropy + l2 · |weights - toward|², by Adam.

    `lists`: (columns float[n_i, f], index of the truth). `monotone` columns are kept from going below zero. `toward`: where it begins
    and is drawn to, zero where left out.
    """
    rows = np.concatenate([matrix for matrix, _ in lists])
    starts = np.cumsum([0] + [len(matrix) for matrix, _ in lists])[:-1]
    owner = np.repeat(np.arange(len(lists)), [len(matrix) for matrix, _ in lists])
    truth = starts + np.array([index for _, index in lists])
    scale = rows.std(axis=0, dtype=np.float64) + 1e-6
    scaled = (rows / scale).astype(rows.dtype)
    drawn = np.zeros(rows.shape[1]) if toward is None else toward * scale
    weights = drawn.copy()
    momentum, energy = np.zeros_like(weights), np.zeros_like(weights)
    target = scaled[truth].sum(axis=0, dtype=np.float64)
    for step in range(1, steps + 1):
        logits = scaled @ weights.astype(scaled.dtype)
        logits -= np.maximum.reduceat(logits, starts)[owner]
        odds = np.exp(logits)
        p = odds / np.add.reduceat(odds, starts)[owner]
        gradient = (scaled.T @ p - target) / len(lists) + l2 * (weights - drawn)
        momentum = 0.9 * momentum + 0.1 * gradient
        energy = 0.99 * energy + 0.01 * gradient**2
        rate = 0.1 * (1 - step / (steps + 1))
        weights -= rate * (momentum / (1 - 0.9**step)) / (np.sqrt(energy / (1 - 0.99**step)) + 1e-8)
        weights[list(monotone)] = np.maximum(weights[list(monotone)], 0.0)
    return weights / scale
