"""What a model knows after so many milliseconds: quality against time, for `evaluate --budgets`.

The prompt has been read before the clock starts, as it is live while the author types; the search is cut off where the server would.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tuning.ranking.serving.features import Floats
from tuning.ranking.serving.model.prompt import Prompt
from tuning.ranking.serving.model.scorer import Scorer


class Timeline:
    """One search at a time, and what it knows after each step."""

    def __init__(self, scorer: Scorer, longest: float) -> None:
        self._scorer, self._longest = scorer, longest
        self._asked: tuple[Prompt, tuple[str, ...]] | None = None
        self._steps: list[tuple[float, Floats]] = []

    def at(self, milliseconds: float, prompt: Prompt, names: Sequence[str]) -> Floats:
        """float64[n], NaN where no step was over by then."""
        if self._asked != (prompt, tuple(names)):
            self._asked, self._steps = (prompt, tuple(names)), self._searched(prompt, names)
        known = [likely for taken, likely in self._steps if taken <= milliseconds]
        return known[-1] if known else np.full(len(names), np.nan)

    def _searched(self, prompt: Prompt, names: Sequence[str]) -> list[tuple[float, Floats]]:
        unique = list(dict.fromkeys(names))
        place = [unique.index(name) for name in names]
        self._scorer.advance("budget", prompt.text)
        began = time.perf_counter()
        search = self._scorer.search("budget", prompt, unique)
        steps: list[tuple[float, Floats]] = []
        finished = False
        while not finished and (not steps or steps[-1][0] <= self._longest):
            finished = search.step()
            steps.append((1000 * (time.perf_counter() - began), search.scores().likely[place]))
        search.close()
        return steps


@dataclass(frozen=True, kw_only=True)
class Timed:
    """A scorer that has so many milliseconds."""

    timeline: Timeline
    milliseconds: float

    def log_p(self, prompt: Prompt, names: Sequence[str]) -> Floats:
        """What is known by then: float64[n], NaN where nothing is."""
        return self.timeline.at(self.milliseconds, prompt, names)
