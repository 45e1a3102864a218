"""A snapshot laid out as a folder: what belongs there, and nothing anywhere else."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from pygit2.enums import FileMode

from corpus.lists import workspace
from corpus.lists.workspace import LARGEST, unfold
from corpus.mining.sources import ABSENT, Entry, Snapshot, SourceBroken, snapshot
from tests.corpus.repositories import repository

CODE = b"x = 1\n"


def handmade(*files: tuple[str, bytes], sizes: Mapping[str, int] | None = None) -> Snapshot:
    """A snapshot that lists these paths as they are, which none of `corpus.mining.sources` would."""
    entries = [
        Entry(path=path, size=(sizes or {}).get(path, len(data)), read=lambda data=data: data) for path, data in files
    ]
    return Snapshot(name="made", revision="r", entries=lambda: iter(entries))


def below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def check_left_out(tmp_path: Path, *paths: str, sizes: Mapping[str, int] | None = None) -> None:
    """Of these, only what stands beside them is written, and nothing outside."""
    made = handmade(*((path, b"left out") for path in paths), ("kept.py", CODE), sizes=sizes)
    assert unfold(made, tmp_path / "deep" / "in" / "here") == tmp_path / "deep" / "in" / "here"
    assert below(tmp_path) == {"deep/in/here/kept.py": CODE}


@pytest.mark.parametrize(
    "path",
    [
        "../x.py", "a/../../x.py", "a/..", "..", "a\\..\\b.py", "..\\x.py", "/abs.py", "\\abs.py", "//host/x.py",
        "\\\\host\\x.py", "a\0.py", "", ".", "./", "/",
    ],
)  # fmt: skip
def test_a_path_that_leads_elsewhere_is_left_out(tmp_path: Path, path: str) -> None:
    check_left_out(tmp_path, path)


def test_a_name_that_no_server_or_disk_can_have_is_left_out(tmp_path: Path) -> None:
    check_left_out(tmp_path, "caf\udce9.py", "x" * 300 + ".py")


@pytest.mark.parametrize(
    "path",
    [
        ".git/config", "sub/.git/hooks/post-checkout", ".git", ".hg/hgrc", "node_modules/x/index.js",
        "packages/a/node_modules/typescript/lib/tsserver.js", "a\\node_modules\\x.js", ".venv/bin/python", "venv/x.py",
        ".yarn/sdks/typescript/lib/tsserver.js", ".pnp.cjs", ".pnp.loader.mjs", ".vscode/settings.json",
        "./.git/config", "a//.git//config",
    ],
)  # fmt: skip
def test_tools_own_folders_are_left_out(tmp_path: Path, path: str) -> None:
    check_left_out(tmp_path, path)


def test_names_that_only_look_like_them_are_not(tmp_path: Path) -> None:
    paths = (".gitignore", "a..b/c.py", "...", "my.venv/x.py", "node_modules.py", "C:/x.py", "~/x.py")
    assert unfold(handmade(*((path, CODE) for path in paths)), tmp_path / "out") == tmp_path / "out"
    assert below(tmp_path / "out") == dict.fromkeys(paths, CODE)


def test_names_that_a_server_is_not_to_see_are_left_out_wherever_they_stand(tmp_path: Path) -> None:
    made = handmade(("pom.xml", CODE), ("a/b/pom.xml", CODE), ("a/pom.xml.py", CODE), ("b/pom.xml/c.py", CODE))
    unfold(made, tmp_path, ["pom.xml"])
    assert set(below(tmp_path)) == {"a/pom.xml.py", "b/pom.xml/c.py"}


def test_large_absent_and_binary_files_are_left_out(tmp_path: Path) -> None:
    sizes = {"large.py": LARGEST + 1, "absent.py": ABSENT}
    check_left_out(tmp_path, "large.py", "absent.py", "a/b.png", "a/B.JPG", "lib.jar", "x.so", sizes=sizes)


def test_what_is_left_out_is_not_read(tmp_path: Path) -> None:
    def read() -> bytes:
        raise AssertionError("it was read")

    entries = [Entry(path=path, size=size, read=read) for path, size in (("../x", 1), ("a.zip", 1), ("b.py", 10**12))]
    unfold(Snapshot(name="made", revision="r", entries=lambda: iter(entries)), tmp_path)
    assert below(tmp_path) == {}


def test_a_file_of_the_largest_size_is_written_and_so_is_an_empty_one(tmp_path: Path) -> None:
    unfold(handmade(("empty/__init__.py", b""), ("a.py", b"#" * LARGEST)), tmp_path)
    assert {path: len(data) for path, data in below(tmp_path).items()} == {"empty/__init__.py": 0, "a.py": LARGEST}


def test_no_more_than_so_much_is_written_in_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "MOST", 20)
    unfold(handmade(*((f"{name}.py", CODE) for name in "abcdef")), tmp_path)
    assert sorted(below(tmp_path)) == ["a.py", "b.py", "c.py"]


def test_an_archives_one_top_folder_is_the_root(tmp_path: Path) -> None:
    archive = tmp_path / "p-1.0.zip"
    with zipfile.ZipFile(archive, "w") as out:
        out.writestr("p-1.0/a.py", CODE)
        out.writestr("p-1.0/src/b.py", CODE)
        out.writestr("../outside.py", CODE)
    assert unfold(snapshot(str(archive)), tmp_path / "out") == tmp_path / "out" / "p-1.0"
    assert below(tmp_path / "out") == {"p-1.0/a.py": CODE, "p-1.0/src/b.py": CODE}
    assert set(below(tmp_path)) == {"p-1.0.zip", "out/p-1.0/a.py", "out/p-1.0/src/b.py"}


@pytest.mark.parametrize("files", [("a/x.py", "b/y.py"), ("a/x.py", "y.py"), ("x.py", "y.py"), ()])
def test_without_one_the_folder_itself_is(tmp_path: Path, files: tuple[str, ...]) -> None:
    assert unfold(handmade(*((file, CODE) for file in files)), tmp_path / "out") == tmp_path / "out"
    assert (tmp_path / "out").is_dir()


@pytest.mark.parametrize(
    ("first", "second"), [("a", "a/b.py"), ("a", "a/b/c.py"), ("a/b", "a"), ("a/b/c", "a/b"), ("a/b.py", "a/b.py/c")]
)
def test_of_a_path_as_file_and_as_folder_the_first_stands(tmp_path: Path, first: str, second: str) -> None:
    unfold(handmade((first, b"first"), (second, b"second"), ("z/last.py", CODE)), tmp_path)
    assert below(tmp_path) == {first: b"first", "z/last.py": CODE}


def test_links_of_a_repository_are_not_made(tmp_path: Path) -> None:
    tree = {"a.py": CODE, "out": (FileMode.LINK, b"/etc"), "up": (FileMode.LINK, b"..")}
    unfold(snapshot(str(repository(tmp_path / "r.git", tree, licence=None))), tmp_path / "laid")
    assert [path.name for path in (tmp_path / "laid").iterdir()] == ["a.py"]


def test_nothing_that_is_laid_out_can_be_run(tmp_path: Path) -> None:
    tree = {"run.sh": (FileMode.BLOB_EXECUTABLE, b"#!/bin/sh\ntouch ran\n")}
    unfold(snapshot(str(repository(tmp_path / "r.git", tree, licence=None))), tmp_path / "laid")
    assert not (tmp_path / "laid" / "run.sh").stat().st_mode & 0o111
    assert (tmp_path / "laid").stat().st_mode & 0o777 == 0o700


def test_a_source_that_is_broken_says_so(tmp_path: Path) -> None:
    def read() -> bytes:
        raise SourceBroken("made", "has an object that can't be read.", "Clone it again.")

    entry = Entry(path="a.py", size=1, read=read)
    with pytest.raises(SourceBroken, match="made"):
        unfold(Snapshot(name="made", revision="r", entries=lambda: iter([entry])), tmp_path)
