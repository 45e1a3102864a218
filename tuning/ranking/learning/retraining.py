"""An adapter from a user's own repositories: lists, training, a comparison on later lines, and the better one installed.

    lists_of(splits, work)       what real servers offer; answers are kept in `work`, and not asked for again
    windows_of(looked_up(…))     what is learned from
    learning.trained(…)          by the ranker's objective; goes on where it stopped
    compare(…)                   with what is used now

Nothing of a repository is run, and nothing connects anywhere.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus.lists.candidates import Tally, record
from corpus.lists.list_files import Recorded
from tuning.errors import TuningError
from tuning.ranking.evaluating.cases import Case, cases
from tuning.ranking.evaluating.metrics import rank_in
from tuning.ranking.learning.batch_layout import Batch, Laid
from tuning.ranking.learning.listwise import Listwise
from tuning.ranking.learning.splitting import Split
from tuning.ranking.learning.window_building import accepted_windows, windows
from tuning.ranking.learning.windows import Window
from tuning.ranking.serving.acceptance_log import Accepted
from tuning.ranking.serving.blend import Blend
from tuning.ranking.serving.model import adapter_registry
from tuning.ranking.serving.model.adapter_registry import AdapterRegistryError
from tuning.ranking.serving.model.loading import load_scorer
from tuning.ranking.serving.model.scorer import Scorer
from tuning.ranking.serving.rank import ordered, shortlist
from tuning.training.precision import autocast, computes_bf16

TRIED = 5  # windows
Done = Callable[[str, int], object]


@dataclass(frozen=True, kw_only=True)
class Lists:
    """What servers said at the places to learn from and to judge on."""

    learning: Sequence[Recorded]
    judging: Sequence[Recorded]
    tally: Tally


def lists_of(splits: Sequence[Split], work: Path, *, jobs: int, done: Done) -> Lists:
    """Ask the servers; file by file, so that a run that was cut off goes on. Raises OSError."""
    learning = [project for split in splits for project in split.learning]
    judging = [project for split in splits for project in split.judging]
    rows, tally = record([*learning, *judging], work / "lists", jobs=jobs, done=done)
    judged = {(project.name, file.path, file.written) for project in judging for file in project.files}
    return Lists(
        learning=[row for row in rows if (row.repository, row.path, row.written) not in judged],
        judging=[row for row in rows if (row.repository, row.path, row.written) in judged],
        tally=tally,
    )


def looked_up(rows: Iterable[Recorded], splits: Sequence[Split], done: Done) -> Iterator[Case]:
    """The lists that have the truth, with all that is known of them. Raises SourceError."""
    places = {name: place for split in splits for name, place in split.places.items()}
    return cases(rows, places.__getitem__, done)


def windows_of(found: Iterable[Case], written: Iterable[Accepted], tokenizer: Any) -> list[Window]:
    """What is trained on: recorded lists, and what was written where lists were shown."""

    def encode(text: str) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=False)

    return [*windows(found, Blend.load(), encode), *accepted_windows(written, encode)]


def seconds_a_window(model: Any, loss: Listwise, found: Sequence[Window], batch: int) -> float:
    """How long this machine takes to learn from a window, there and back: the median of a few; on a GPU of a step's, which are one batch there."""
    device = loss.ending.device
    at_once = 1 if device.type == "cpu" else batch
    taken: list[float] = []
    for start in range(0, len(found), max(1, len(found) // TRIED))[: TRIED + 1]:
        some = [Laid.of(window) for window in found[start : start + at_once]]
        began = time.perf_counter()
        with autocast(device, computes_bf16(device)):
            total, _ = loss(model, Batch.of(some))
        total.backward()
        total.item()  # what was asked of a GPU is over
        taken.append((time.perf_counter() - began) / len(some))
    model.zero_grad()
    return statistics.median(taken[1:] or taken)  # the first warms up


def used_now(name: str, base: str, say: Callable[[str], object]) -> tuple[str, Scorer]:
    """(what is used now, in words; its scorer): the adapter of this name, or the base as it is where that adapter can't be used on it.

    `say` hears why. Raises ScorerError, OSError.
    """
    try:
        used = adapter_registry.used(name)
        if used is not None:
            return f"now ({name} {used.version})", load_scorer(base, adapter=str(used.folder))
    except (TuningError, AdapterRegistryError) as error:
        say(f"The adapter in use can't be loaded any more, so the comparison is with the model without it ({error}).")
    return "now (no adapter of its own)", load_scorer(base)


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where the truth came in each judged list, from 0, by each of two models; and by signals alone."""

    signals: Sequence[int]
    now: Sequence[int]
    then: Sequence[int]


def compare(found: Sequence[Case], now: Scorer, then: Scorer, done: Done) -> Places:
    """The truth's places by the blend with each model's scores, searched to their ends."""
    blend = Blend.load()
    places: dict[str, list[int]] = {"signals": [], "now": [], "then": []}
    for case in found:
        places["signals"].append(rank_in(ordered(case.known, blend).order, case.is_truth))
        chosen = shortlist(case.known, blend)
        names = [case.known.candidates[i].name for i in chosen]
        for which, scorer in (("now", now), ("then", then)):
            order = ordered(case.known, blend, scorer.log_p(case.prompt, names), chosen)
            places[which].append(rank_in(order.order, case.is_truth))
        done(case.recorded.path, 1)
    return Places(**places)
