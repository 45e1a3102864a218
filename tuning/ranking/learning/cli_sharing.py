"""`starling adapters publish` and `sync`: what was trained reaches a team, and is followed from where it was published."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from corpus.problems import print_error
from tuning.ranking.serving.model.adapter_registry import ADAPTERS, USAGE
from tuning.ranking.serving.remote.address import token_in
from tuning.ranking.serving.sharing.checkouts import checkouts_of
from tuning.ranking.serving.sharing.errors import SharingError, SourceRefused
from tuning.ranking.serving.sharing.publication import INDEX
from tuning.ranking.serving.sharing.publishing import publish
from tuning.ranking.serving.sharing.sources import Advance, Source, source_of
from tuning.ranking.serving.sharing.syncing import Change, Outcome, Wishes, follow
from tuning.tenths import tenths

TOKEN = "STARLING_SYNC_TOKEN"
KINDS = {ADAPTERS: "adapter", USAGE: "usage table", "": ""}
LARGE = 20_000_000  # bytes that are worth a line each tenth where nobody looks at a terminal

PUBLISH = f"""Write the version of each adapter that is used here into a folder that you can share: a git repository, a network share,
static files behind https, or a folder that you upload to the hub. Files come first and the index ({INDEX}) last, so nobody reads half of it.
An adapter learns from your code, so publish it only where everybody may read that code."""
SYNC = f"""Install the adapters and usage tables that a team publishes, each as a new version, if it is not installed yet. Sizes
and SHA-256 of all files are checked; an entry that fails is refused, and the others are installed. What you trained yourself is not
replaced, and a version that you went back from is not installed again. Running servers use new versions from the next completion
on; `starling rollback NAME` goes back.

SOURCE is a folder, https://HOST/PATH (http for this machine only), or hf:OWNER/NAME. A token for https comes from --token-file or
from the environment ({TOKEN}). It is sent to this host only: as a bearer token, or unchanged if it has two words."""


def add(commands: Any) -> None:
    """Add the commands to those of `adapters`."""
    job = commands.add_parser("publish", help="into a folder that a team shares", description=PUBLISH)
    job.add_argument("names", nargs="+", metavar="NAME")
    job.add_argument("--to", required=True, type=Path, metavar="FOLDER")
    job.add_argument("--usage", action="store_true", help="publish the usage tables of these names instead of adapters")
    job.set_defaults(run=run_publish)

    raw = argparse.RawDescriptionHelpFormatter
    job = commands.add_parser("sync", help="from where a team publishes", description=SYNC, formatter_class=raw)
    job.add_argument("source", metavar="SOURCE")
    job.add_argument(
        "--name", action="append", default=[], help="only the adapter or table of this name; may be repeated"
    )
    job.add_argument(
        "--workspace",
        action="append",
        default=[],
        metavar="[NAME=]FOLDER",
        help="a folder with your checkouts of the repositories; they are found by their folders' names; may be repeated",
    )
    job.add_argument("--everywhere", action="store_true", help="use what this command installs for all documents")
    job.add_argument("--base", default="", metavar="FOLDER", help="the base of your servers, if not the default one")
    job.add_argument(
        "--replace",
        action="store_true",
        help="replace also what you trained, what follows another source, and what you went back from",
    )
    job.add_argument("--dry-run", action="store_true", help="only print what would be done; fetches the index alone")
    job.add_argument("--token-file", type=Path, metavar="FILE", help="a file whose only line is the token for https")
    job.add_argument(
        "--every", type=float, metavar="MINUTES", help="keep running and look again after so many minutes, until Ctrl-C"
    )
    job.set_defaults(run=run_sync)


def run_publish(given: argparse.Namespace) -> int:
    """Publish; 2 where something could not be."""
    kind = USAGE if given.usage else ADAPTERS
    try:
        new = publish(given.names, kind, given.to)
    except SharingError as error:
        print_error(Console(stderr=True), error)
        return 2
    console = Console(markup=False)
    for name, is_new in new.items():
        said = "published in" if is_new else "was published before, and is as it was in"
        console.print(f"{KINDS[kind]} {name}: {said} {given.to}", highlight=False, soft_wrap=True)
    return 0


def run_sync(given: argparse.Namespace) -> int:
    """Follow a source; 1 where it could not be reached, or something of it was refused, 2 where it is none."""
    errors = Console(stderr=True, markup=False)
    try:
        if given.every is not None and not given.every > 0:
            raise SourceRefused("--every takes minutes: a number above 0")
        source = source_of(given.source, _token(given))
        wishes = Wishes(
            checkouts=checkouts_of(given.workspace, is_everywhere=given.everywhere),
            only=given.name,
            base=_anchored(given.base),
            replace=given.replace,
            dry_run=given.dry_run,
        )
        while True:
            code = _once(source, wishes, errors)
            if given.every is None:
                return code
            time.sleep(given.every * 60)
    except SourceRefused as error:
        print_error(errors, _printable(error))
        return 2


def _anchored(base: str) -> str:
    """A file's or folder's path as an absolute one: the card that keeps it is read from anywhere."""
    return str(Path(base).absolute()) if base and Path(base).exists() else base


def _token(given: argparse.Namespace) -> str:
    if given.token_file is None and "://" not in given.source:
        return ""
    try:
        return token_in(given.token_file or "", TOKEN)
    except UnicodeDecodeError as error:
        raise SourceRefused(f"{given.token_file} holds no token: it is not text") from error
    except ValueError as error:
        raise SourceRefused(str(error)) from error


def _once(source: Source, wishes: Wishes, errors: Console) -> int:
    found: list[Outcome] = []
    code = 0
    try:
        for outcome in follow(
            source, wishes, lambda what, size: _watched(errors, what, size), lambda: _waiting(errors)
        ):
            found.append(outcome)
    except SourceRefused:
        raise
    except SharingError as error:
        print_error(errors, f"{_printable(error)}\nWhat is installed goes on as it is.")
        code = 1
    _show(source, found, wishes, is_whole=code == 0)
    return 1 if any(outcome.change is Change.REFUSED for outcome in found) else code


def _waiting(console: Console) -> None:
    console.print("waiting for another sync that runs here", highlight=False)


def _show(source: Source, found: Sequence[Outcome], wishes: Wishes, *, is_whole: bool) -> None:
    console = Console(markup=False)
    if all(outcome.change is Change.CURRENT for outcome in found):
        if is_whole:
            said = f"{len(found)} up to date" if found else "nothing is published there"
            console.print(f"{source.name}: nothing new, {said}", highlight=False, soft_wrap=True)
        return
    table = Table("name", "", "", "", title=f"{source.name}{': what would be done' if wishes.dry_run else ''}")
    for outcome in found:
        table.add_row(outcome.name, KINDS[outcome.kind], str(outcome.change), _printable(outcome.detail))
    console.print(table)
    installed = [one for one in found if one.change is Change.INSTALLED]
    if installed and not wishes.dry_run:
        back = " or ".join(f"starling rollback {one.name}{' --usage' * (one.kind == USAGE)}" for one in installed[:2])
        console.print(f"Used from the next completion on. To go back: {back}", highlight=False, soft_wrap=True)


def _printable(text: object) -> str:
    """What others wrote, without what a terminal would obey."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in str(text))


@contextlib.contextmanager
def _watched(console: Console, what: str, size: int) -> Generator[Advance]:
    """Show how much of `size` bytes came."""
    if not console.is_terminal:
        yield tenths(console, f"{what}, bytes", size) if size >= LARGE else lambda count: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=size)
        yield lambda count: progress.advance(task, count)
