"""python -m benchmarks.live: members of RankBench, asked of a running Starling under its deadline.

    python -m benchmarks.live --language python --limit 150 --rankers model --when typed,cold-0,cold-100,cold-300

A real session with RankBench's wrapped server of that language. `typed`: the last keys before the member are typed at a person's pace,
then completion is requested. `cold-N`: the file is opened with the cursor at the member, documentHighlight is requested
there (as editors do when the cursor rests), and completion N milliseconds later. A name that the model has not scored
by the deadline counts against it, as it does for a user. Each list is requested again after the member's first letter
was typed ("next key"). Printed beside the places: how often the first item has a star, how often that is right, and
the calibration error of first items. Control-C prints the figures of the repositories that are done.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.latency import KEY_SECONDS, settled, span
from benchmarks.places import Repository, add_flags, repositories
from corpus.rankbench.origins import benches
from corpus.syntax.candidate import matches, name_of
from corpus.syntax.language import language_for
from lsp_server.documents.positions import units
from lsp_server.probe import Probe, in_order, items_of
from tests.servers.catalog import path_with_servers
from tuning.ranking.evaluating.calibration import calibration_error
from tuning.ranking.evaluating.metrics import summary

console = Console()
KEYS = 4
SIGNALS = "signals"  # needs no time: asked in the first of the ways only
TYPED, COLD = "typed", "cold-"
RESOLVED = 30.0  # seconds
LOADED_SECONDS = 45.0  # until a server's first list that holds anything
STAR = "★ "
_P = re.compile(r"(\d+) % likely")  # in the reasons that Starling adds to an item's documentation


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One list: the truth's place, from 0, and what the first item promised."""

    place: int
    p: float | None  # None where the list was not ranked
    is_starred: bool
    next_place: int | None  # after one more key; None if the list does not have it then


