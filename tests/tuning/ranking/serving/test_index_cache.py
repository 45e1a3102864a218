"""The index on disk: whatever is wrong with it, the workspace has an index at this start and a good file at the next."""

from __future__ import annotations

import errno
import json
import os
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tuning.ranking.serving.hostile import run_apart
from tests.tuning.ranking.serving.test_workspace_index import SOURCE, built, score, words
from tuning.ranking.serving.index import index_cache
from tuning.ranking.serving.index.counts import FULL
from tuning.ranking.serving.index.workspace_index import WorkspaceIndex


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.py").write_text(SOURCE)
    (root / "b.py").write_text(SOURCE)
    return root


@pytest.fixture
def cache(tmp_path: Path, root: Path) -> Path:
    """Of an index that was built once."""
    built(root, tmp_path / "cache")
    return tmp_path / "cache"


def kept(cache: Path) -> Path:
    """The one file that is there."""
    (folder,) = cache.iterdir()
    (path,) = folder.iterdir()
    return path


def check_built_anew(root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index is right now; and what was written takes the place of what was there, so the next start reads no file."""
    before = kept(cache)
    assert list(score(built(root, cache), "client.", "send", "absent").receiver_workspace) == [4, 0]
    monkeypatch.setattr(WorkspaceIndex, "_add", lambda *_: pytest.fail("read a file again"))
    assert score(built(root, cache), "client.", "send").receiver_workspace[0] == 4
    assert kept(cache) != before


def flipped(at: float) -> Callable[[bytes], bytes]:
    """One bit is wrong, so far into the file."""

    def flip(data: bytes) -> bytes:
        place = int(at * len(data))
        return data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]

    return flip


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:10],
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        lambda data: data + b"\0" * 4096,
        lambda data: b"\0" * len(data),
        lambda data: data[:8] + (1 << 62).to_bytes(8, "little") + data[16:],
        flipped(0.001),
        flipped(0.5),
        flipped(0.999),
    ],
    ids=("empty", "head", "half", "end", "longer", "zeros", "length", "manifest", "words", "ids"),
)
def test_damaged_file(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[bytes], bytes]
) -> None:
    path = kept(cache)
    path.write_bytes(damage(path.read_bytes()))
    check_built_anew(root, cache, monkeypatch)


def forged(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest, or put text in its place, and leave all checksums and lengths right."""
    data = path.read_bytes()
    length = int.from_bytes(data[8:16], "little")
    manifest = json.loads(data[16 : 16 + length])
    arrays = data[16 + length + -(16 + length) % index_cache.ALIGNED : -4]
    changed = change(manifest)
    text = changed if isinstance(changed, bytes) else json.dumps(manifest).encode()
    text += b" " * (-(16 + len(text)) % index_cache.ALIGNED)
    whole = data[:8] + len(text).to_bytes(8, "little") + text + arrays
    path.write_bytes(whole + zlib.crc32(whole).to_bytes(4, "little"))


def test_forging_without_a_change_is_read(root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forged(kept(cache), lambda manifest: None)
    monkeypatch.setattr(WorkspaceIndex, "_add", lambda *_: pytest.fail("read a file again"))
    built(root, cache)


def put(key: str, value: object) -> Callable[[dict[str, Any]], object]:
    return lambda manifest: manifest.__setitem__(key, value)


def shifted(*changes: int) -> Callable[[dict[str, Any]], object]:
    """Files have so many more ids than they have."""

    def shift(manifest: dict[str, Any]) -> None:
        for file, change in zip(manifest["files"], changes, strict=True):
            file[3] += change

    return shift


@pytest.mark.parametrize(
    "change",
    [
        put("slots", 0),
        put("slots", -8),
        put("slots", 1 << 31),
        put("slots", 1 << 70),
        put("slots", 16384.5),
        put("slots", None),
        put("names", -1),
        put("names", 1 << 39),
        put("names", "5"),
        put("overflow", [[1 << 39, FULL]]),
        put("overflow", [[-1, FULL]]),
        put("overflow", [[1, 1 << 80]]),
        put("overflow", {"a": 1}),
        put("files", None),
        put("files", [["a", 1, 1, -5], ["b", 1, 1, 5]]),
        put("files", [["a", 1, 1]]),
        shifted(-1000, 1000),
        shifted(0, 1 << 38),
        shifted(-1, 0),
        lambda manifest: manifest["files"].__setitem__(1, manifest["files"][0]),
        lambda manifest: b"[" * 1_000_000,
        lambda manifest: b'{"other":' * 300_000,
        lambda manifest: b"\xff\xfe",
        lambda manifest: b"null",
    ],
)
def test_hostile_manifest(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, Any]], object]
) -> None:
    forged(kept(cache), change)
    check_built_anew(root, cache, monkeypatch)


