"""A git repository's files at a revision, of its objects alone.

libgit2 reads objects, and nothing else: a repository's own configuration, its includes and its hooks are never looked at.
References are a few small files, read here. Every file that libgit2 would open is known to be a regular one before it does.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from corpus.mining.limits import CONTROL, OBJECT, Walk, open_regular
from corpus.mining.snapshots import ABSENT, Entry, RevisionMissing, Snapshot, SourceBroken, SourceRefused

if TYPE_CHECKING:
    import pygit2

ALTERNATES = 5  # one behind another; libgit2 follows as many
MOST_ALTERNATES = 100  # in all
SYMBOLIC = 10  # references that name another
# git's own order (gitrevisions(7)).
_REFERENCES = ("{}", "refs/{}", "refs/tags/{}", "refs/heads/{}", "refs/remotes/{}", "refs/remotes/{}/HEAD")
_REVISION = re.compile(r"(.*?)((?:[~^:]|@\{).*)?", re.DOTALL)
_DESCRIBED = re.compile(r".+-\d+-g([0-9a-f]{4,40})")
_HASH = re.compile(r"[0-9a-f]{40}")
_PART_OF_HASH = re.compile(r"[0-9a-f]{4,40}")
_SPECIAL = re.compile(r"[A-Z_]+")


@dataclass(frozen=True, kw_only=True)
class Git:
    """Where a repository keeps what: of a worktree some of it is in the repository that it belongs to."""

    own: Path  # HEAD
    common: Path  # objects and references


def git_folder(place: Path) -> Git | None:
    """The repository at a folder, bare or not; None where there is none. Raises SourceRefused."""
    for folder in (place / ".git", place):
        own = _pointed(place, folder)
        if own is None:
            continue
        given = _text(own / "commondir")
        common = own / given.strip() if given else own
        if _is_folder(common / "objects") and _is_folder(common / "refs") and os.path.lexists(own / "HEAD"):
            return Git(own=own, common=common)
    return None


def _is_folder(place: Path) -> bool:
    """As Path.is_dir, which raises where a name is too long."""
    return os.path.isdir(place)  # noqa: PTH112


def _pointed(place: Path, folder: Path) -> Path | None:
    """The folder, or where a worktree's file in its place says that it is."""
    if _is_folder(folder):
        return folder
    said = _text(folder)
    return place / said.removeprefix("gitdir:").strip() if said.startswith("gitdir:") else None


def repository_at(git: Git, source: str, name: str, revision: str) -> Snapshot:
    """The snapshot of a revision; '' for HEAD. Raises SourceError."""
    import pygit2

    base, rest = _REVISION.fullmatch(revision).groups("")  # pyright: ignore[reportOptionalMemberAccess]  (matches all)
    missing = RevisionMissing(
        source,
        f"has no revision {revision or 'HEAD'!r}.",
        "Fetch it (a shallow clone has only the last), or name another after '@'.",
    )
    found = _resolved(git, "HEAD" if base in ("", "@") and not rest.startswith(":") else base)
    if found is None:
        raise missing
    objects = _objects(git.common / "objects", source)
    repository = pygit2.Repository()  # of no place on the disk, so it has no configuration
    repository.set_odb(objects)
    try:
        if _HASH.fullmatch(found):
            _check_size(objects, source, pygit2.Oid(hex=found))
        commit = repository.revparse_single(found + rest).peel(pygit2.Commit)
        tree = commit.tree_id
        _check_size(objects, source, tree)
    except (KeyError, ValueError, pygit2.GitError) as error:
        raise (missing if revision else _broken(source, error)) from error

    @cache  # the first walk reads every folder, and asks for the size of every file
    def walked() -> Sequence[Entry]:
        try:
            return list(_walk(repository, objects, source, tree))
        except (KeyError, ValueError, pygit2.GitError) as error:
            raise _broken(source, error) from error

    return Snapshot(name=name, revision=str(commit.id), entries=lambda: iter(walked()))


def _broken(source: str, error: object) -> SourceBroken:
    return SourceBroken(
        source, f"has an object that can't be read ({error}).", "Run `git fsck` there, or clone it again."
    )


# References


def _resolved(git: Git, base: str) -> str | None:
    """The hash, or the beginning of one, that a revision's name stands for; None for a name of nothing."""
    if _HASH.fullmatch(base):
        return base
    for form in _REFERENCES:
        found = _reference(git, form.format(base))
        if found is not None:
            return found
    described = _DESCRIBED.fullmatch(base)
    short = described[1] if described else base
    return short if _PART_OF_HASH.fullmatch(short) else None


def _reference(git: Git, name: str) -> str | None:
    """The hash that a reference has; None where there is none."""
    for _ in range(SYMBOLIC):
        parts = name.split("/")
        known = parts[0] == "refs" if len(parts) > 1 else _SPECIAL.fullmatch(name)
        if not known or ".." in parts or "\0" in name:
            return None
        said = _text(git.own / name) or _text(git.common / name)
        if said.startswith("ref:"):
            name = said.removeprefix("ref:").strip()
            continue
        if not said:
            packed = _text(git.common / "packed-refs")
            place = packed.find(f" {name}\n")
            said = packed[max(0, place - 40) : place] if place >= 0 else ""
        return said[:40] if _HASH.match(said) else None
    return None


