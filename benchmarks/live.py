"""python -m benchmarks.live: members of RankBench, asked of a running Starling under its deadline.

A real session with the default wrapped server: the last keys before the member are typed at a person's pace, then
completion is asked for. What the model does not know by the deadline counts against it here, as it does for a user.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable
from functools import partial

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.latency import KEY_SECONDS, settled, span
from benchmarks.places import Repository, add_flags, repositories
from corpus.rankbench.origins import benches
from corpus.syntax.candidate import name_of
from corpus.syntax.language import language_for
from lsp_server.positions import units
from lsp_server.probe import Probe, in_order, items_of
from tuning.ranking.metrics import summary

console = Console()
KEYS = 4


def main() -> None:
    """Command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_flags(options, 200)
    options.add_argument("--rankers", default="signals,model", help="comma-separated (default signals,model)")
    options.add_argument("--deadline", type=int, default=120, help="milliseconds (default 120)")
    given = options.parse_args()
    table = Table(title=f"under a deadline of {given.deadline} ms, line typed at {KEY_SECONDS * 1000:.0f} ms a key")
    for column in ("language", "ranker", "positions", "R@1", "R@5", "MRR"):
        table.add_column(column)
    for language in given.language or benches():
        rankers = given.rankers.split(",")
        ranks: dict[str, list[int]] = {ranker: [] for ranker in rankers}
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task(language, total=len(rankers) * given.limit or None)
            for one in repositories(benches()[language], given.limit):
                for ranker in rankers:  # turn by turn
                    ranks[ranker] += asyncio.run(ask(one, ranker, given.deadline, partial(progress.advance, task)))
        for ranker, places in ranks.items():
            cells = (f"{value:.3f} [{low:.3f}, {high:.3f}]" for value, low, high in summary(places).values())
            table.add_row(language, ranker, str(len(places)), *cells)
    console.print(table)


async def ask(one: Repository, ranker: str, deadline: int, done: Callable[[], object]) -> list[int]:
    """The truth's place in each list, from 0, as the editor would show it."""
    flags = ["--ranker", ranker, "--deadline", str(deadline)]
    probe = Probe([sys.executable, "-m", "lsp_server", "--stdio", *flags])
    await probe.start(one.root)
    await settled(probe, quiet=True)
    ranks: list[int] = []
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
        probe.backend.notify("textDocument/didClose", {"textDocument": {"uri": uri}})
        names = [name_of(item["label"].removeprefix("★ ")) for item in items]
        if row.truth in names:
            ranks.append(names.index(row.truth))
        else:
            console.print(f"{one.name} {row.path}: no {row.truth!r} in {len(names)} items this time")
        done()
    await probe.stop()
    return ranks


if __name__ == "__main__":
    main()
