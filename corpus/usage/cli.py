"""`python -P -m corpus usage`: counts repositories, and builds tables from the counts."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from rich.console import Console

from corpus.lists.relisting import read_lists_manifest
from corpus.mining.mine import jobs_by_default
from corpus.mining.shards import read_manifest
from corpus.rankbench.origins import benches
from corpus.usage.building import LARGEST, build, card, compact
from corpus.usage.counts import read_counted
from corpus.usage.gathering import BYTES, gather
from corpus.usage.table import FOLDER

MANIFESTS = Path(__file__).parent.parent / "manifests"
Progress = Callable[[int], AbstractContextManager[Callable[[str, int], object]]]
COUNT = """Count in which contexts names stand in the repositories of a mined corpus, and add that to DIR. RankBench's repositories, and
those that the blend's lists were recorded of (corpus/manifests/lists-*.json), are never counted. No text goes into DIR."""


def add(commands: Any, progress: Progress) -> None:
    """Add the command to the parser's commands."""
    usage = commands.add_parser("usage", help="tables of which names stand in which contexts, of many repositories")
    jobs = usage.add_subparsers(required=True, metavar="COMMAND")
    count = jobs.add_parser("count", help="add a corpus's repositories to counts", description=COUNT)
    count.add_argument("corpus", type=Path, metavar="CORPUS", help="a folder that `mine` wrote")
    count.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="counts: those of earlier runs stay in it"
    )
    count.add_argument(
        "--apart",
        action="append",
        default=[],
        type=Path,
        metavar="CORPUS",
        help="a mined corpus that figures are measured on: files that nearly are one of its are not counted; may be repeated",
    )
    count.add_argument("--exclude", type=Path, metavar="FILE", help="names that are not counted, one a line")
    count.add_argument(
        "--bytes", type=int, default=BYTES, metavar="N", help="of a repository and language (default %(default)s)"
    )
    count.add_argument("--jobs", type=int, default=jobs_by_default(), help="processes (default %(default)s)")
    count.add_argument("--ray", default="", metavar="ADDRESS", help="on a Ray cluster (docs/at-scale.md)")
    count.set_defaults(run=lambda given: _count(given, progress))
    make = jobs.add_parser(
        "build", help="tables of counts", description="Make the tables that the ranker reads of counts."
    )
    make.add_argument("counts", type=Path, metavar="DIR", help="a folder that `usage count` wrote")
    make.add_argument("--out", type=Path, default=FOLDER, metavar="DIR", help="default: the installed package's own")
    make.add_argument(
        "--largest", type=int, default=LARGEST, metavar="N", help="bytes of one table (default %(default)s)"
    )
    make.add_argument("--card", type=Path, metavar="FILE", help="say there what is in them, in Markdown")
    make.set_defaults(run=_build)
    hand = jobs.add_parser(
        "compact",
        help="counts that are small enough to be handed on",
        description="Write the counts of DIR without what fewer than N repositories have. `count --out` adds to them as to any.",
    )
    hand.add_argument("counts", type=Path, metavar="DIR", help="a folder that `usage count` wrote")
    hand.add_argument("--out", type=Path, required=True, metavar="DIR", help="another folder")
    hand.add_argument(
        "--fewest", type=int, default=2, metavar="N", help="default %(default)s; a table keeps what 3 have"
    )
    hand.set_defaults(run=_compact)


def _count(given: argparse.Namespace, progress: Progress) -> int:
    left_out = measured_on()
    if given.exclude:
        lines = given.exclude.read_text("utf-8").splitlines()
        left_out |= {line.split()[0] for line in lines if line.split()}
    with progress(len(read_manifest(given.corpus).repositories)) as done:
        manifest = gather(
            given.corpus,
            given.out,
            apart=given.apart,
            left_out=left_out,
            most=given.bytes,
            jobs=given.jobs,
            ray=given.ray,
            done=done,
        )
    Console(stderr=True).print(
        f"{len(manifest.repositories):,} repositories are counted in {given.out}.", highlight=False
    )
    return 0


def _build(given: argparse.Namespace) -> int:
    tables = build(given.counts, given.out, largest=given.largest)
    text = card(read_counted(given.counts), tables)
    if given.card:
        given.card.write_text(text, "utf-8")
    Console(stderr=True).print(text, highlight=False)
    return 0


def _compact(given: argparse.Namespace) -> int:
    compact(given.counts, given.out, fewest=given.fewest)
    return 0


def measured_on() -> set[str]:
    """Return the names of the repositories used for measuring (RankBench) and for fitting the blend."""
    found = {
        re.split(r"==|(?<=.)@", origin.partition(":")[2])[0]
        for bench in benches().values()
        for origin in (*bench.origins, *bench.written)
    }
    for file in sorted(MANIFESTS.glob("lists-*.json")):
        manifest = read_lists_manifest(file)
        found |= {one.name for one in manifest.repositories} if manifest is not None else set()
    return found
