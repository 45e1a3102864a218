"""`starling train --usage`: a usage table of one's own repositories. No model, no server, no GPU: it takes minutes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from corpus.mining.mine import jobs_by_default, mine
from corpus.mining.readings import Source
from corpus.mining.survey import Options
from corpus.syntax.language import languages
from corpus.usage.building import build
from corpus.usage.gathering import gather
from tuning.ranking.learning.progress import bar
from tuning.ranking.serving.model import adapter_registry
from tuning.ranking.serving.model.adapter_registry import USAGE

BYTES = 5_000_000  # read of each repository and group of languages


def where(workspaces: Sequence[str]) -> str:
    """Say in which documents something is used."""
    return f"in {', '.join(workspaces)}" if workspaces else "in all documents"


def run(
    repos: Mapping[str, Path],
    name: str,
    workspaces: Sequence[str],
    only: Sequence[str],
    work: Path,
    console: Console,
) -> int:
    """Count the repositories (by a name each), build their tables, install them for `workspaces` (none: for all documents); 1 where a repository could not be read, 2 where nothing was found.

    Raises CorpusError, WorkersError, AdapterRegistryError, OSError.
    """
    corpus, counts, made = (work / part for part in ("corpus", "counts", "tables"))
    for folder in (counts, made):  # made of what is there now: a repository's older counts don't stay
        shutil.rmtree(folder, ignore_errors=True)
    sources = [Source(place=str(repo.resolve()), name=own) for own, repo in repos.items()]
    options = Options(languages=tuple(sorted(only)), licences=())  # one's own code asks for no licence
    jobs = min(jobs_by_default(), len(sources))
    with bar(console, "reading the repositories", len(sources)) as advance:
        manifest = mine(sources, corpus, options, jobs=jobs, done=lambda source, size: advance(1))
    for source, problem in manifest.failed.items():
        console.print(f"{source}: {problem}", style="yellow", highlight=False)
    with bar(console, "counting", len(manifest.repositories)) as advance:
        gather(corpus, counts, most=BYTES, jobs=jobs, done=lambda source, size: advance(1))
    tables = build(counts, made, fewest=1)
    if not tables:
        console.print("No source of a known language was found. Give more code with --repo.", style="red")
        return 2
    shown = Table("", "repositories", "contexts", "names in contexts")
    for group, table in sorted(tables.items()):
        shown.add_row(group, f"{table.counted:,}", f"{len(table.contexts):,}", f"{len(table.names):,}")
    console.print(shown)
    installed = adapter_registry.install(
        name,
        made,
        adapter_registry.Card(
            base="",
            workspaces=workspaces,
            languages=sorted(id for id, language in languages().items() if language.usage in tables),
            made=datetime.now(UTC).isoformat(timespec="seconds"),
        ),
        USAGE,
    )
    console.print(
        f"Installed as {name} {installed.version}: used {where(workspaces)} from the next completion on. "
        f"To go back: starling rollback {name} --usage",
        highlight=False,
        soft_wrap=True,
    )
    return 1 if manifest.failed else 0
