"""Where code is read from: a git repository's objects at a revision, a folder, or a published archive.

Nothing is checked out, unpacked or run, no link is followed out of the tree, only regular files are opened, and nothing is
read that is larger than asked for.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from corpus.mining.archives import ARCHIVES, archive
from corpus.mining.git_objects import git_folder, repository_at
from corpus.mining.limits import Walk, open_regular
from corpus.mining.snapshots import (
    ABSENT,
    Entry,
    RevisionMissing,
    Snapshot,
    SourceBroken,
    SourceError,
    SourceFailed,
    SourceRefused,
    SourceUnknown,
)

__all__ = [
    "ABSENT",
    "Entry",
    "RevisionMissing",
    "Snapshot",
    "SourceBroken",
    "SourceError",
    "SourceFailed",
    "SourceRefused",
    "SourceUnknown",
    "at_revision",
    "file_at",
    "name_of",
    "parted",
    "snapshot",
]


def snapshot(source: str, *, name: str = "") -> Snapshot:
    """Open `PATH` or, of a repository, `PATH@REVISION` (default: HEAD). Raises SourceError."""
    path, revision = parted(source)
    place, name = Path(path), name or name_of(source)
    if os.path.isfile(place) and place.name.endswith(ARCHIVES):  # noqa: PTH113
        return archive(place, name)
    if not os.path.isdir(place):  # noqa: PTH112
        raise SourceUnknown(
            source,
            "is no file that can be read." if os.path.exists(place) else "is not there.",  # noqa: PTH110
            "Give a git repository, a folder, or an sdist, wheel or npm tarball.",
        )
    git = git_folder(place)
    if git is not None:
        return repository_at(git, source, name, revision)
    if revision:
        raise SourceUnknown(source, "has a revision, but is no git repository.", "Leave the revision out.")
    return _folder(place, name)


def parted(source: str) -> tuple[str, str]:
    """(PATH, REVISION) of a source; "" for no revision. What exists under the whole name is a path. Raises nothing."""
    path, _, revision = source.rpartition("@")
    if not path or os.path.exists(source):  # noqa: PTH110  (never raises)
        return source, ""
    return path, revision


def name_of(source: str) -> str:
    """What a source is called where it is given no name: its folder's or file's name, without what only says that it is a repository.

    Raises nothing.
    """
    path = Path(parted(source)[0])
    path = path.resolve() if os.path.exists(path) else path  # noqa: PTH110
    while path.name in (".git", "repo") and path.parent != path:
        path = path.parent
    return path.name.removesuffix(".git")


def at_revision(source: str, revision: str) -> str:
    """A source as `snapshot` takes it: a repository at this revision; archives and folders are what they are.

    Raises nothing: what is wrong with a repository is said when it is read.
    """
    place = parted(source)[0]
    try:
        found = os.path.isdir(place) and git_folder(Path(place)) is not None  # noqa: PTH112
    except SourceError:
        found = True
    return f"{place}@{revision}" if found else source


def file_at(source: str, revision: str, path: str) -> bytes:
    """A file of the repository that a source names, at this revision and not at the source's; b"" where it has none."""
    found = snapshot(at_revision(source, revision)).entries()
    return next((entry.read() for entry in found if entry.path == path), b"")


# Folders


def _folder(place: Path, name: str) -> Snapshot:
    def entries() -> Iterator[Entry]:
        for path, file, status in _files(place):
            yield Entry(path=path, size=status.st_size, read=_reader(file, status.st_size))

    seen = hashlib.sha256()
    for path, _, status in _files(place):
        line = f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n"
        seen.update(line.encode("utf-8", "surrogateescape"))
    return Snapshot(name=name, revision=seen.hexdigest()[:40], entries=entries)


def _files(folder: Path) -> Iterator[tuple[str, str, os.stat_result]]:
    """Regular files: (path below the folder, where it is, status), the files of a folder where its name stands."""
    walk = Walk(str(folder))
    waiting = [("", _listed(str(folder), walk))]
    while waiting:
        prefix, inside = waiting[-1]
        item = next(inside, None)
        if item is None:
            waiting.pop()
            continue
        path = prefix + item.name
        walk.met(path)
        try:
            status = item.stat(follow_symlinks=False)
        except OSError as error:
            raise _unlisted(item.path, error) from error
        if stat.S_ISDIR(status.st_mode) and item.name != ".git":
            waiting.append((f"{path}/", _listed(item.path, walk)))
        elif stat.S_ISREG(status.st_mode):
            yield path, item.path, status


def _listed(folder: str, walk: Walk) -> Iterator[os.DirEntry[str]]:
    inside: list[os.DirEntry[str]] = []
    try:
        with os.scandir(folder) as items:
            for item in items:
                walk.listed(1)
                inside.append(item)
    except OSError as error:
        raise _unlisted(folder, error) from error
    return iter(sorted(inside, key=lambda item: item.name))


def _unlisted(folder: str, error: OSError) -> SourceBroken:
    return SourceBroken(folder, f"can't be listed ({error.strerror}).", "Check its permissions.")


def _reader(path: str, size: int) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            with open_regular(path) as file:
                return file.read(size)
        except OSError as error:
            raise SourceBroken(path, f"can't be read ({error.strerror}).", "Check its permissions.") from error

    return read