def _text(path: Path) -> str:
    """One of git's own files, '' where there is none. Raises SourceRefused where it is not a regular file."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            return ""
        _check_regular(str(path), status)
        with open_regular(path) as file:
            return file.read(CONTROL).decode("utf-8", "surrogateescape")
    except (OSError, ValueError):  # ValueError: a zero byte in a name
        return ""


def _check_regular(path: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise SourceRefused(
            path, f"needs {Path(path).name}, which is not a regular file.", "Remove it, or clone again."
        )


# Objects


def _objects(folder: Path, source: str) -> pygit2.Odb:
    """The objects of a repository and of its alternates. Raises SourceError."""
    import pygit2

    found = pygit2.Odb()
    walk = Walk(source)
    for number, place in enumerate(_with_alternates(folder)):
        _check_files(place, source, walk)
        try:
            found.add_backend(pygit2.OdbBackendPack(str(place)), 1000 - 2 * number)
            found.add_backend(pygit2.OdbBackendLoose(str(place), -1, False), 999 - 2 * number)
        except (OSError, ValueError, pygit2.GitError) as error:
            raise _broken(source, error) from error
    return found


def _with_alternates(folder: Path) -> list[Path]:
    """The folder, and those from which it borrows objects (gitrepository-layout(5))."""
    found = [folder]
    seen = {os.path.realpath(folder)}
    for _ in range(ALTERNATES):
        named = [
            place / line
            for place in found
            for line in _text(place / "info" / "alternates").splitlines()[:MOST_ALTERNATES]
            if line and not line.startswith("#") and "\0" not in line
        ]
        for place in named:
            real = os.path.realpath(place)
            if real not in seen and _is_folder(Path(real)) and len(found) < MOST_ALTERNATES:
                seen.add(real)
                found.append(place)
    return found


def _check_files(objects: Path, source: str, walk: Walk) -> None:
    """All that libgit2 may open below a folder of objects is a regular file. Links count as what they lead to."""
    waiting = [str(objects)]
    try:
        while waiting:
            folder = waiting.pop()
            with os.scandir(folder) as items:
                for item in items:
                    walk.listed(1)
                    if item.is_file(follow_symlinks=False):
                        continue
                    if item.is_dir() and folder == str(objects):
                        waiting.append(item.path)
                    elif not item.is_dir() and os.path.exists(item.path):  # noqa: PTH110  (a link may lead nowhere)
                        _check_regular(item.path, item.stat())
    except OSError as error:
        raise _broken(source, error.strerror) from error


def _check_size(objects: pygit2.Odb, source: str, id: pygit2.Oid) -> None:
    """Refuse to read what says that it is a folder of millions of files. Raises KeyError and GitError."""
    size = objects.read_header(id)[1]
    if size > OBJECT:
        raise SourceRefused(
            source,
            f"has a tree, commit or tag of {size // 1_000_000:,} MB.",
            "If it is meant to, check it out and give its folders.",
        )


def _walk(repository: pygit2.Repository, objects: pygit2.Odb, source: str, root: pygit2.Oid) -> Iterator[Entry]:
    from pygit2.enums import FileMode

    walk = Walk(source)
    waiting = [("", _tree(repository, objects, source, root, walk))]
    while waiting:
        prefix, inside = waiting[-1]
        item = next(inside, None)
        if item is None:
            waiting.pop()
            continue
        path, mode = prefix + (item.raw_name or b"").decode("utf-8", "surrogateescape"), item.filemode
        walk.met(path)
        if mode == FileMode.TREE:
            waiting.append((f"{path}/", _tree(repository, objects, source, item.id, walk)))
        elif mode in (FileMode.BLOB, FileMode.BLOB_EXECUTABLE):
            yield Entry(path=path, size=_size(objects, item.id), read=_blob(objects, source, item.id))
        # A link leads out of the tree, a submodule into another repository: neither is this one's code.


def _tree(
    repository: pygit2.Repository, objects: pygit2.Odb, source: str, id: pygit2.Oid, walk: Walk
) -> Iterator[pygit2.Object]:
    import pygit2

    _check_size(objects, source, id)
    tree = repository[id].peel(pygit2.Tree)
    walk.listed(len(tree))
    return iter(sorted(tree, key=lambda item: item.raw_name or b""))


def _size(objects: pygit2.Odb, id: pygit2.Oid) -> int:
    import pygit2

    try:
        return objects.read_header(id)[1]
    except (KeyError, pygit2.GitError):  # a clone that left large files out, or a broken file
        return ABSENT


def _blob(objects: pygit2.Odb, source: str, id: pygit2.Oid) -> Callable[[], bytes]:
    import pygit2

    def read() -> bytes:
        try:
            return objects.read(id)[1]
        except (KeyError, pygit2.GitError) as error:
            raise _broken(source, error) from error

    return read
