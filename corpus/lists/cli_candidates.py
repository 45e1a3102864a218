"""`python -P -m corpus candidates`: its flags, its progress and what it says at the end."""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from corpus.lists.candidates import Project, Tally, record
from corpus.lists.choosing import projects
from corpus.lists.list_files import Recorded, write_lists
from corpus.lists.on_cluster import record_on_cluster
from corpus.lists.positions import CLASSES
from corpus.lists.pseudo import pseudo_lists
from corpus.lists.relisting import Listed, ListsManifest, asked_of, chosen_again, counted, write_lists_manifest
from corpus.mining.readings import Source
from corpus.mining.shards import CorpusError, alone, read_manifest, replacing
from corpus.mining.sources import name_of, parted
from corpus.problems import print_warning
from corpus.syntax.language import languages

LISTS, REPORT, WORK, CORPUS = "lists.parquet", "lists.json", "work", "corpus"
PLACES = "work/places.json"
NAMED = 5  # repositories that a warning names
DESCRIPTION = """Lay the repositories of a mined corpus out one by one, start the language's own server over each, and ask it for
completion at the corpus's sites, the identifier and the rest of its line taken away. The lists go into DIR/lists.parquet.
Nothing of a repository is run. Run the same again after it was cut off: it goes on with the file at which it stopped."""


def add(commands: Any) -> None:
    """Add the command to the parser's commands."""
    job = commands.add_parser("candidates", help="real completion lists at a corpus's sites", description=DESCRIPTION)
    job.add_argument("corpus", type=Path, metavar="CORPUS", help="a folder that `mine` wrote")
    job.add_argument("--out", type=Path, required=True, metavar="DIR")
    job.add_argument(
        "--list",
        type=Path,
        metavar="FILE",
        help="where each repository is, one a line: PATH NAME (default: where `mine` read it)",
    )
    job.add_argument(
        "--language", action="append", default=[], choices=sorted(languages()), help="only this one; may be repeated"
    )
    job.add_argument(
        "--part", action="append", default=[], choices=("train", "validation", "test"), help="may be repeated"
    )
    job.add_argument(
        "--server",
        action="append",
        default=[],
        metavar="[LANGUAGE=]NAME",
        help="another server than the language's first; may be repeated",
    )
    job.add_argument(
        "--per-repository", type=int, default=400, metavar="N", help="positions of each, a server (default %(default)s)"
    )
    job.add_argument("--repositories", type=int, default=0, metavar="N", help="so many a server at most (default: all)")
    job.add_argument(
        "--dependencies",
        action="store_true",
        help="fetch what a project needs from its language's registry first: wheels and packages only, no script of theirs run",
    )
    job.add_argument("--jobs", type=int, default=2, help="servers at once (default %(default)s)")
    add_ray(job)
    job.add_argument(
        "--pseudo",
        action="store_true",
        help="no server: lists made of names that the repository itself uses, marked as such; fast, for volume",
    )
    job.set_defaults(run=run)


def add_ray(command: argparse.ArgumentParser) -> None:
    """Add the flag that names a cluster."""
    command.add_argument(
        "--ray",
        default="",
        metavar="ADDRESS",
        help="work on all processors of the Ray cluster at HOST:PORT, or 'auto' for the one that runs here (docs/at-scale.md)",
    )


