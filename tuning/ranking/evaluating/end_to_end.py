"""RankBench asked of any LSP command: what counts is the order in which its items come, as an editor without letters sorts them.

The command works over the sources as they were laid out when the lists were recorded, what they need beside them. A list
without the truth counts for the coverage only; so a command can be held against one that wraps it.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from corpus.lists.candidates import Asked, Project, record
from corpus.lists.list_files import Recorded
from corpus.mining.sources import file_at, snapshot
from corpus.problems import print_warning
from corpus.rankbench.origins import Bench, place_of
from tuning.ranking.evaluating.ranker_scores import Scores


def replayed(bench: Bench, rows: Sequence[Recorded], command: tuple[str, ...], jobs: int) -> Scores:
    """Ask `command` at every position. Raises OriginError, SourceError and BackendError."""
    groups: dict[tuple[str, str], list[Recorded]] = defaultdict(list)
    for row in rows:
        groups[row.repository, row.revision].append(row)
    projects = [_project(bench, name, revision, group, command) for (name, revision), group in groups.items()]
    console = Console(stderr=True)
    with Progress(console=console, transient=True) as progress, tempfile.TemporaryDirectory() as work:
        task = progress.add_task("asking", total=len(rows))
        answers, tally = record(
            projects,
            Path(work),
            jobs=jobs,
            dependencies=True,
            done=lambda name, count: progress.update(task, advance=count, description=name[-48:]),
        )
    for name, problem in tally.failed.items():
        print_warning(console, f"{name}: {problem}")
    found = Scores(asked=len(rows), repositories=len({row.repository.partition("@")[0] for row in rows}))
    for row in answers:
        if row.has_truth:
            found.positions += 1
            found.candidates.append(len(row.names))
            found.add(" ".join(command), row, list(row.names).index(row.truth))
    return found


def _project(bench: Bench, name: str, revision: str, rows: Sequence[Recorded], command: tuple[str, ...]) -> Project:
    """One repository's rows as what is to be asked."""
    place = place_of(name)
    texts = {entry.path: entry.read for entry in snapshot(place).entries()}
    files: list[Asked] = []
    for path, written in dict.fromkeys((row.path, row.written) for row in rows):
        here = [row for row in rows if (row.path, row.written) == (path, written)]
        there = texts[path]() if path in texts else b""
        data = there
        if written:
            data = file_at(place, written, path)
        files.append(
            Asked(
                path=path,
                language=here[0].language,
                data=data,
                positions=[row.position for row in here],
                parent=there if written else None,
                written=written,
            )
        )
    return Project(name=name, revision=revision, place=place, server=bench.server, command=command, files=files)
