"""Starling's own rankers as `evaluate` compares them: a blend each, with or without a model's scores, or without a part."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tuning.ranking.blend import Blend
from tuning.ranking.window_files import KnownScores

if TYPE_CHECKING:
    from tuning.ranking.budgets import Timed
    from tuning.ranking.scorer import Scorer

WITHOUT = " without "  # in the name of a ranker that lacks a part


@dataclass(frozen=True, kw_only=True)
class Way:
    """One of Starling's own rankers: a blend, and perhaps a model's scores in it, which may be shown `alone` too."""

    name: str
    blend: Blend
    scorer: Scorer | KnownScores | Timed | None = None
    alone: str = ""


def all_ways(given: argparse.Namespace) -> list[Way]:
    """The ways that `evaluate`'s options ask for. Raises OSError, BlendError, ScorerError, TuningError."""
    blend = Blend.load(given.blend) if given.blend else Blend.load()
    ways = [Way(name="Starling, signals", blend=blend)]
    if given.model or given.budgets:
        from tuning.ranking.base import default_base_dir
        from tuning.ranking.scorer import Scorer

        scorer = Scorer.load(given.base or default_base_dir(), adapter=given.adapter, quantize=True)
        if given.model:
            ways.append(Way(name="Starling, model, no deadline", blend=blend, scorer=scorer, alone="model alone"))
        if given.budgets:
            from tuning.ranking.budgets import Timed, Timeline

            timeline = Timeline(scorer, max(given.budgets))
            for budget in given.budgets:
                timed = Timed(timeline=timeline, milliseconds=budget)
                ways.append(Way(name=f"Starling, model, {budget:g} ms", blend=blend, scorer=timed))
    for spec in given.scores:
        name, _, files = spec.rpartition("=")
        file, _, own = files.partition(",")
        known = KnownScores([Path(file)])
        mine = Blend.load(Path(own)) if own else blend
        name = name or "model"
        ways.append(
            Way(
                name=f"Starling, {name}",
                blend=mine,
                scorer=known,
                alone="" if WITHOUT in name else f"{name} alone",
            )
        )
    with_model = next((way for way in ways if way.scorer is not None), None)
    for file in sorted(given.without.glob("*.json")) if given.without else []:
        less = Blend.load(file)
        ways.append(Way(name=f"Starling, signals{WITHOUT}{file.stem}", blend=less))
        if with_model is not None:
            ways.append(Way(name=f"{with_model.name}{WITHOUT}{file.stem}", blend=less, scorer=with_model.scorer))
    return ways
