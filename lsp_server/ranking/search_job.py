"""Names that a model scores for a list, and their scores as they become known."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Generator, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tuning.ranking.serving.model.prompt import Prompt
from tuning.ranking.serving.model.trie import Scores

Floats = NDArray[np.float64]


class Worker(Protocol):
    """Scores jobs beside the event loop: a newer job replaces an older one."""

    name: str  # what a ranking by it is called

    @property
    def ready(self) -> bool: ...

    def serving(self, adapter: str) -> str:
        """What would score a job with `adapter` now: see `SearchJob.served_by`."""
        ...

    def advance(self, key: str, prompt: Prompt, adapter: str, *, ahead: bool = False) -> None:
        """Read the text and the tail up to here when there is nothing more urgent. `ahead`: the author only looks at this place."""
        ...

    def search(self, job: SearchJob) -> None:
        """Score the names of this job before anything else."""
        ...


class SearchJob:
    """Names to score after a prompt, by the base with an adapter. `known`: scores that are already known.

    The scores improve until the job has finished.
    """

    def __init__(
        self, *, key: str, prompt: Prompt, names: tuple[str, ...], known: Mapping[str, float], adapter: str = ""
    ) -> None:
        self.key, self.prompt, self.names, self.known, self.adapter = key, prompt, names, known, adapter
        self.served_by: str | None = None  # the adapter that scored it: another one while its own is being loaded
        self.scores: Scores | None = None  # scores of the names; None until there are any
        self.finished = False
        self.awaited = True  # whether a list waits for it; else it only goes on for the next key
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    @contextlib.contextmanager
    def waiting(self) -> Generator[None]:
        """While a list waits for this job, it is not left for another place."""
        self.awaited = True
        try:
            yield
        finally:
            self.awaited = False

    async def wait(self, seconds: float) -> Floats | None:
        """Wait until the job has finished, at most `seconds`.

        Returns log P of each name as known then; None if nothing is.
        """
        if not self.finished and seconds > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._event.wait(), seconds)
        return None if self.scores is None else self.scores.likely

    def exact_scores(self) -> dict[str, float]:
        """Return log P of the names that have a final score."""
        if self.scores is None:
            return dict(self.known)
        found = zip(self.names, self.scores.bounds.tolist(), self.scores.exact.tolist(), strict=True)
        return {name: log_p for name, log_p, exact in found if exact}

    def answers(self, names: Collection[str]) -> bool:
        """Whether this job can tell the best of these names, now or when it has finished."""
        if not set(names) <= set(self.names):
            return False
        if not self.finished or self.scores is None:
            return True
        return self.scores.certain(among=[i for i, name in enumerate(self.names) if name in names])

    def publish(self, scores: Scores, *, finished: bool) -> None:
        """Set the scores. Called by the model's thread."""
        self.scores, self.finished = scores, finished
        if finished:
            self._loop.call_soon_threadsafe(self._event.set)
