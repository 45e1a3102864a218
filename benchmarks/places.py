"""RankBench's positions for benchmarks that ask running servers: a sample of each repository's, its sources laid out once."""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus.lists.candidates import command_of, set_up
from corpus.lists.list_files import Recorded, read_lists
from corpus.lists.positions import cut
from corpus.lists.replay import Replay
from corpus.lists.replay_rules import rules_for
from corpus.lists.workspace import unfold
from corpus.mining.sources import snapshot
from corpus.rankbench.origins import Bench, benches, place_of
from tuning.ranking.evaluating.evaluate import sample

WARM_SECONDS = 120.0  # what a server may take until its first list


@dataclass(frozen=True, kw_only=True)
class Repository:
    """One of RankBench's, on disk, and the positions in it that are asked for."""

    name: str
    root: Path
    command: tuple[str, ...]  # of its wrapped server
    beside: tuple[str, ...]  # of a second one at the same time, which keeps what it keeps elsewhere
    rows: Sequence[Recorded]
    base: Path  # what the rows' paths are below
    options: Mapping[str, Any]  # initializationOptions for the wrapped server

    def texts(self, row: Recorded) -> tuple[bytes, bytes]:
        """What stands before the cursor and after it."""
        return cut((self.base / row.path).read_bytes(), row.position)


def add_flags(options: argparse.ArgumentParser, limit: int) -> None:
    """What all of these benchmarks take."""
    options.add_argument(
        "--language", action="append", choices=sorted(benches()), help="may be repeated; default: all of RankBench's"
    )
    options.add_argument(
        "--limit", type=int, default=limit, metavar="N", help="positions a language (default %(default)s; 0: all)"
    )


def repositories(bench: Bench, limit: int) -> Iterator[Repository]:
    """Each repository with its members at which nothing is typed yet, whose list has the truth."""
    rows = [row for row in read_lists(bench.lists) if row.has_truth and row.named == "member" and not row.written]
    groups: dict[str, list[Recorded]] = defaultdict(list)
    for row in sample(rows, limit):
        groups[row.repository].append(row)
    for name, here in groups.items():
        with _laid_out(name, bench.server) as ready:
            yield Repository(
                name=name,
                root=ready.root,
                command=ready.command,
                beside=command_of(bench.server, ready.root / "beside"),
                rows=here,
                base=ready.base,
                options=ready.options,
            )


@contextmanager
def _laid_out(name: str, server: str) -> Generator[Replay]:
    with tempfile.TemporaryDirectory(prefix="starling-bench-") as folder:
        base = Path(folder).resolve() / "sources"
        yield set_up(server, unfold(snapshot(place_of(name)), base, rules_for(server).left_out), base)
