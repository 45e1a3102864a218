"""Starling's own rankers as `evaluate` compares them: a blend each, with or without a model's scores, or without a part."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tuning.ranking.evaluating.known_scores import KnownScores
from tuning.ranking.serving.blend import Blend

if TYPE_CHECKING:
    from tuning.ranking.evaluating.time_budgets import Timed
    from tuning.ranking.serving.model.scorer import Scorer

WITHOUT = " without "  # in the name of a ranker that lacks a part


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One of Starling's own rankers: a blend, and perhaps a model's scores in it, which may be shown `alone` too."""

    name: str
    blend: Blend
    scorer: Scorer | KnownScores | Timed | None = None
    alone: str = ""


def all_variants(given: argparse.Namespace) -> list[Variant]:
    """The variants that `evaluate`'s options ask for. Raises OSError, BlendError, ScorerError, TuningError."""
    blend = Blend.load(given.blend) if given.blend else Blend.load()
    variants = [Variant(name="Starling, signals", blend=blend)]
    if given.model or given.budgets:
        from tuning.ranking.serving.model.loading import load_scorer

        scorer = load_scorer(given.base or "", adapter=given.adapter)
        if given.model:
            variants.append(
                Variant(name="Starling, model, no deadline", blend=blend, scorer=scorer, alone="model alone")
            )
        if given.budgets:
            from tuning.ranking.evaluating.time_budgets import Timed, Timeline

            timeline = Timeline(scorer, max(given.budgets))
            for budget in given.budgets:
                timed = Timed(timeline=timeline, milliseconds=budget)
                variants.append(Variant(name=f"Starling, model, {budget:g} ms", blend=blend, scorer=timed))
    for spec in given.scores:
        name, _, files = spec.rpartition("=")
        file, _, own = files.partition(",")
        known = KnownScores([Path(file)])
        mine = Blend.load(Path(own)) if own else blend
        name = name or "model"
        variants.append(
            Variant(
                name=f"Starling, {name}",
                blend=mine,
                scorer=known,
                alone="" if WITHOUT in name else f"{name} alone",
            )
        )
    with_model = next((variant for variant in variants if variant.scorer is not None), None)
    for file in sorted(given.without.glob("*.json")) if given.without else []:
        less = Blend.load(file)
        variants.append(Variant(name=f"Starling, signals{WITHOUT}{file.stem}", blend=less))
        if with_model is not None:
            variants.append(
                Variant(name=f"{with_model.name}{WITHOUT}{file.stem}", blend=less, scorer=with_model.scorer)
            )
    return variants