def main() -> None:
    """Command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_flags(options, 200)
    options.add_argument("--rankers", default="signals,model", help="comma-separated (default signals,model)")
    options.add_argument("--when", default=TYPED, help="comma-separated: typed, cold-MILLISECONDS (default typed)")
    options.add_argument("--deadline", type=int, default=60, help="milliseconds (default %(default)s)")
    given = options.parse_args()
    os.environ["PATH"] = path_with_servers()
    table = Table(title=f"under a deadline of {given.deadline} ms; typed at {KEY_SECONDS * 1000:.0f} ms a key")
    columns = ("language", "ranker", "when", "positions", "R@1", "R@5", "MRR", "next key", "starred", "right", "ECE")
    for column in columns:
        table.add_column(column)
    is_ended = False
    for language in given.language or benches():
        when = given.when.split(",")
        ways = [
            (ranker, at) for at in when for ranker in given.rankers.split(",") if ranker != SIGNALS or at == when[0]
        ]
        answers: dict[tuple[str, str], list[Answer]] = {way: [] for way in ways}
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task(language, total=len(ways) * given.limit or None)
            done = partial(progress.advance, task)
            try:
                for one in repositories(benches()[language], given.limit):
                    asked = {way: asyncio.run(ask(one, *way, given.deadline, done)) for way in ways}  # turn by turn
                    for way, found in asked.items():
                        answers[way] += found
            except KeyboardInterrupt:
                is_ended = True
        for way, found in answers.items():
            if found:
                table.add_row(language, *way, str(len(found)), *_figures(found))
        if is_ended:
            break
    Console(width=max(console.width, 140)).print(table)


def _figures(found: Sequence[Answer]) -> Iterator[str]:
    for value, low, high in summary([one.place for one in found]).values():
        yield f"{value:.3f} [{low:.3f}, {high:.3f}]"
    following = [one.next_place for one in found if one.next_place is not None]
    yield f"{following.count(0) / max(1, len(following)):.3f} of {len(following)}"
    starred = [one.place == 0 for one in found if one.is_starred]
    yield f"{len(starred) / max(1, len(found)):.0%}"
    yield f"{sum(starred) / max(1, len(starred)):.0%}"
    yield f"{calibration_error([(one.p, one.place == 0) for one in found if one.p is not None]):.3f}"


async def ask(one: Repository, ranker: str, when: str, deadline: int, done: Callable[[], object]) -> list[Answer]:
    """What the editor would show at each position."""
    flags = ["--ranker", ranker, "--deadline", str(deadline)]
    probe = Probe([sys.executable, "-P", "-m", "lsp_server", "--stdio", *flags, "--", *one.command])
    await probe.start(one.root, options=dict(one.options) or None)
    await settled(probe, quiet=True)
    await _loaded(probe, one)
    found: list[Answer] = []
    for row in one.rows:
        before, after = one.texts(row)
        uri = (one.base / row.path).as_uri()
        start, version = await arrive(probe, uri, row.path, before, after, when)
        line = before.count(b"\n")
        items = in_order(items_of(await probe.complete(uri, line, start)))
        names = [name_of(item["label"].removeprefix(STAR)) for item in items]
        if row.truth in names:
            first = await probe.backend.request("completionItem/resolve", items[0], RESOLVED)
            p = _P.search(str(first.get("documentation", "")))
            is_starred = items[0]["label"].startswith(STAR)
            await asyncio.sleep(KEY_SECONDS)
            letter = row.truth[0]
            probe.change(uri, version + 1, letter, span(line, start, start))
            again = in_order(items_of(await probe.complete(uri, line, start + units(letter.encode(), "utf-16"))))
            left = [name_of(item["label"].removeprefix(STAR)) for item in again]
            left = [name for name in left if matches(name.casefold(), letter.casefold())]
            found.append(
                Answer(
                    place=names.index(row.truth),
                    p=int(p[1]) / 100 if p else None,
                    is_starred=is_starred,
                    next_place=left.index(row.truth) if row.truth in left else None,
                )
            )
        else:
            console.print(f"{one.name} {row.path}: no {row.truth!r} in {len(names)} items this time")
        probe.backend.notify("textDocument/didClose", {"textDocument": {"uri": uri}})
        done()
    await probe.stop()
    return found


async def _loaded(probe: Probe, one: Repository) -> None:
    """Wait until the server offers anything at one of the positions: until then it has not read the project."""
    until = time.monotonic() + LOADED_SECONDS
    for row in itertools.cycle(one.rows):
        before, after = one.texts(row)
        uri = (one.base / row.path).as_uri()
        column, _ = await arrive(probe, uri, row.path, before, after, f"{COLD}0")
        found = items_of(await probe.complete(uri, before.count(b"\n"), column))
        probe.backend.notify("textDocument/didClose", {"textDocument": {"uri": uri}})
        if found:
            return
        if time.monotonic() > until:
            console.print(f"{one.name}: the server offers nothing after {LOADED_SECONDS:.0f} s")
            return
        await asyncio.sleep(0.5)


async def arrive(probe: Probe, uri: str, path: str, before: bytes, after: bytes, when: str) -> tuple[int, int]:
    """Bring the cursor to the member. Returns its column and the document's version."""
    line = before.count(b"\n")
    written = before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")
    typed = "" if when.startswith(COLD) else written[-KEYS:]
    start = units(written.removesuffix(typed).encode(), "utf-16")
    text = before.decode("utf-8", "replace").removesuffix(typed) + after.decode("utf-8", "replace")
    language = language_for("", path)
    assert language is not None
    probe.open(uri, text, language.language_ids[0])
    if when.startswith(COLD):
        where = {"textDocument": {"uri": uri}, "position": {"line": line, "character": start}}
        highlights = asyncio.ensure_future(probe.backend.request("textDocument/documentHighlight", where, RESOLVED))
        await asyncio.sleep(int(when.removeprefix(COLD)) / 1000)
        highlights.add_done_callback(lambda done: done.cancelled() or done.exception())  # the server may refuse it
    for version, key in enumerate(typed, 2):
        await asyncio.sleep(KEY_SECONDS)
        probe.change(uri, version, key, span(line, start, start))
        start += units(key.encode(), "utf-16")
    return start, 1 + len(typed)


if __name__ == "__main__":
    main()
