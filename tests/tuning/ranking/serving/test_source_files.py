"""Which files of a workspace are found: hostile trees, trees without end, and what a single changed file is taken for."""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tuning.ranking.serving.hostile import run_apart
from tuning.ranking.serving.index import regular_files as regular
from tuning.ranking.serving.index import source_files as files
from tuning.ranking.serving.index.regular_files import NotReadable, read_regular
from tuning.ranking.serving.index.source_files import Bounds, Tree, source_files

needs_posix = pytest.mark.skipif(os.name != "posix", reason="FIFOs")


def made(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("a.b\n")
    return root


def found(root: Path, bounds: Bounds = files.USUAL) -> list[str]:
    return [Path(file.path).relative_to(root).as_posix() for file in source_files([root], [".py"], 1000, bounds=bounds)]


@needs_posix
def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    made(tmp_path, "kept.py", "fifo/a.py", "zero/a.py", "linked/a.py", "folder/a.py", "stars/a.py", "huge/skip.py")
    os.mkfifo(tmp_path / "fifo" / ".gitignore")
    os.mkfifo(tmp_path / "fifo.py")
    (tmp_path / "zero" / ".gitignore").symlink_to("/dev/zero")
    (tmp_path / "zero.py").symlink_to("/dev/zero")
    (tmp_path / "linked" / ".gitignore").symlink_to("loop")
    (tmp_path / "linked" / "loop").symlink_to("loop")
    (tmp_path / "linked" / "up.py").symlink_to(tmp_path)
    (tmp_path / "folder" / ".gitignore").mkdir()
    (tmp_path / "stars" / ".gitignore").write_text("*a*a*a*a*a*a*a*a*a*ab\n")
    (tmp_path / "stars" / ("a" * 200 + ".py")).write_text("a.b\n")
    (tmp_path / "huge" / ".gitignore").write_text("skip.py\n" * 100_000)
    lines = run_apart(
        """
import sys
from pathlib import Path
from tuning.ranking.serving.index.workspace_index import WorkspaceIndex

index = WorkspaceIndex([Path(sys.argv[1])], [".py"])
index.build()
index.refresh(*(Path(sys.argv[1], name) for name in ("fifo.py", "zero.py", "fifo/a.py", "linked/up.py")))
print(index.ready, index.files)
""",
        tmp_path,
    )
    assert lines == ["True 8"]


@needs_posix
def test_a_file_that_became_something_else_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(made(tmp_path, "a.py") / "a.py")
    script = """
import os, stat, sys
from tuning.ranking.serving.index import regular_files as regular

regular._check = lambda path, status, check=regular._check: status is swapped or check(path, status)
swapped = os.lstat(sys.argv[1])  # it was a regular file when it was looked at
os.lstat = lambda path: swapped
try:
    regular.read_regular(sys.argv[1], 100)
except OSError as error:
    print("refused")
"""
    for name in ("fifo", "link"):
        assert run_apart(script, tmp_path / name) == ["refused"]


def test_no_more_is_read_than_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_bytes(b"x" * 100)
    assert read_regular(path, 100) == b"x" * 100
    with pytest.raises(NotReadable):
        read_regular(path, 99)
    with pytest.raises(NotReadable):
        read_regular("a\0b", 99)


def test_a_file_that_grows_while_it_is_read_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    class Growing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            assert size is not None and size >= 0
            asked.append(size)
            return b"x" * min(size, 10)

    monkeypatch.setattr(regular, "open_regular", lambda path: Growing())
    with pytest.raises(NotReadable):
        read_regular("a.py", 25)
    assert asked == [26, 16, 6]


def test_what_is_near_a_root_comes_first(tmp_path: Path) -> None:
    made(tmp_path, *(f"{folder}/{name}" for folder in ("a", "b", "a/c", "b/c", "a/c/d") for name in ("x.py", "y.py")))
    depths = [path.count("/") for path in found(tmp_path)]
    assert depths == sorted(depths)


@pytest.mark.parametrize(
    ("bounds", "expected", "said"),
    [
        (Bounds(files=2), ["near.py", "a/deep.py"], "more than 2 files"),
        (Bounds(depth=1), ["near.py", "a/deep.py"], "folders deep"),
        (Bounds(entries=4), ["near.py", "a/deep.py"], "more than 4 entries"),
        (Bounds(seconds=-1), [], "s of looking"),
    ],
)
def test_a_bound_keeps_what_is_near_the_root_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, bounds: Bounds, expected: list[str], said: str
) -> None:
    made(tmp_path, "near.py", "a/deep.py", "a/b/deeper.py", "a/b/c/deepest.py")
    with caplog.at_level(logging.WARNING):
        assert found(tmp_path, bounds) == expected
    assert len(caplog.records) == 1
    assert said in caplog.text


