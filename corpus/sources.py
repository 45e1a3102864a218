"""Where code is read from: a git repository's objects at a revision, a folder, or a published archive.

Nothing is checked out, unpacked or run, no link is followed out of the tree, and nothing is read that is larger than asked for.

SourceError            carries the source and what to do about it
  SourceUnknown        neither a repository, a folder nor an archive
  RevisionMissing      the repository has no such revision
  SourceBroken         objects are missing (a shallow or partial clone) or corrupt
  SourceRefused        an archive that would unpack to far more than it is
"""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, final

if TYPE_CHECKING:
    import pygit2

ARCHIVES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar", ".zip", ".whl")
EXPANSION = 200  # times its own size an archive may hold
FEWEST = 64_000_000  # bytes that any archive may hold
ABSENT = -1
TORN = (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error)


class SourceError(Exception):
    """Base of what can be wrong with one source; the others go on."""

    def __init__(self, source: str, problem: str, remedy: str) -> None:
        super().__init__(f"{source}: {problem} {remedy}")
        self.source, self.problem, self.remedy = source, problem, remedy

    def __reduce__(self) -> tuple[type[SourceError], tuple[str, str, str]]:
        return type(self), (self.source, self.problem, self.remedy)


@final
class SourceUnknown(SourceError):
    """Neither a repository, a folder nor an archive."""


@final
class RevisionMissing(SourceError):
    """The repository has no such revision."""


@final
class SourceBroken(SourceError):
    """Objects are missing or corrupt."""


@final
class SourceRefused(SourceError):
    """An archive that would unpack to far more than it is."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One file. `read` gives its bytes and may raise SourceBroken."""

    path: str  # below the source's root, with "/"
    size: int  # ABSENT where the repository has no such object, or a corrupt one
    read: Callable[[], bytes]


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One source at one time."""

    name: str
    revision: str  # a commit's hash; of archives and folders a hash of what is in them
    entries: Callable[[], Iterator[Entry]]  # in the order of paths


def snapshot(source: str, *, name: str = "") -> Snapshot:
    """Open `PATH` or, of a repository, `PATH@REVISION` (default: HEAD). Raises SourceError."""
    path, _, revision = source.rpartition("@")
    if not path or (Path(source).exists() and not Path(path).exists()):
        path, revision = source, ""
    place = Path(path)
    if place.is_file() and place.name.endswith(ARCHIVES):
        return _archive(place, name or place.name)
    if not place.is_dir():
        raise SourceUnknown(
            source, "is not there.", "Give a git repository, a folder, or an sdist, wheel or npm tarball."
        )
    repository = _repository(place)
    if repository is not None:
        return _revision(repository, source, name or _name(place), revision)
    if revision:
        raise SourceUnknown(source, "has a revision, but is no git repository.", "Leave the revision out.")
    return _folder(place, name or place.resolve().name)


def _name(place: Path) -> str:
    """What a repository is called: its folder's name, without what only says that it is one."""
    path = place.resolve()
    while path.name in (".git", "repo") and path.parent != path:
        path = path.parent
    return path.name.removesuffix(".git")


# Git


def at_revision(place: str, revision: str) -> str:
    """A source as `snapshot` takes it: a repository at the revision; archives and folders are what they are."""
    return f"{place}@{revision}" if Path(place).is_dir() and _repository(Path(place)) is not None else place


def file_at(place: str, revision: str, path: str) -> bytes:
    """A file of the repository that `place` (PATH@REVISION) names, at another revision; b"" where it has none."""
    found = snapshot(at_revision(place.rpartition("@")[0], revision)).entries()
    return next((entry.read() for entry in found if entry.path == path), b"")


def _repository(place: Path) -> pygit2.Repository | None:
    import pygit2

    pygit2.option(pygit2.enums.Option.SET_OWNER_VALIDATION, False)  # nothing of a repository is run
    try:
        return pygit2.Repository(str(place), pygit2.enums.RepositoryOpenFlag.NO_SEARCH)
    except pygit2.GitError:
        return None


def _revision(repository: pygit2.Repository, source: str, name: str, revision: str) -> Snapshot:
    import pygit2

    try:
        commit = repository.revparse_single(revision or "HEAD").peel(pygit2.Commit)
        tree = commit.tree
    except (KeyError, ValueError, pygit2.GitError) as error:
        if revision or repository.head_is_unborn:
            raise RevisionMissing(
                source,
                f"has no revision {revision or 'HEAD'!r}.",
                "Fetch it (a shallow clone has only the last), or name another after '@'.",
            ) from error
        raise _broken(source, error) from error

    @cache  # the first walk reads every folder, and asks for the size of every file
    def walked() -> Sequence[Entry]:
        try:
            return list(_walk(repository, source, tree, ""))
        except (KeyError, pygit2.GitError) as error:
            raise _broken(source, error) from error

    return Snapshot(name=name, revision=str(commit.id), entries=lambda: iter(walked()))


