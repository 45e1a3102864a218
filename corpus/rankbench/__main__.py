"""python -P -m corpus.rankbench: recorded completion lists of real servers, to score rankers on.

    python -P -m corpus.rankbench show                       what it holds
    python -P -m corpus.rankbench fetch [--language NAME]    bring the source of its positions back, once
    python -P -m corpus.rankbench record --against CORPUS    record the lists anew (hours)

Rankers are scored by `python -P -m tuning.ranking evaluate`. Lists are kept without source, so baselines that look at the list
alone need no fetch.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections import defaultdict
from pathlib import Path

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import track

from corpus.interpreter import end_as_with_ctrl_c
from corpus.lists.candidates import Tally, record
from corpus.lists.cli_candidates import progress, report
from corpus.lists.list_files import read_lists, write_lists
from corpus.problems import print_error
from corpus.rankbench.choosing import chosen_projects
from corpus.rankbench.origins import Bench, OriginError, benches, fetch, home

console = Console(stderr=True)


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code: 1 where a source could not be had."""
    options = argparse.ArgumentParser(
        prog="python -P -m corpus.rankbench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = options.add_subparsers(required=True, metavar="COMMAND")
    for name, does, run in (
        ("show", "what it holds", _show),
        ("fetch", "bring the source of its positions back: connects to where it was published", _fetch),
        ("record", "record the lists anew, of the language's own server", _record),
    ):
        command = commands.add_parser(name, help=does, description=does)
        command.add_argument(
            "--language", action="append", default=[], choices=sorted(benches()), help="may be repeated"
        )
        command.set_defaults(run=run)
        if name == "record":
            command.add_argument(
                "--against", type=Path, metavar="CORPUS", help="leave near copies of this corpus's files out"
            )
            command.add_argument("--jobs", type=int, default=2, help="servers at once (default %(default)s)")
    given = options.parse_args(arguments)
    logging.basicConfig(level=logging.ERROR, handlers=[RichHandler(console=console, show_path=False)])
    try:
        return given.run(given, [benches()[name] for name in given.language or benches()])
    except OriginError as error:
        print_error(console, error)
        return 1


def _show(given: argparse.Namespace, chosen: list[Bench]) -> int:
    for bench in chosen:
        report(console, list(read_lists(bench.lists)), Tally())
    return 0


def _fetch(given: argparse.Namespace, chosen: list[Bench]) -> int:
    wanted: dict[str, set[str]] = defaultdict(set)
    for bench in chosen:
        for row in read_lists(bench.lists):
            wanted[row.repository].add(row.written)
    failed = 0
    for origin in track(sorted(wanted), "fetching", console=console, transient=True):
        try:
            fetch(origin, sorted(wanted[origin] - {""}))
        except OriginError as error:
            print_error(console, error)
            failed += 1
    console.print(f"{len(wanted) - failed} of {len(wanted)} sources are in {home()}.", highlight=False)
    return 1 if failed else 0


def _record(given: argparse.Namespace, chosen: list[Bench]) -> int:
    for bench in chosen:
        projects = chosen_projects(bench, given.against)
        with progress(console, sum(project.count for project in projects)) as done:
            rows, tally = record(
                projects, home() / "work" / bench.language, jobs=given.jobs, dependencies=True, done=done
            )
        write_lists(bench.file, rows)
        report(console, rows, tally)
    return 0


if __name__ == "__main__":
    end_as_with_ctrl_c()
    sys.exit(main())
