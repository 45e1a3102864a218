"""Small git repositories for tests, made of objects alone, and the corpora that they give."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pygit2
from pygit2.enums import FileMode

from corpus.mining.readings import Source

APACHE = (Path(__file__).parents[2] / "LICENSE").read_bytes()
AUTHOR = pygit2.Signature("A. Author", "author@example.org", 1_700_000_000, 0)
NAMES = ("ada", "bea", "cyd", "dan", "eve", "fay")

Content = bytes | tuple[FileMode, bytes | str]


def repository(path: Path, *commits: Mapping[str, Content], licence: bytes | None = APACHE) -> Path:
    """A bare repository with these commits, each the whole tree. A value may be (mode, content); of a submodule a commit's id."""
    made = pygit2.init_repository(str(path), bare=True)
    parents: list[pygit2.Oid] = []
    for number, files in enumerate(commits):
        given: dict[str, Content] = {**files}
        if licence is not None:
            given.setdefault("LICENSE", licence)
        tree = _tree(made, given)
        parents = [made.create_commit("HEAD", AUTHOR, AUTHOR, f"commit {number}", tree, parents)]
    return path


def _tree(repository: pygit2.Repository, files: Mapping[str, Content]) -> pygit2.Oid:
    builder = repository.TreeBuilder()
    folders: dict[str, dict[str, Content]] = {}
    for path, content in files.items():
        name, _, rest = path.partition("/")
        if rest:
            folders.setdefault(name, {})[rest] = content
            continue
        mode, data = content if isinstance(content, tuple) else (FileMode.BLOB, content)
        id = pygit2.Oid(hex=data) if isinstance(data, str) else repository.create_blob(data)
        builder.insert(name, id, mode)
    for name, inside in folders.items():
        builder.insert(name, _tree(repository, inside), FileMode.TREE)
    return builder.write()


def module(name: str, lines: int = 12) -> bytes:
    """A Python file that is like no other."""
    body = "".join(
        f"    def {name}_{i}(self, value_{i}):\n        return self.{name}_store.get_{i}(value_{i}, {name}={i})\n"
        for i in range(lines)
    )
    return f"import {name}_base\n\n\nclass {name.title()}({name}_base.Base):\n{body}".encode()


def six_sources(folder: Path) -> list[Source]:
    """Six repositories; bea's second file is nearly ada's, cyd's is ada's own."""
    ada = module("ada", 60)
    files: dict[str, dict[str, Content]] = {name: {f"src/{name}.py": module(name, 60)} for name in NAMES}
    files["bea"]["copied.py"] = ada.replace(b"value_7", b"other_7")
    files["cyd"]["same.py"] = ada
    return [Source(place=str(repository(folder / f"{name}.git", files[name])), name=f"o/{name}") for name in NAMES]


def contents(folder: Path) -> dict[str, bytes]:
    """A corpus as bytes: its shards and manifest by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name != ".lock"}
