"""What only a broken or hostile source has: names that are no text, trees without end, files that nobody may open."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Generator, Sequence
from pathlib import Path

import pygit2
from pygit2.enums import FileMode, ObjectType

from tests.corpus.repositories import AUTHOR, module, repository

NOT_UTF8 = b"caf\xe9.py"


@contextlib.contextmanager
def unopened(path: Path) -> Generator[Path]:
    """A FIFO at this path that nobody opens to read. Who does gets nothing from it, and the test fails."""
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)
    # Another process: who waits in a library may let no other thread of this one run.
    writes = ["sh", "-c", 'while : > "$0"; do echo opened; done', str(path)]
    writer = subprocess.Popen(writes, stdout=subprocess.PIPE)
    try:
        yield path
    finally:
        writer.kill()
        said, _ = writer.communicate()
    assert said == b"", f"{path.name} was opened"


def tree(made: pygit2.Repository, entries: Sequence[tuple[FileMode, bytes, pygit2.Oid]]) -> pygit2.Oid:
    """A tree object as its bytes are, in which a name may be anything."""
    lines = (
        f"{int(mode):o} ".encode() + name + b"\0" + id.raw for mode, name, id in sorted(entries, key=lambda e: e[1])
    )
    return made.odb.write(ObjectType.TREE, b"".join(lines))


def committed(place: Path, root: pygit2.Oid) -> Path:
    """The repository with another commit, of this tree."""
    made = pygit2.Repository(str(place))
    made.create_commit("HEAD", AUTHOR, AUTHOR, "another", root, [made.head.target])
    return place


def with_bad_name(place: Path) -> Path:
    """A repository with good.py, and files and a folder whose names are not UTF-8."""
    repository(place, {"good.py": module("good")})
    made = pygit2.Repository(str(place))
    code = made.create_blob(module("bad"))
    inside = tree(made, [(FileMode.BLOB, b"inside.py", code)])
    old = [
        (FileMode(item.filemode), item.raw_name or b"", pygit2.Oid(raw=item.id.raw)) for item in made.head.peel().tree
    ]
    return committed(place, tree(made, [*old, (FileMode.BLOB, NOT_UTF8, code), (FileMode.TREE, b"d\xff", inside)]))


def nested(place: Path, depth: int, *, twice: bool = False) -> Path:
    """A repository with a folder in a folder and so on; with `twice` each has the next one two times."""
    repository(place, {"good.py": module("good")})
    made = pygit2.Repository(str(place))
    root = tree(made, [(FileMode.BLOB, b"a.py", made.create_blob(module("deep")))])
    for _ in range(depth):
        root = tree(made, [(FileMode.TREE, name, root) for name in ((b"d", b"e") if twice else (b"d",))])
    return committed(place, root)
