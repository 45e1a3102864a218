"""A user's repository cut in two: what an adapter learns from, and later lines of the same repository that it is judged on.

Of a git repository what is judged on are lines that its last commits added, as they were being written, and what is learned from is
the state before all of these. Where no such history can be read some files are kept apart instead. Nothing of it is run.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from corpus.lists.candidates import Asked, Project
from corpus.lists.choosing import spread
from corpus.lists.written import written
from corpus.mining.sources import SourceBroken, SourceUnknown, snapshot
from corpus.mining.survey import Kept, Options, survey

FEWEST = 40  # positions to judge on, or files are kept apart
APART = 0.15  # of the files
PER_FILE = 10  # to judge on
TOGETHER = 12  # places to learn from that stand together: one forward pass scores the lists of all
SITES = 400  # of a file that are chosen from
EACH = 16  # positions of a commit, so that many commits count
SMALLEST = 3  # files of a language, or it is left alone


@dataclass(frozen=True, kw_only=True)
class Split:
    """`learning` and `judging`: a project a server, and with commits a project a commit's parent."""

    name: str
    learning: Sequence[Project]
    judging: Sequence[Project]
    by_commits: bool
    languages: Sequence[str]

    @property
    def places(self) -> Mapping[str, str]:
        """Where each project is, by its name."""
        return {project.name: project.place for project in (*self.learning, *self.judging)}


def named(paths: Sequence[Path]) -> dict[str, Path]:
    """The paths by their folders' names; several of one name have as many folders above them in it as tell them apart.

    A folder that is given twice is there once.
    """
    folders = {path.resolve(): path for path in paths}

    def ending(folder: Path, count: int) -> str:
        return Path(*folder.parts[-count:]).as_posix()

    found: dict[str, Path] = {}
    for folder, path in folders.items():
        count = 1
        while sum(ending(other, count) == ending(folder, count) for other in folders) > 1:
            count += 1
        found[ending(folder, count)] = path
    return found


def split(
    path: Path, servers: Mapping[str, str], *, learned: int, judged: int, only: Collection[str] = (), name: str = ""
) -> Split:
    """Cut a repository or folder. `servers`: language -> preset's name; `learned` and `judged`: positions at most; `name`: its own
    among several (default: its folder's).

    Raises SourceError.
    """
    head = snapshot(str(path))
    name = name or path.resolve().name
    wanted = [id for id in servers if not only or id in only]
    commits = _commits(path, head.revision, wanted, judged)
    if sum(len(file.positions) for _, files in commits for file in files) >= FEWEST:
        start = f"{path}@{commits[-1][0]}"
        files = _files(start, name, wanted)
        judging = [
            Project(name=f"{name}@{parent}", revision=parent, place=f"{path}@{parent}", server=server, files=asked)
            for parent, found in commits
            for server, asked in _by_server(found, servers).items()
        ]
        revision = commits[-1][0]
    else:
        start, revision, commits = str(path), head.revision, []
        files = _files(start, name, wanted)
        chance = random.Random(name)
        apart = set(chance.sample([file.path for file in files], max(1, round(APART * len(files))))) if files else set()
        asked = spread([file for file in files if file.path in apart], name, judged, PER_FILE)
        files = [file for file in files if file.path not in apart]
        judging = [
            Project(name=name, revision=revision, place=start, server=server, files=found)
            for server, found in _by_server(asked, servers).items()
        ]
    together = max(TOGETHER, -(-learned // max(1, len(files))))
    learning = [
        Project(name=name, revision=revision, place=start, server=server, files=found)
        for server, found in _by_server(spread(files, name, learned, together, together=True), servers).items()
    ]
    if not learning or not judging:
        raise SourceUnknown(
            str(path),
            "has too little code in these languages to learn from: " + (", ".join(wanted) or "none") + ".",
            "Give another --repo, or name a --language whose server is installed (starling doctor).",
        )
    found = sorted({file.language for project in learning for file in project.files})
    return Split(name=name, learning=learning, judging=judging, by_commits=bool(commits), languages=found)


def _commits(path: Path, revision: str, wanted: Collection[str], count: int) -> list[tuple[str, list[Asked]]]:
    if not (path / ".git").exists() and not (path / "objects").is_dir():
        return []
    try:
        return list(written(str(path), revision, wanted, count, each=EACH))
    except SourceBroken:  # its head can be read: files of it are kept apart
        return []


def _files(place: str, name: str, wanted: Sequence[str]) -> list[Kept]:
    """The files of a place, of languages that there is more than a handful of. Its licence is its owner's business."""
    found = survey(
        snapshot(place, name=name), Options(languages=tuple(sorted(wanted)), licences=(), sites_per_file=SITES)
    )
    counted = Counter(file.language for file in found.files)
    return [file for file in found.files if counted[file.language] >= SMALLEST]


def _by_server(files: Sequence[Asked], servers: Mapping[str, str]) -> dict[str, list[Asked]]:
    found: dict[str, list[Asked]] = defaultdict(list)
    for file in files:
        found[servers[file.language]].append(file)
    return found
