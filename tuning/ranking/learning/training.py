"""Adapters learned from files of windows, on whatever the machine computes with; and what a model says of all names in such a file.

    trained(adapted, loss, windows, recipe, …)      the adapter, on disk too
    judged(model, loss, windows)                     where the truth comes
    scores(model, loss, windows)                     log P of every name, for `window_files.write_scores`

Needs nothing of the corpus, so it runs where only torch and the files are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tuning.ranking.learning.batch_layout import Batch, Laid
from tuning.ranking.learning.listwise import Listwise
from tuning.ranking.learning.recipe import Recipe
from tuning.ranking.learning.windows import Window
from tuning.training.loop import train
from tuning.training.options import Options

AT_ONCE = {"cpu": 2048}  # tokens a forward pass
MANY_AT_ONCE = 48_000
Done = Callable[[int], object]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A site where the truth was among the names: its place, from 0, by the model alone and with the signals."""

    language: str
    kind: str
    alone: int
    beside: int


def device() -> torch.device:
    """What this machine computes with."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def trained(
    adapted: Any,
    loss: Listwise,
    found: Sequence[Window],
    recipe: Recipe,
    *,
    steps: int,
    out: Path,
    show: bool = True,
    stop: Callable[[], bool] = lambda: False,
) -> int:
    """Train an adapted model for so many steps, and write its adapter into `out`; goes on where a run that was cut off stopped.

    Returns the steps that it has made: fewer where `stop`, which is asked after each, ended it. A step's batch is computed a window at a time on a CPU, else all at once. Raises TuningError, OSError.
    """
    on_cpu = loss.ending.device.type == "cpu"
    options = Options(
        lr=recipe.lr,
        steps=steps,
        batch_size=recipe.batch,
        accumulation=recipe.batch if on_cpu else 1,
        warmup=max(1, steps // 20),
        seed=recipe.seed,
        save_every=20 if on_cpu else max(1, steps // 3),
    )
    laid = [Laid.of(window) for window in found]
    outcome = train(adapted, laid, options, loss=loss, collate=Batch.of, out=out, show=show, unit="lists", stop=stop)
    adapted.save_pretrained(out)
    return outcome.steps


def judged(model: Any, loss: Listwise, found: Sequence[Window], done: Done = lambda count: None) -> list[Judged]:
    """Every site of the windows that has its truth."""
    results: list[Judged] = []
    for windows, scores in _scored(model, loss, found, done):
        sites = [(window, site) for window in windows for site in window.sites]
        for (window, site), alone in zip(sites, scores, strict=True):
            if site.truth < 0:
                continue
            beside = alone + loss.beside * torch.tensor(site.beside)
            places = [int((row > row[site.truth]).sum()) for row in (alone, beside)]
            results.append(Judged(language=window.language, kind=site.kind, alone=places[0], beside=places[1]))
    return results


def scores(
    model: Any, loss: Listwise, found: Sequence[Window], done: Done = lambda count: None
) -> Iterator[tuple[str, Sequence[str], Sequence[float]]]:
    """Of every site, its prompt's key, its names and log P of each."""
    for windows, scored in _scored(model, loss, found, done):
        sites = [site for window in windows for site in window.sites]
        for site, row in zip(sites, scored, strict=True):
            yield site.prompt, site.names, row.tolist()


def _scored(
    model: Any, loss: Listwise, found: Sequence[Window], done: Done
) -> Iterator[tuple[Sequence[Window], Sequence[torch.Tensor]]]:
    """Windows of like size together, with log P of each site's candidates."""
    there = loss.ending.device
    limit = AT_ONCE.get(there.type, MANY_AT_ONCE)
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        for windows, rows in _batches(found, limit):
            with torch.no_grad():
                scored = loss.scores(model, Batch.of(rows))
            yield windows, [row.float().cpu() for row in scored]
            done(len(windows))
    finally:
        for module, training in modes.items():
            module.training = training


def _batches(found: Sequence[Window], limit: int) -> Iterator[tuple[Sequence[Window], Sequence[Laid]]]:
    laid = sorted(((Laid.of(window), window) for window in found), key=lambda pair: len(pair[0].tokens))
    start = 0
    while start < len(laid):
        size = 1
        while start + size < len(laid) and (size + 1) * len(laid[start + size][0].tokens) <= limit:
            size += 1
        some = laid[start : start + size]
        start += size
        yield [window for _, window in some], [row for row, _ in some]


def steps_for(windows: int, times: float, batch: int) -> int:
    """How many steps go through so many windows that often."""
    return max(1, math.ceil(windows * times / batch))