@pytest.mark.parametrize("array", [True, False])
def test_nothing_is_allocated_for_what_is_far_too_large(
    cache: Path, monkeypatch: pytest.MonkeyPatch, array: bool
) -> None:
    path = kept(cache)
    before = path.stat().st_size
    if array:
        forged(path, put("slots", 1 << 31))
        size = path.stat().st_size + 4 * ((1 << 31) - (1 << 14))
    else:
        path.write_bytes(path.read_bytes()[:8] + (1 << 33).to_bytes(8, "little"))
        size = before + (1 << 33)
    with path.open("r+b") as file:
        file.truncate(size)  # without taking room on the disk
    monkeypatch.setattr(
        index_cache, "bytearray", lambda size: bytearray(size) if size < 1 << 23 else pytest.fail("8 GB"), raising=False
    )
    monkeypatch.setattr(np, "empty", lambda *_: pytest.fail("allocated"))
    assert index_cache.read(path.parent, index_cache.Expected(slots=1 << 14, path_bytes=1000)) is None
    assert not path.exists()


@pytest.mark.skipif(os.name != "posix", reason="FIFOs and links")
@pytest.mark.parametrize("kind", ["fifo", "link", "folder"])
def test_something_else_in_the_place_of_the_file(root: Path, cache: Path, kind: str) -> None:
    path = kept(cache)
    if kind == "link":
        path.rename(path.with_suffix(".moved"))
    else:
        path.unlink()
    {"fifo": os.mkfifo, "folder": Path.mkdir, "link": lambda p: p.symlink_to(path.with_suffix(".moved"))}[kind](path)
    script = """
import sys
from pathlib import Path
from tuning.ranking.serving.index.workspace_index import WorkspaceIndex

index = WorkspaceIndex([Path(sys.argv[1])], [".py"], cache_dir=Path(sys.argv[2]))
index.build()
print(index.files)
"""
    assert run_apart(script, root, cache) == ["2"]


