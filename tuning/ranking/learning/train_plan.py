"""How long a training run on one's own code takes: said before it starts, and kept to.

Rates are those of docs/your-code.md, on two laptop cores; a step of training is measured on the machine itself.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from tuning.errors import TuningError
from tuning.files import replacing
from tuning.ranking.learning.splitting import Split
from tuning.ranking.learning.windows import Window

FEWEST = 10  # steps
FEWEST_PLACES = 50
FEWEST_LISTS, FEWEST_JUDGED = 50, 20  # lists with the name that was written: to learn from, to judge on
TIMES, MOST_TIMES = 2, 6
ENOUGH = 7000  # lists to learn from: a thousand gave nothing, seven thousand did (docs/your-code.md)
PLACE_SECONDS = 0.1  # to ask a server at a place, on two cores (docs/your-code.md)
HAVE_TRUTH = 0.6  # of the places, the least of what the repositories in docs/your-code.md gave
LISTS_A_WINDOW = 4.4
WINDOW_SECONDS = 4.4  # to learn from a window once, on one core
COMPARE_SECONDS = 1.2  # to judge a list with both models
ASKING_SHARE = 0.3  # of --minutes at most


class NoTimeLeft(TuningError):
    """The fewest steps that teach anything take longer than what is left of --minutes."""

    def __init__(self, needed: float, left: float, minutes: float) -> None:
        enough = math.ceil(minutes + (needed - left) / 60)
        super().__init__(
            f"Training takes {duration(needed)} at least here, and {duration(left)} of --minutes {minutes:g} are left for it. "
            f"Give the same command with --minutes {enough}."
        )


def positions(given: argparse.Namespace) -> int:
    """Places to learn from, a repository: as many as were asked for, while asking takes no more than its share of --minutes."""
    asked = int(ASKING_SHARE * given.minutes * 60 / PLACE_SECONDS / len(given.repo))
    return max(FEWEST_PLACES, min(given.positions, asked))


def times(given: argparse.Namespace, lists: float) -> float:
    """How often training goes through its lists: as was asked for, else twice, and more often through few."""
    return given.times or max(TIMES, min(MOST_TIMES, ENOUGH / max(1.0, lists)))


def steps(
    given: argparse.Namespace,
    measure: Callable[[], float],
    batch: int,
    found: Sequence[Window],
    out: Path,
    until: float,
) -> tuple[int, float]:
    """(steps, seconds): as many as end before `until`, measured once and kept, so that a run that goes on has the same."""
    plan = out.with_suffix(".json")
    if plan.is_file():
        kept = json.loads(plan.read_text("utf-8"))
        return int(kept["steps"]), float(kept["seconds"])
    step = measure() * batch
    left = max(0.0, until - time.monotonic())
    if left < FEWEST * step:
        raise NoTimeLeft(FEWEST * step, left, given.minutes)
    through = times(given, sum(len(window.sites) for window in found)) * len(found)
    count = max(FEWEST, min(int(left / step), int(through // batch)))
    with replacing(plan) as temporary:
        temporary.write_text(json.dumps({"steps": count, "seconds": round(count * step, 1)}) + "\n", encoding="utf-8")
    return count, count * step


def announce(given: argparse.Namespace, splits: Sequence[Split], console: Console) -> None:
    """How long the run will take, and whether so few lists can help, before it starts."""
    learned = sum(project.count for one in splits for project in one.learning)
    judged = sum(project.count for one in splits for project in one.judging)
    lists = learned * HAVE_TRUTH
    asking = (learned + judged) * PLACE_SECONDS
    training = times(given, lists) * lists / LISTS_A_WINDOW * WINDOW_SECONDS
    whole = min(asking + training + judged * HAVE_TRUTH * COMPARE_SECONDS, given.minutes * 60)
    console.print(
        f"This takes about {duration(whole)} without a GPU, of which {duration(asking)} are for asking the servers "
        f"(--minutes and --positions make it shorter). Ctrl-C stops it; the same command then continues.",
        highlight=False,
    )
    if lists < ENOUGH:
        console.print(
            f"This gives about {lists:,.0f} lists. In our measurements, {ENOUGH:,} lists made the first item right more often, and 1,000 did "
            "not (docs/your-code.md). So the adapter may be no better, and then it is not installed. More code helps: add another --repo.",
            style="yellow",
            highlight=False,
        )


def too_few(learned: int, judged: int) -> str:
    """What to say where too few lists have the name that was written; "" where there are enough."""
    if learned >= FEWEST_LISTS and judged >= FEWEST_JUDGED:
        return ""
    return (
        f"Too few lists have the name that was written: {learned:,} to learn from ({FEWEST_LISTS} are needed), {judged:,} to judge on "
        f"({FEWEST_JUDGED} are needed). Give more code with --repo, or more places with --positions and --judged, or name a server "
        "that knows the code better with --server NAME."
    )


def duration(seconds: float) -> str:
    """As people say it: "40 s", "12 min", "3 h 20 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