def _broken(source: str, error: Exception) -> SourceBroken:
    return SourceBroken(
        source, f"has an object that can't be read ({error}).", "Run `git fsck` there, or clone it again."
    )


def _walk(repository: pygit2.Repository, source: str, tree: pygit2.Tree, prefix: str) -> Iterator[Entry]:
    import pygit2

    for item in sorted(tree, key=lambda item: item.name or ""):
        path, mode = f"{prefix}{item.name}", item.filemode
        if mode == pygit2.enums.FileMode.TREE:
            yield from _walk(repository, source, repository[item.id].peel(pygit2.Tree), f"{path}/")
        elif mode in (pygit2.enums.FileMode.BLOB, pygit2.enums.FileMode.BLOB_EXECUTABLE):
            yield Entry(path=path, size=_size(repository, item.id), read=_blob(repository, source, item.id))
        # A link leads out of the tree, a submodule into another repository: neither is this one's code.


def _size(repository: pygit2.Repository, id: pygit2.Oid) -> int:
    import pygit2

    try:
        return repository.odb.read_header(id)[1]
    except (KeyError, pygit2.GitError):  # a clone that left large files out, or a broken file
        return ABSENT


def _blob(repository: pygit2.Repository, source: str, id: pygit2.Oid) -> Callable[[], bytes]:
    import pygit2

    def read() -> bytes:
        try:
            return repository.odb.read(id)[1]
        except (KeyError, pygit2.GitError) as error:
            raise _broken(source, error) from error

    return read


# Folders


def _folder(place: Path, name: str) -> Snapshot:
    def entries() -> Iterator[Entry]:
        for path, status in _files(place):
            yield Entry(path=path.relative_to(place).as_posix(), size=status.st_size, read=_reader(path))

    seen = hashlib.sha256()
    for path, status in _files(place):
        seen.update(f"{path.relative_to(place).as_posix()}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return Snapshot(name=name, revision=seen.hexdigest()[:40], entries=entries)


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    try:
        inside = sorted(os.scandir(folder), key=lambda item: item.name)
    except OSError as error:
        raise SourceBroken(str(folder), f"can't be listed ({error.strerror}).", "Check its permissions.") from error
    for item in inside:
        status = item.stat(follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode) and item.name != ".git":
            yield from _files(Path(item.path))
        elif stat.S_ISREG(status.st_mode):
            yield Path(item.path), status


def _reader(path: Path) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            raise SourceBroken(str(path), f"can't be read ({error.strerror}).", "Check its permissions.") from error

    return read


# Archives


def _archive(place: Path, name: str) -> Snapshot:
    def entries() -> Iterator[Entry]:
        files = _zipped if place.name.endswith((".zip", ".whl")) else _tarred
        try:
            yield from files(place)
        except TORN as error:
            raise _torn(place, error) from error

    with place.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Snapshot(name=name, revision=digest[:40], entries=entries)


def _torn(place: Path, error: Exception) -> SourceBroken:
    return SourceBroken(str(place), f"is no archive that can be read ({error}).", "Download it again.")


def _limit(place: Path) -> int:
    return max(FEWEST, EXPANSION * place.stat().st_size)


def _refused(place: Path) -> SourceRefused:
    return SourceRefused(
        str(place),
        f"holds more than {_limit(place) // 1_000_000} MB.",
        "If it is meant to, unpack it and give the folder.",
    )


def _inside(path: str) -> str | None:
    """A member's path below the archive's root; None for one that leads elsewhere."""
    pure = PurePosixPath(path.replace("\\", "/"))
    return None if pure.is_absolute() or ".." in pure.parts else pure.as_posix()


def _tarred(place: Path) -> Iterator[Entry]:
    """Members in the order in which they are packed: a compressed archive can be read forward only."""
    total = 0
    with tarfile.open(place, "r|*") as archive:
        for member in archive:
            total += member.size
            if total > _limit(place):
                raise _refused(place)
            path = _inside(member.name)
            file = archive.extractfile(member) if member.isreg() and path is not None else None
            if path is not None and file is not None:
                yield Entry(path=path, size=member.size, read=_member(place, file, member.size))


def _zipped(place: Path) -> Iterator[Entry]:
    with zipfile.ZipFile(place) as archive:
        members = sorted(archive.infolist(), key=lambda member: member.filename)
        if sum(member.file_size for member in members) > _limit(place):
            raise _refused(place)
        for member in members:
            path = _inside(member.filename)
            if path is not None and not member.is_dir() and not stat.S_ISLNK(member.external_attr >> 16):
                with archive.open(member) as file:
                    yield Entry(path=path, size=member.file_size, read=_member(place, file, member.file_size))


def _member(place: Path, file: IO[bytes], size: int) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            return file.read(size)
        except TORN as error:
            raise _torn(place, error) from error

    return read
