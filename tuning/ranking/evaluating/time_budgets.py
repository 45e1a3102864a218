"""What a model knows after so many milliseconds: quality against time, for `evaluate --budgets`.

The prompt and its tail have been read before the clock starts, as they are live while the wrapped server works; the search is cut off
where the server would.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from tuning.ranking.serving.features import Floats
from tuning.ranking.serving.model.prompt import Prompt
from tuning.ranking.serving.model.scorer import Scorer
from tuning.ranking.serving.model.trie import Scores
from tuning.ranking.serving.remote.engine import RemoteEngine

Steps = Iterator[
    tuple[float, Floats]
]  # milliseconds since the list was asked for, and what is known of each name by then
Searched = Callable[[Prompt, Sequence[str]], Steps]


class Timeline:
    """One search at a time, and what it knows after each step. `searched` begins one; it is ended after `longest` milliseconds."""

    def __init__(self, searched: Searched, longest: float) -> None:
        self._searched, self._longest = searched, longest
        self._asked: tuple[Prompt, tuple[str, ...]] | None = None
        self._steps: list[tuple[float, Floats]] = []

    def at(self, milliseconds: float, prompt: Prompt, names: Sequence[str]) -> Floats:
        """float64[n], NaN where no step was over by then."""
        if self._asked != (prompt, tuple(names)):
            self._asked, self._steps = (prompt, tuple(names)), self._all_steps(prompt, names)
        known = [likely for taken, likely in self._steps if taken <= milliseconds]
        return known[-1] if known else np.full(len(names), np.nan)

    def _all_steps(self, prompt: Prompt, names: Sequence[str]) -> list[tuple[float, Floats]]:
        unique = list(dict.fromkeys(names))
        place = [unique.index(name) for name in names]
        steps: list[tuple[float, Floats]] = []
        for taken, likely in self._searched(prompt, unique):
            steps.append((taken, likely[place]))
            if taken > self._longest:
                break
        return steps


def searched_here(scorer: Scorer) -> Searched:
    """Searches by the model on this machine."""
    return partial(_search_here, scorer)


def _search_here(scorer: Scorer, prompt: Prompt, names: Sequence[str]) -> Steps:
    scorer.advance("budget", prompt)
    began = time.perf_counter()
    search = scorer.search("budget", prompt, names)
    try:
        finished = False
        while not finished:
            finished = search.step()
            yield 1000 * (time.perf_counter() - began), search.scores().likely
    finally:
        search.close()


def searched_by(engine: RemoteEngine, runner: asyncio.Runner) -> Searched:
    """Searches by a team's engine, which is asked in the runner's event loop. They raise RemoteError."""
    return partial(_search_by, engine, runner)


def _search_by(engine: RemoteEngine, runner: asyncio.Runner, prompt: Prompt, names: Sequence[str]) -> Steps:
    runner.run(engine.read(engine.tokens.prompt(prompt.text), engine.model))
    began = time.perf_counter()
    search = engine.search(prompt, names, {}, engine.model)
    try:
        while (step := runner.run(_next(search))) is not None:
            yield 1000 * (time.perf_counter() - began), step[0].likely
    finally:
        runner.run(search.aclose())


async def _next(search: AsyncGenerator[tuple[Scores, bool]]) -> tuple[Scores, bool] | None:
    return await anext(search, None)


@dataclass(frozen=True, kw_only=True)
class Timed:
    """A scorer that has so many milliseconds."""

    timeline: Timeline
    milliseconds: float

    def log_p(self, prompt: Prompt, names: Sequence[str]) -> Floats:
        """What is known by then: float64[n], NaN where nothing is."""
        return self.timeline.at(self.milliseconds, prompt, names)
