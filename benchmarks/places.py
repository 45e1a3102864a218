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

from corpus.lists.dependencies import PACKAGES
from corpus.lists.list_files import Recorded, read_lists
from corpus.lists.positions import cut
from corpus.lists.replay_rules import Rules, filled, rules_for, source_roots, written_above
from corpus.lists.workspace import unfold
from corpus.mining.sources import snapshot
from corpus.rankbench.origins import Bench, benches, place_of
from corpus.syntax.language import languages
from lsp_server.servers.backend import find_command
from lsp_server.servers.placeholders import expanded
from lsp_server.servers.presets import by_name
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
    suffixes = tuple(suffix for name in bench.languages for suffix in languages()[name].extensions)
    for name, here in groups.items():
        rules = rules_for(bench.server)
        with _laid_out(name, rules, suffixes) as (root, base):
            command, beside = (
                (*expanded(by_name(bench.server).command, workspace=place), *rules.arguments)
                for place in (root, root / "beside")
            )
            options = filled(
                rules.options,
                dependencies=base.parent / PACKAGES,
                source_roots=source_roots(root, rules.source_root, suffixes),
                server=Path(find_command(command) or command[0]),
            )
            yield Repository(
                name=name, root=root, command=command, beside=beside, rows=here, base=base, options=options
            )


@contextmanager
def _laid_out(name: str, rules: Rules, suffixes: tuple[str, ...]) -> Generator[tuple[Path, Path]]:
    with tempfile.TemporaryDirectory(prefix="starling-bench-") as folder:
        base = Path(folder).resolve() / "sources"
        root = unfold(snapshot(place_of(name)), base, rules.left_out)
        written_above(rules, root, base.parent, suffixes)
        yield root, base