def test_files_are_their_owners_alone(root: Path, cache: Path) -> None:
    path = kept(cache)
    assert (path.parent.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o700, 0o600)
    path.unlink()
    path.parent.chmod(0o777)
    built(root, cache)
    assert kept(cache).parent.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_is_a_link_is_not_written_to(root: Path, cache: Path, tmp_path: Path) -> None:
    path = kept(cache)
    path.unlink()
    path.parent.rmdir()
    (tmp_path / "elsewhere").mkdir()
    path.parent.symlink_to(tmp_path / "elsewhere")
    assert built(root, cache).ready
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_full_disk_leaves_what_was_there(root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = kept(cache)
    whole = index_cache._put  # pyright: ignore[reportPrivateUsage]

    def full(out: Any, data: Any) -> None:
        if len(data) > 1000:
            whole(out, bytes(data)[:1000])
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(out, data)

    (root / "c.py").write_text(SOURCE)
    with monkeypatch.context() as patch:
        patch.setattr(index_cache, "_put", full)
        assert score(built(root, cache), "client.", "send").receiver_workspace[0] == 6
    assert kept(cache) == before
    (root / "c.py").unlink()
    monkeypatch.setattr(WorkspaceIndex, "_add", lambda *_: pytest.fail("read a file again"))
    assert score(built(root, cache), "client.", "send").receiver_workspace[0] == 4


def test_what_another_window_replaces_meanwhile_is_read_again(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = index_cache._read  # pyright: ignore[reportPrivateUsage]
    read: list[Path] = []

    def late(path: Path, expected: index_cache.Expected) -> index_cache.Kept:
        if not read:
            path.rename(path.with_name("index-newer.bin"))
        read.append(path)
        return whole(path, expected)

    monkeypatch.setattr(index_cache, "_read", late)
    monkeypatch.setattr(WorkspaceIndex, "_add", lambda *_: pytest.fail("read a file again"))
    built(root, cache)
    assert len(read) == 2


def test_two_windows_leave_each_others_counts_right(root: Path, cache: Path) -> None:
    first, second = built(root, cache), built(root, cache)
    for number, index in enumerate((first, second, first)):
        path = root / f"more{number}.py"
        path.write_text(SOURCE)
        for each in (first, second):
            each.refresh(path)
        index.save()
    for index in (first, second, built(root, cache)):
        assert score(index, "client.", "send").receiver_workspace[0] == 10
    kept(cache)
    paths = list(root.iterdir())
    for path in paths:
        path.unlink()
    for index in (first, second):  # by ids of files that are mapped and gone
        index.refresh(*paths)
        assert words(index) == 0


def test_only_what_is_older_is_removed(root: Path, cache: Path) -> None:
    folder = kept(cache).parent
    others = {
        name: folder / name for name in ("index-newer.bin", "half.tmp", "old.tmp", "words-1.npy", "manifest.json")
    }
    for path in others.values():
        path.write_bytes(b"")
    os.utime(others["index-newer.bin"], (time.time() + 100, time.time() + 100))
    os.utime(others["old.tmp"], (0, 0))
    index = WorkspaceIndex([root], [".py"])
    index.build()
    index_cache.write(folder, index_cache.Kept(index._table, index._files, index._names))  # pyright: ignore[reportPrivateUsage]
    left = {path.name for path in folder.iterdir()}
    assert {name for name in others if name in left} == {"index-newer.bin", "half.tmp"}
    assert len(left) == 3


@pytest.mark.skipif(os.name != "posix", reason="names are Unicode elsewhere")
def test_names_that_are_no_text_are_kept_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(os.fsdecode(os.fsencode(tmp_path / "root") + b"\xff"))
    try:
        root.mkdir()
    except OSError:
        pytest.skip("this file system has Unicode names only")
    for name in (b"a\xe9.py", "ä.py".encode()):
        (root / os.fsdecode(name)).write_text(SOURCE)
    built(root, tmp_path / "cache")
    monkeypatch.setattr(WorkspaceIndex, "_add", lambda *_: pytest.fail("read a file again"))
    assert score(built(root, tmp_path / "cache"), "client.", "send").receiver_workspace[0] == 4


def other_workspaces(tmp_path: Path, cache: Path, count: int) -> list[Path]:
    """Folders of other workspaces' indexes, each used a day before the next."""
    found: list[Path] = []
    for number in range(count):
        other = tmp_path / f"other-{number}"
        other.mkdir()
        (other / "c.py").write_text(SOURCE)
        before = {*cache.iterdir()}
        built(other, cache)
        (folder,) = {*cache.iterdir()} - before
        found.append(folder)
    for number, folder in enumerate(found):
        os.utime(folder, (0, time.time() - 86_400 * (count - number)))
    return found


def test_indexes_that_were_not_used_for_long_are_removed(
    tmp_path: Path, root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = other_workspaces(tmp_path, cache, 2)
    (old / "half.tmp").write_bytes(b"half")
    os.utime(old / "half.tmp", (0, 0))
    os.utime(old, (0, time.time() - index_cache.UNUSED - 1))
    (cache / "notes.txt").write_text("not an index")
    os.utime(cache / "notes.txt", (0, 0))
    (root / "d.py").write_text(SOURCE)
    built(root, cache)
    assert not old.exists()
    assert [*new.glob("index-*.bin")]
    assert (cache / "notes.txt").exists()


def test_all_workspaces_indexes_have_one_limit(
    tmp_path: Path, root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ones that were used last stay; to read one is to use it."""
    first, second, third = other_workspaces(tmp_path, cache, 3)
    built(tmp_path / "other-0", cache)
    size = max(path.stat().st_size for path in cache.glob("*/index-*.bin"))
    monkeypatch.setattr(index_cache, "LARGEST", int(3.5 * size))
    (root / "d.py").write_text(SOURCE)
    built(root, cache)
    assert [folder.exists() for folder in (first, second, third)] == [True, False, True]
