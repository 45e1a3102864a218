"""python -m benchmarks.live: members of RankBench, asked of a running Starling under its deadline.

A real session with the default wrapped server: the last keys before the member are typed at a person's pace, then
completion is asked for. What the model does not know by the deadline counts against it here, as it does for a user. Beside
the places: how often the first item has a star, how often that is right, and how far first items' p is from what it promises.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.latency import KEY_SECONDS, settled, span
from benchmarks.places import Repository, add_flags, repositories
from corpus.rankbench.origins import benches
from corpus.syntax.candidate import name_of
from corpus.syntax.language import language_for
from lsp_server.documents.positions import units
from lsp_server.probe import Probe, in_order, items_of
from tuning.ranking.evaluating.calibration import calibration_error
from tuning.ranking.evaluating.metrics import summary

console = Console()
KEYS = 4
RESOLVED = 30.0  # seconds
STAR = "★ "
_P = re.compile(r"(\d+) % likely")  # in the reasons that Starling adds to an item's documentation


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One list: the truth's place, from 0, and what the first item promised."""

    place: int
    p: float | None  # None where the list was not ranked
    is_starred: bool


def main() -> None:
    """Command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_flags(options, 200)
    options.add_argument("--rankers", default="signals,model", help="comma-separated (default signals,model)")
    options.add_argument("--deadline", type=int, default=60, help="milliseconds (default %(default)s)")
    given = options.parse_args()
    table = Table(title=f"under a deadline of {given.deadline} ms, line typed at {KEY_SECONDS * 1000:.0f} ms a key")
    for column in ("language", "ranker", "positions", "R@1", "R@5", "MRR", "first starred", "and right", "ECE"):
        table.add_column(column)
    for language in given.language or benches():
        rankers = given.rankers.split(",")
        answers: dict[str, list[Answer]] = {ranker: [] for ranker in rankers}
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task(language, total=len(rankers) * given.limit or None)
            for one in repositories(benches()[language], given.limit):
                for ranker in rankers:  # turn by turn
                    answers[ranker] += asyncio.run(ask(one, ranker, given.deadline, partial(progress.advance, task)))
        for ranker, found in answers.items():
            table.add_row(language, ranker, str(len(found)), *_figures(found))
    console.print(table)


def _figures(found: Sequence[Answer]) -> Iterator[str]:
    for value, low, high in summary([one.place for one in found]).values():
        yield f"{value:.3f} [{low:.3f}, {high:.3f}]"
    starred = [one.place == 0 for one in found if one.is_starred]
    yield f"{len(starred) / max(1, len(found)):.0%}"
    yield f"{sum(starred) / max(1, len(starred)):.0%}"
    yield f"{calibration_error([(one.p, one.place == 0) for one in found if one.p is not None]):.3f}"


async def ask(one: Repository, ranker: str, deadline: int, done: Callable[[], object]) -> list[Answer]:
    """What the editor would show at each position."""
    flags = ["--ranker", ranker, "--deadline", str(deadline)]
    probe = Probe([sys.executable, "-m", "lsp_server", "--stdio", *flags])
    await probe.start(one.root)
    await settled(probe, quiet=True)
    found: list[Answer] = []
    for row in one.rows:
        before, after = one.texts(row)
        uri = (one.base / row.path).as_uri()
        line = before.count(b"\n")
        written = before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")
        typed = written[-KEYS:]
        start = units(written[:-KEYS].encode(), "utf-16")
        text = before.decode("utf-8", "replace").removesuffix(typed) + after.decode("utf-8", "replace")
        language = language_for("", row.path)
        assert language is not None
        probe.open(uri, text, language.language_ids[0])
        for version, key in enumerate(typed, 2):
            await asyncio.sleep(KEY_SECONDS)
            probe.change(uri, version, key, span(line, start, start))
            start += units(key.encode(), "utf-16")
        items = in_order(items_of(await probe.complete(uri, line, start)))
        names = [name_of(item["label"].removeprefix(STAR)) for item in items]
        if row.truth in names:
            first = await probe.backend.request("completionItem/resolve", items[0], RESOLVED)
            p = _P.search(str(first.get("documentation", "")))
            is_starred = items[0]["label"].startswith(STAR)
            found.append(Answer(place=names.index(row.truth), p=int(p[1]) / 100 if p else None, is_starred=is_starred))
        else:
            console.print(f"{one.name} {row.path}: no {row.truth!r} in {len(names)} items this time")
        probe.backend.notify("textDocument/didClose", {"textDocument": {"uri": uri}})
        done()
    await probe.stop()
    return found


if __name__ == "__main__":
    main()