def test_ignore_files_without_end_are_bounded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made(tmp_path, "x.py", "a/x.py", "b/x.py")
    for folder in ("", "a", "b"):
        (tmp_path / folder / ".gitignore").write_text("x.py\ny.py\n")
    assert found(tmp_path, Bounds(patterns=3)) == []  # the outer one goes on for the inner folders
    assert "patterns of a .gitignore" in caplog.text
    (tmp_path / ".gitignore").unlink()
    assert len(found(tmp_path, Bounds(all_patterns=3))) == 2


def test_the_walk_ends_when_it_is_told_to(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    assert source_files([made(tmp_path, "a.py")], [".py"], 1000, stop=stop) == []


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_the_whole_disk_as_a_root_holds_no_file_of_the_kernel() -> None:
    bounds = Bounds(entries=3000, files=3000)
    paths = [file.path for file in source_files([Path("/")], [""], 1 << 40, bounds=bounds)]
    assert paths
    assert [path for path in paths if path.startswith(("/proc/", "/sys/", "/dev/"))] == []


def test_a_project_may_hold_mounts_and_a_home_folder_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    project = made(tmp_path, "home/project/a/b.py", "home/project/c.py") / "home" / "project"
    device = project.stat().st_dev
    assert [files._device(root) for root in (project, project.parent, tmp_path)] == [None, device, device]  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(files, "_device", lambda root: device + 1)  # as if all folders were mounts
    assert found(project) == ["c.py"]
    assert "other file systems" in caplog.text


def test_a_folder_that_cannot_be_listed_costs_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path, "a.py", "closed/b.py")
    listed = os.scandir

    def refused(folder: str) -> Iterator[os.DirEntry[str]]:  # permissions would not stop root
        if Path(folder).name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied", folder)
        return listed(folder)

    monkeypatch.setattr(os, "scandir", refused)
    assert found(tmp_path) == ["a.py"]


def test_a_single_file_is_taken_for_what_the_walk_takes_it_for(tmp_path: Path) -> None:
    made(
        tmp_path, "a.py", "a.txt", "node_modules/x.py", "out/x.py", "out/keep/x.py", "env/pyvenv.cfg", "env/lib/x.py",
        "sub/skip.py", "sub/keep.py", "sub/deep/skip.py", "one/two/three.py",
    )  # fmt: skip
    (tmp_path / ".gitignore").write_text("out/*\n!out/keep/\ntwo/\n")
    (tmp_path / "sub" / ".gitignore").write_text("skip.py\n!/deep/skip.py\n")
    tree = Tree([tmp_path], [".py"])
    alone = {
        path.relative_to(tmp_path).as_posix()
        for path in tmp_path.rglob("*")
        if path.is_file() and tree.has(os.fspath(path))
    }
    assert alone == set(found(tmp_path)) == {"a.py", "out/keep/x.py", "sub/keep.py", "sub/deep/skip.py"}
    assert not tree.has(os.fspath(tmp_path.parent / "a.py"))
