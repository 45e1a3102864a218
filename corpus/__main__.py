"""python -P -m corpus: from git repositories to what the ranker learns from and is judged on.

    python -P -m corpus mine REPO... --out DIR     read repositories, folders and archives into a corpus
    python -P -m corpus candidates CORPUS …       real completion lists at its sites, of real language servers
    python -P -m corpus show DIR                   what a corpus holds, and what was left out and why
    python -P -m corpus usage count CORPUS …      in which contexts names stand in its repositories, for the ranker's tables
    python -P -m corpus rebuild MANIFEST …         the same corpus again, from the repositories that a manifest lists

Nothing of a repository is ever run, and nothing is fetched: give it what is on disk.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from corpus import interpreter
from corpus.lists import cli_candidates
from corpus.lists.relisting import read_lists_manifest
from corpus.mining.licences import PERMISSIVE
from corpus.mining.limits import SECONDS
from corpus.mining.mine import jobs_by_default, mine, rebuild
from corpus.mining.readings import Source
from corpus.mining.shards import CorpusError, Manifest, manifest_file, read_manifest
from corpus.mining.sites import PER_FILE
from corpus.mining.sources import name_of
from corpus.mining.survey import Options
from corpus.mining.workers import WorkersError
from corpus.problems import print_error, print_warning
from corpus.syntax.language import languages
from corpus.usage import cli as usage

console = Console(stderr=True)
EACH = 40  # sources that are listed one by one
NEEDED = (
    "pygit2",
    "pyarrow",
    "rensa",
    "askalono",
    "detect_secrets",
    "ahocorasick_rs",
    "filelock",
)  # the extra `corpus`


PROG = "python -P -m corpus"


def main(arguments: list[str] | None = None, *, prog: str = PROG, licences: Collection[str] = PERMISSIVE) -> int:
    """Command line; returns the exit code: 1 where a source failed, 2 where nothing could be done.

    `licences` are allowed where none is named; empty for any, as for one's own code.
    """
    given = _parser(prog, licences).parse_args(arguments)
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        message = interpreter.missing(", ".join(missing), extra="corpus")
        print_error(console, message)
        return 2
    try:
        return given.run(given)
    except (CorpusError, WorkersError) as error:
        print_error(console, error)
    except KeyboardInterrupt:
        console.print("Stopped. Run the same again: it goes on where it stopped.")
        return 130
    except OSError as error:
        print_error(console, error)
        console.print("What was done so far is kept; make room or choose another folder, and run the same again.")
    return 2


def _parser(prog: str, licences: Collection[str]) -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = options.add_subparsers(required=True, metavar="COMMAND")
    job = commands.add_parser(
        "mine",
        help="read repositories, folders and archives into a corpus",
        description="Read sources into DIR: Parquet shards of files with their sites, and manifest.json. Run the same "
        "again after it was cut off, or name more sources: what was read is not read again.",
    )
    job.add_argument(
        "sources",
        nargs="*",
        metavar="SOURCE",
        help="a git repository (PATH or PATH@REVISION), a folder, an sdist, wheel or npm tarball",
    )
    job.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="the corpus: what these sources give, and nothing else"
    )
    job.add_argument(
        "--list", type=Path, metavar="FILE", help="more sources, one a line: SOURCE [NAME]; # begins a comment"
    )
    job.add_argument(
        "--exclude", type=Path, metavar="FILE", help="names to forget, one a line: nothing of them stays in DIR"
    )
    job.add_argument(
        "--language",
        action="append",
        default=[],
        choices=sorted(languages()),
        help="keep only this one; may be repeated",
    )
    job.add_argument(
        "--licence",
        action="append",
        default=[],
        metavar="SPDX",
        help="allow only this one; may be repeated ('unknown' too). Default: " + (", ".join(sorted(licences)) or "any"),
    )
    job.add_argument(
        "--sites", type=int, default=PER_FILE, metavar="N", help="sites a file at most (default %(default)s)"
    )
    job.add_argument("--seed", type=int, default=0, help="of the split and the choice of sites (default %(default)s)")
    _add_workers(job)
    job.set_defaults(run=_mine, licences=licences)
    again = commands.add_parser(
        "rebuild",
        help="the same corpus or lists again, from the repositories that a manifest lists",
        description="Mine the repositories of MANIFEST at its commits and with its options, and compare what comes out: "
        "byte for byte. Of a manifest of lists, mine those that --list has, ask their servers again at the same "
        "positions, and set side by side how often the lists have what was written.",
    )
    again.add_argument(
        "manifest", type=Path, metavar="MANIFEST", help="manifest.json or lists.json, or a corpus's folder"
    )
    again.add_argument("--list", type=Path, required=True, metavar="FILE", help="where each is, one a line: PATH NAME")
    again.add_argument("--out", type=Path, required=True, metavar="DIR")
    _add_workers(again)
    again.set_defaults(run=_rebuild)
    cli_candidates.add(commands)
    usage.add(commands, _progress)
    show = commands.add_parser("show", help="what a corpus holds, and what was left out and why")
    show.add_argument("folder", type=Path, metavar="DIR")
    show.add_argument(
        "--markdown", action="store_true", help="as tables of Markdown, on the standard output: a data card"
    )
    show.set_defaults(run=_show)
    return options


def _add_workers(command: argparse.ArgumentParser) -> None:
    command.add_argument("--jobs", type=int, default=jobs_by_default(), help="processes (default %(default)s)")
    cli_candidates.add_ray(command)
    command.add_argument(
        "--seconds",
        type=float,
        default=SECONDS,
        metavar="N",
        help="give up on a source that takes longer; the others go on (default %(default).0f)",
    )


def _mine(given: argparse.Namespace) -> int:
    sources = [Source(place=place) for place in given.sources] + (listed(given.list) if given.list else [])
    if not sources:
        print_error(console, "No source was given. Name a repository, a folder or an archive, or --list FILE.")
        return 2
    options = Options(
        languages=tuple(sorted(given.language)),
        licences=tuple(sorted(given.licence or given.licences)),
        sites_per_file=given.sites,
        seed=given.seed,
    )
    excluded = [line.split()[0] for line in _lines(given.exclude)] if given.exclude else []
    with _progress(len(sources)) as done:
        manifest = mine(
            sources,
            given.out,
            options,
            jobs=given.jobs,
            ray=given.ray,
            excluded=excluded,
            seconds=given.seconds,
            done=done,
        )
    cli_candidates.keep_places(given.out, sources)
    report(manifest)
    return 1 if manifest.failed else 0


def _rebuild(given: argparse.Namespace) -> int:
    lists = read_lists_manifest(manifest_file(given.manifest))
    if lists is not None:
        return cli_candidates.run_again(given, lists, _progress)
    wanted = read_manifest(given.manifest)
    places = {source.name or name_of(source.place): source.place for source in listed(given.list)}
    with _progress(len(wanted.repositories)) as done:
        rebuild(wanted, places, given.out, jobs=given.jobs, ray=given.ray, seconds=given.seconds, done=done)
    console.print(f"{given.out} is what {given.manifest} lists, byte for byte.", highlight=False)
    return 0


@contextmanager
def _progress(total: int) -> Generator[Callable[[str, int], None]]:
    """A bar with the rate of source that was kept; at the end, the time that it took."""
    started = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        task = progress.add_task("reading", total=total, rate="")
        size = 0

        def done(name: str, kept: int) -> None:
            nonlocal size
            size += kept
            rate = f"{size / 1e6 / (time.monotonic() - started):.1f} MB/s"
            progress.update(task, advance=1, description=name[-40:], rate=rate)

        yield done
    console.print(f"{time.monotonic() - started:.0f} s", style="dim", highlight=False)


def _show(given: argparse.Namespace) -> int:
    manifest = read_manifest(given.folder)
    if given.markdown:
        report(manifest, Console(width=200), box.MARKDOWN)
    else:
        report(manifest)
    return 0


def listed(file: Path) -> list[Source]:
    """The sources of a list: SOURCE [NAME] a line."""
    found: list[Source] = []
    for line in _lines(file):
        place, _, name = line.partition(" ")
        found.append(Source(place=place, name=name.strip()))
    return found


def _lines(file: Path) -> list[str]:
    lines = (line.partition("#")[0].strip() for line in file.read_text("utf-8", "surrogateescape").splitlines())
    return [line for line in lines if line]


def report(manifest: Manifest, out: Console = console, frame: box.Box = box.HEAVY_HEAD) -> None:
    """Tables of what was kept, by language and licence, and of what was not, by reason."""
    kept: dict[str, Counter[str]] = {}
    licences: dict[str, Counter[str]] = {}
    left_out: dict[str, Counter[str]] = {}
    parts: Counter[str] = Counter()
    for repository in manifest.repositories:
        parts[repository.part] += 1
        _count(licences, repository.licence, repository.kept)
        for language, sizes in repository.languages.items():
            _count(kept, language, sizes)
        for reason, sizes in repository.dropped.items():
            _count(left_out, reason, sizes)
    title = (
        f"kept of {len(manifest.repositories)} sources ({', '.join(f'{parts[part]} {part}' for part in sorted(parts))})"
    )
    if len(manifest.repositories) <= EACH:
        _print_each(out, frame, manifest)
    _print(out, frame, title, "language", kept)
    _print(out, frame, "by licence", "licence", licences)
    _print(out, frame, "left out", "reason", left_out)
    for source, problem in manifest.failed.items():
        print_warning(console, f"{source}: {problem}")


def _print_each(out: Console, frame: box.Box, manifest: Manifest) -> None:
    """One line a source: what was kept, and how many files were left out by which reason."""
    table = Table(title="each source", box=frame)
    for column in ("source", "licence", "files kept", "left out, and why"):
        table.add_column(column, justify="right" if column == "files kept" else "left")
    for repository in sorted(manifest.repositories, key=lambda one: one.name):
        reasons = sorted(repository.dropped.items(), key=lambda pair: -pair[1][0])
        left_out = ", ".join(f"{reason} {sizes[0]:,}" for reason, sizes in reasons)
        table.add_row(escape(repository.name), repository.licence, f"{repository.kept[0]:,}", escape(left_out))
    out.print(table)


def _count(rows: dict[str, Counter[str]], key: str, sizes: tuple[int, int]) -> None:
    rows.setdefault(key, Counter()).update({"sources": 1, "files": sizes[0], "bytes": sizes[1]})


def _print(out: Console, frame: box.Box, title: str, first: str, rows: dict[str, Counter[str]]) -> None:
    if not rows:
        return
    table = Table(title=title, box=frame)
    for column in (first, "sources", "files", "MB"):
        table.add_column(column, justify="left" if column == first else "right")
    for key, row in sorted(rows.items(), key=lambda pair: (-pair[1]["bytes"], pair[0])):
        table.add_row(key, f"{row['sources']:,}", f"{row['files']:,}", f"{row['bytes'] / 1e6:,.1f}")
    out.print(table)


if __name__ == "__main__":
    interpreter.end_as_with_ctrl_c()
    sys.exit(main())
