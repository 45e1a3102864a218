"""Starling's own rankers as `evaluate` compares them: a blend each, with or without a model's scores, or without a part."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tuning.ranking.evaluating.known_scores import KnownScores
from tuning.ranking.evaluating.time_budgets import Searched, Timed, Timeline, searched_by, searched_here
from tuning.ranking.serving.blend import Blend
from tuning.ranking.serving.remote.address import remote_of
from tuning.ranking.serving.remote.engine import RemoteEngine
from tuning.ranking.serving.remote.errors import RemoteUnreachable

if TYPE_CHECKING:
    from tuning.ranking.serving.model.scorer import Scorer

WITHOUT = " without "  # in the name of a ranker that lacks a part


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One of Starling's own rankers: a blend, and perhaps a model's scores in it, which may be shown `alone` too."""

    name: str
    blend: Blend
    scorer: Scorer | KnownScores | Timed | None = None
    alone: str = ""


@contextmanager
def all_variants(given: argparse.Namespace) -> Generator[list[Variant]]:
    """The variants that `evaluate`'s options ask for. Raises OSError, BlendError, ScorerError, TuningError, RemoteError."""
    with ExitStack() as open_engine:
        yield _variants(given, open_engine)


def _variants(given: argparse.Namespace, open_engine: ExitStack) -> list[Variant]:
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
            variants += _within(given.budgets, "model", blend, searched_here(scorer))
        if given.remote:
            engine = open_engine.enter_context(_engine(given, scorer))
            variants += _within(given.budgets, "team's engine", blend, searched_by(*engine))
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


def _within(budgets: Sequence[float], what: str, blend: Blend, searched: Searched) -> Iterator[Variant]:
    timeline = Timeline(searched, max(budgets))
    for budget in budgets:
        timed = Timed(timeline=timeline, milliseconds=budget)
        yield Variant(name=f"Starling, {what}, {budget:g} ms", blend=blend, scorer=timed)


@contextmanager
def _engine(given: argparse.Namespace, scorer: Scorer) -> Generator[tuple[RemoteEngine, asyncio.Runner]]:
    """A team's engine that was tried, and the event loop in which it is asked. Raises RemoteError."""
    remote = remote_of(given.remote, token_file=given.remote_token_file)
    assert remote is not None
    try:
        engine = RemoteEngine(remote, scorer.tokenizer)
    except (OSError, ValueError) as error:
        raise RemoteUnreachable(f"the engine's token can't be read: {error}") from error
    with asyncio.Runner() as runner:
        try:
            runner.run(engine.check())
            yield engine, runner
        finally:
            runner.run(engine.close())