def run(given: argparse.Namespace) -> int:
    """Record, write, and say what came of it; 1 where a repository failed."""
    console = Console(stderr=True)
    logging.basicConfig(level=logging.ERROR, handlers=[RichHandler(console=console, show_path=False)])
    places = places_of(given.list) if given.list else places_read(given.corpus)
    servers = servers_of(given.server)
    corpus = read_manifest(given.corpus)
    wanted = [one.name for one in corpus.repositories if one.sites and (not given.part or one.part in given.part)]
    if left_out := [name for name in wanted if name not in places]:
        names = f"{', '.join(left_out[:NAMED])}{' …' if len(left_out) > NAMED else ''}"
        where = given.list or given.corpus / PLACES
        message = f"{len(left_out)} of {len(wanted)} repositories are left out; {where} has no place for them: {names}"
        print_warning(console, message)
    with console.status("choosing positions"):
        chosen = projects(
            given.corpus,
            places,
            per_project=given.per_repository,
            servers=servers,
            only=given.language,
            parts=given.part,
            most=given.repositories,
        )
    if not chosen:
        raise CorpusError(given.corpus, "has no repository to ask about.", "Check --list, --language and --part.")
    given.out.mkdir(parents=True, exist_ok=True)
    asked = {"": given.language} if given.pseudo else asked_of(servers, given.language)
    planned = ListsManifest(
        options=corpus.options,
        pseudo=given.pseudo,
        dependencies=given.dependencies,
        repositories=[],
        failed={},
    )
    with alone(given.out):
        found = _recorded(given, chosen, planned, lambda _, server: (asked[server], given.per_repository), console)
    return 1 if found.failed else 0


def run_again(
    given: argparse.Namespace,
    wanted: ListsManifest,
    mining: Callable[[int], AbstractContextManager[Callable[[str, int], object]]],
) -> int:
    """Record the lists of a manifest again, and set them beside it; 1 where other positions were asked for.

    `mining` shows how far the mining of so many repositories is.
    """
    console = Console(stderr=True)
    places = places_of(given.list)
    before = {(one.name, one.server): one for one in wanted.repositories if one.name in places}
    if not before:
        raise CorpusError(given.list, "has none of the manifest's repositories.", "Give a line `PATH NAME` for each.")

    def how(name: str, server: str) -> tuple[Sequence[str], int]:
        return before[name, server].languages, before[name, server].per_repository

    given.out.mkdir(parents=True, exist_ok=True)
    with alone(given.out):
        with mining(len({name for name, _ in before})) as done:
            chosen = chosen_again(
                wanted,
                places,
                given.out / CORPUS,
                jobs=given.jobs,
                ray=given.ray,
                seconds=given.seconds,
                done=done,
            )
        found = _recorded(given, chosen, wanted, how, console)
    after = {(one.name, one.server): one for one in found.repositories}
    other = sorted({key[0] for key, one in before.items() if key not in after or after[key].positions != one.positions})
    here, all_of_them = ({one.name for one in some} for some in (before.values(), wanted.repositories))
    console.print(
        f"{len(here)} of {len(all_of_them)} repositories were in {given.list}: {_summed(found.repositories)}; "
        f"the manifest has {_summed(before.values())}.",
        highlight=False,
    )
    if other:
        print_warning(console, f"Other positions were asked for in {', '.join(other)}.")
    return 1 if found.failed or other else 0


def _summed(listed: Iterable[Listed]) -> str:
    counts = [(one.positions, one.with_truth) for one in listed]
    asked, known = (sum(column) for column in zip(*counts, strict=True)) if counts else (0, 0)
    return f"{asked:,} positions, {known / max(1, asked):.1%} with the truth"


def _recorded(
    given: argparse.Namespace,
    chosen: Sequence[Project],
    manifest: ListsManifest,
    how: Callable[[str, str], tuple[Sequence[str], int]],
    console: Console,
) -> ListsManifest:
    """Record into the folder `given.out`, say what came of it, and write its manifest: the one given, with what is in it now."""
    if manifest.pseudo:
        rows, tally = list(pseudo_lists(chosen)), Tally()
    else:
        with progress(console, sum(project.count for project in chosen)) as done:
            asked = partial(record_on_cluster, ray=given.ray) if given.ray else record
            rows, tally = asked(
                chosen, given.out / WORK, jobs=given.jobs, dependencies=manifest.dependencies, done=done
            )
    write_lists(given.out / LISTS, rows)
    found = replace(manifest, repositories=counted(rows, tally, how), failed=dict(sorted(tally.failed.items())))
    write_lists_manifest(given.out / REPORT, found)
    report(console, rows, tally)
    return found


