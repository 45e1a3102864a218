"""starling log: from the log of what you wrote where a list was shown, how often the first item was that."""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tuning.ranking.serving import acceptance_log
from tuning.ranking.serving.acceptance_log import Accepted

NOT_KEPT = """\
Nothing has been kept yet. Starling keeps what you write where a list was shown only when you ask it to: start it with
--log-accepted (in VS Code the setting starling.logAccepted), work for a day, and look again. The log stays on this machine."""


@dataclass(frozen=True, kw_only=True)
class Shares:
    """How often what was written stood first, and among the first five, of `count` lists: through Starling and by the server alone."""

    language: str
    count: int
    first: float
    first_by_server: float
    among_five: float
    among_five_by_server: float


def main(words: Sequence[str]) -> int:
    """Print the shares by language; 1 where there is no log."""
    options = argparse.ArgumentParser(
        prog="starling log",
        description="How often the item that you wrote was the first one in the list, with Starling and in your server's own "
        "order, from the log that --log-accepted keeps.",
    )
    options.add_argument("--days", type=float, metavar="N", help="only of the last N days")
    options.add_argument("--repo", type=Path, metavar="PATH", help="only of files in this folder")
    options.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = options.parse_args(list(words[1:]))
    entries = list(chosen(acceptance_log.everything(), days=given.days, folder=given.repo))
    found = shares(entries)
    if given.json:
        print(json.dumps([asdict(one) for one in found], indent=1))
        return 0 if found else 1
    if not found:
        print("The log has nothing of these days and folders." if _kept() else NOT_KEPT)
        return 1
    _show(found, entries)
    return 0


def chosen(entries: Iterable[Accepted], *, days: float | None, folder: Path | None) -> Iterable[Accepted]:
    """Those of the last `days` days and of files in `folder` whose places are known."""
    since = 0.0 if days is None else datetime.now(UTC).timestamp() - days * 86_400
    inside = None if folder is None else folder.resolve()
    for entry in entries:
        if entry.at >= since and (inside is None or Path(entry.path).is_relative_to(inside)) and _known(entry):
            yield entry


def shares(entries: Iterable[Accepted]) -> list[Shares]:
    """By language, the most frequent first, and "all" at the end where there are several."""
    by_language: dict[str, list[Accepted]] = defaultdict(list)
    for entry in entries:
        by_language[entry.language].append(entry)
    groups = sorted(by_language.items(), key=lambda pair: -len(pair[1]))
    if len(groups) > 1:
        groups.append(("all", [entry for _, group in groups for entry in group]))
    return [_shares(language, group) for language, group in groups]


def _shares(language: str, entries: Sequence[Accepted]) -> Shares:
    def share(field: str, below: int) -> float:
        return round(sum(getattr(entry, field) < below for entry in entries) / len(entries), 4)

    return Shares(
        language=language,
        count=len(entries),
        first=share("place", 1),
        first_by_server=share("server_place", 1),
        among_five=share("place", 5),
        among_five_by_server=share("server_place", 5),
    )


def _known(entry: Accepted) -> bool:
    return entry.place is not None and entry.server_place is not None


def _show(found: Sequence[Shares], entries: Sequence[Accepted]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 100, markup=False)
    table = Table(title="what you wrote where a list was shown", title_justify="left")
    for column in ("language", "names", "first", "server alone", "in the first five", "server alone"):
        table.add_column(column, justify="left" if column == "language" else "right")
    for one in found:
        figures = (one.first, one.first_by_server, one.among_five, one.among_five_by_server)
        table.add_row(one.language, f"{one.count:,}", *(f"{figure:.0%}" for figure in figures))
    console.print(table)
    last = found[-1]
    since = datetime.fromtimestamp(min(entry.at for entry in entries)).astimezone().date().isoformat()
    console.print(
        f"Since {since}, Starling had first what you wrote in {last.first:.0%} of {last.count:,} lists; "
        f"your server alone would have had it in {last.first_by_server:.0%}.",
        highlight=False,
    )
    log = " and ".join(map(str, _kept()))
    console.print(f"The log is {log}; delete it whenever you like.", highlight=False, soft_wrap=True)


def _kept() -> list[Path]:
    """The files of the log that are there."""
    return [path for path in acceptance_log.files() if path.is_file()]
