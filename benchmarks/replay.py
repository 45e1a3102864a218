"""python -m benchmarks.replay REPO...: what recording completion lists costs beside the wrapped servers' own time.

The repositories are mined, and each server that is here is asked at --positions of each of them, one server at a time. A
server's own time is what it takes to start, to read the project (while it says that it is at work) and to answer; the rest
is ours: texts cut and told, lists read, files kept.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from corpus.lists.candidates import Tally, record
from corpus.lists.choosing import projects
from corpus.mining.mine import mine
from corpus.mining.readings import Source
from corpus.mining.sources import snapshot
from corpus.mining.survey import Options
from corpus.syntax.language import languages
from lsp_server.servers.presets import installed


def main() -> None:
    """Command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("sources", nargs="+", metavar="REPO", help="git repositories, folders or archives")
    options.add_argument(
        "--positions", type=int, default=200, metavar="N", help="of each, a server (default %(default)s)"
    )
    options.add_argument(
        "--server", action="append", default=[], metavar="NAME", help="only this preset; may be repeated"
    )
    given = options.parse_args()
    console = Console()
    table = Table(title="completion lists recorded, one server at a time")
    for column in ("server", "sources", "positions", "own s", "in all s", "ratio", "lists/s"):
        table.add_column(column, justify="left" if column == "server" else "right")
    with tempfile.TemporaryDirectory(prefix="starling-bench-") as temporary:
        folder = Path(temporary)
        sources = {snapshot(place).name: place for place in given.sources}
        mine([Source(place=place, name=name) for name, place in sources.items()], folder / "corpus", Options())
        for server, ids in _servers(given.server).items():
            servers = dict.fromkeys(ids, server)
            chosen = projects(folder / "corpus", sources, per_project=given.positions, servers=servers, only=ids)
            if chosen:
                rows, tally = record(chosen, folder / server)
                if tally.answered:  # a linter answers nothing
                    table.add_row(server, str(len(chosen)), f"{len(rows):,}", *_shares(tally))
    console.print(table)


def _servers(only: list[str]) -> dict[str, list[str]]:
    """Servers that are here -> ids of their languages."""
    found: dict[str, list[str]] = defaultdict(list)
    for id, language in languages().items():
        for server in language.servers:
            if (not only or server.name in only) and installed(server):
                found[server.name].append(id)
    return found


def _shares(tally: Tally) -> tuple[str, ...]:
    seconds = (f"{tally.waiting:.1f}", f"{tally.total:.1f}")
    return *seconds, f"{tally.total / tally.waiting:.2f}", f"{tally.positions / tally.total:.1f}"


if __name__ == "__main__":
    main()