def servers_of(words: Iterable[str]) -> dict[str, str]:
    """language -> preset's name, of LANGUAGE=NAME, or of NAME for all languages that have such a server; of several for one the first.

    Raises CorpusError where there is no such language or server.
    """
    found: dict[str, str] = {}
    for word in words:
        chosen, _, name = word.rpartition("=")
        if chosen and chosen not in languages():
            raise CorpusError(Path(word), "names no language.", f"There are {', '.join(sorted(languages()))}.")
        among = {chosen: languages()[chosen]} if chosen else languages()
        there = {id: [server.name for server in language.servers] for id, language in among.items()}
        having = {id: name for id, names in there.items() if name in names}
        if not having:
            known = ", ".join(dict.fromkeys(name for names in there.values() for name in names))
            raise CorpusError(Path(word), "names no server that is known.", f"There are {known}.")
        found = having | found
    return found


def places_of(file: Path) -> dict[str, str]:
    """name -> place, of a list with a line `PLACE [NAME]` each."""
    lines = (line.partition("#")[0].split() for line in file.read_text("utf-8").splitlines())
    return {line[1] if len(line) > 1 else name_of(line[0]): line[0] for line in lines if line}


def keep_places(corpus: Path, sources: Iterable[Source]) -> None:
    """Write down where `mine` read each source of a corpus; beside it, for a corpus is the same wherever its sources are."""
    places = {source.name or name_of(source.place): _absolute(source.place) for source in sources}
    with replacing(corpus / PLACES) as temporary:
        temporary.write_text(json.dumps(places, indent=1) + "\n", encoding="utf-8")


def _absolute(place: str) -> str:
    path, revision = parted(place)
    return f"{Path(path).absolute()}@{revision}" if revision else str(Path(path).absolute())


def places_read(corpus: Path) -> dict[str, str]:
    """name -> place, as `keep_places` wrote it. Raises CorpusError where it did not."""
    try:
        return json.loads((corpus / PLACES).read_text("utf-8"))
    except FileNotFoundError:
        remedy = "Give --list FILE, or mine it here."
        raise CorpusError(corpus, "does not say where its repositories are.", remedy) from None


@contextmanager
def progress(console: Console, total: int) -> Generator[Callable[[str, int], None]]:
    """A bar with positions a second and the time left; what earlier runs answered does not count for the rate."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task("asking", total=total, rate="")
        started = time.monotonic()
        count = 0

        def done(name: str, positions: int) -> None:
            nonlocal count
            count += positions
            rate = f"{count / max(0.1, time.monotonic() - started):.1f} lists/s"
            bar.update(task, advance=positions, description=name[-48:], rate=rate)

        yield done


def report(console: Console, rows: Sequence[Recorded], tally: Tally) -> None:
    """How many lists there are of each class and how many of them have the truth, and where the time went."""
    counted: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    repositories: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        repositories[row.language].add(row.repository)
        for kind in (row.named, ""):
            counted[row.language, kind].update(asked=1, known=int(row.has_truth), items=len(row.names))
    table = Table(title="lists, by what was completed")
    for column in ("language", "class", "repositories", "asked", "with the truth", "share", "candidates"):
        table.add_column(column, justify="left" if column in ("language", "class") else "right")
    for language in sorted(repositories):
        for kind in ("", *CLASSES):
            row = counted[language, kind]
            if row["asked"]:
                share, mean = row["known"] / row["asked"], row["items"] / max(1, row["known"])
                first = (language, "all", str(len(repositories[language]))) if not kind else ("", kind, "")
                table.add_row(*first, f"{row['asked']:,}", f"{row['known']:,}", f"{share:.0%}", f"{mean:,.0f}")
        table.add_section()
    console.print(table)
    if tally.waiting:
        console.print(
            f"servers worked {tally.waiting:,.0f} s; with everything around it {tally.total:,.0f} s, {tally.total / tally.waiting:.2f} times",
            highlight=False,
        )
    for name, problem in tally.failed.items():
        print_warning(console, f"{name}: {problem}")
