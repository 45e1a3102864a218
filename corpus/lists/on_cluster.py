"""Real completion lists recorded on a Ray cluster: a task a project, with the bytes that recording on one machine gives.

What is answered of a project travels with its task, and all of its answers come back: only the driver writes into its folder.
The nodes need the sources at the same paths, and the servers.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from corpus.lists.candidates import Project, Tally, answers, answers_file, record
from corpus.lists.list_files import Recorded
from corpus.lists.replay import FILE_SECONDS
from corpus.mining.limits import printable
from corpus.mining.shards import replacing
from corpus.mining.workers import WorkersError, results

PROJECT_SECONDS = 1_200.0  # what a project may take beside its files: packages, and a server's starts


def record_on_cluster(
    projects: Sequence[Project],
    work: Path,
    *,
    ray: str,
    jobs: int = 1,
    dependencies: bool = False,
    done: Callable[[str, int], object] = lambda name, count: None,
) -> tuple[list[Recorded], Tally]:
    """Ask as `record` does, on the cluster at the address `ray` ("local" for one of `jobs` processors that ends with the work).

    `done` hears of each project. Raises OSError (a full disk), RayMissing and RayUnreachable.
    """
    work.mkdir(parents=True, exist_ok=True, mode=0o700)
    tally = Tally()
    seconds = PROJECT_SECONDS + FILE_SECONDS * max((len(project.files) for project in projects), default=0)
    pieces = ((_absolute(project), _read(answers_file(project, work))) for project in projects)
    asked = partial(_asked, dependencies=dependencies)
    for (project, _), result in results(asked, pieces, jobs=jobs, ray=ray, seconds=seconds):
        if isinstance(result, WorkersError):
            tally.failed[f"{project.name} ({project.server})"] = printable(str(result))
        elif isinstance(result, Exception):
            raise result
        else:
            found, own = result
            with replacing(answers_file(project, work)) as temporary:
                temporary.write_bytes(found)
            tally.add(own)
        done(project.name, project.count)
    return answers(projects, work), tally


def _asked(piece: tuple[Project, bytes], *, dependencies: bool) -> tuple[bytes, Tally]:
    """One task: the project's answers, going on from those that are given, and what they came to."""
    project, before = piece
    with tempfile.TemporaryDirectory(prefix="starling-answers-") as folder:
        file = answers_file(project, Path(folder))
        file.write_bytes(before)
        _, tally = record([project], Path(folder), dependencies=dependencies)
        return file.read_bytes(), tally


def _read(file: Path) -> bytes:
    return file.read_bytes() if file.is_file() else b""


def _absolute(project: Project) -> Project:
    """The project, with a place that doesn't depend on the folder that a node works in."""
    return replace(project, place=os.path.join(Path.cwd(), project.place))  # noqa: PTH118  (a revision may follow)
