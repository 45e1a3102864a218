"""python -m benchmarks.mining REPO...: what mining costs beside bare parsing of the same bytes.

Every repository is read once, and then in turn by both, `--rounds` times: the whole survey (objects, filters, secrets, parsing, sites,
signatures), and tree-sitter alone over the files that were kept. One process, processor time, the median of the rounds.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Mapping, Sequence
from statistics import median

import tree_sitter
from rich.console import Console
from rich.table import Table

from corpus.mining.secrets import has_secret
from corpus.mining.sources import snapshot
from corpus.mining.survey import Kept, Options, survey
from corpus.syntax.language import languages
from corpus.syntax.parse import grammar


def main() -> None:
    """Command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("sources", nargs="+", metavar="REPO", help="git repositories, folders or archives")
    options.add_argument("--licence", action="append", help="allow this licence too, as 'unknown'", default=[])
    options.add_argument("--rounds", type=int, default=3, help="how often each reads a repository (3)")
    given = options.parse_args()
    wanted = Options(licences=(*Options().licences, *given.licence))
    parsers = {language.id: tree_sitter.Parser(grammar(language)) for language in languages().values()}
    has_secret(b"AKIA")  # libraries and grammars are loaded once
    table = Table(title="mining and bare parsing, one process")
    for column in ("source", "files", "MB kept", "MB left out", "mining MB/s", "parsing MB/s", "ratio"):
        table.add_column(column, justify="left" if column == "source" else "right")
    total = [0.0, 0.0, 0.0]
    for place in given.sources:
        found = survey(snapshot(place), wanted)
        rounds = [_round(place, wanted, found.files, parsers) for _ in range(given.rounds)]
        mining, parsing = (median(seconds) for seconds in zip(*rounds, strict=True))
        size = sum(len(file.data) for file in found.files) / 1e6
        if not size:
            continue
        total = [total[0] + size, total[1] + mining, total[2] + parsing]
        left_out = sum(size for _, size in found.dropped.values()) / 1e6
        table.add_row(
            found.name, f"{len(found.files):,}", f"{size:.1f}", f"{left_out:.1f}", *_rates(size, mining, parsing)
        )
    table.add_section()
    table.add_row("all", "", f"{total[0]:.1f}", "", *_rates(*total))
    console = Console()
    console.print(table)
    console.print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB")


def _round(
    place: str, wanted: Options, files: Sequence[Kept], parsers: Mapping[str, tree_sitter.Parser]
) -> tuple[float, float]:
    """Processor time, in seconds: of mining the source, and of parsing the files that are kept of it."""
    started = time.process_time()
    survey(snapshot(place), wanted)
    mined = time.process_time()
    for file in files:
        parsers[file.language].parse(file.data)
    return mined - started, time.process_time() - mined


def _rates(size: float, mining: float, parsing: float) -> tuple[str, str, str]:
    return f"{size / mining:.1f}", f"{size / parsing:.1f}", f"{mining / parsing:.2f}"


if __name__ == "__main__":
    main()
