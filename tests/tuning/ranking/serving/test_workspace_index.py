"""The workspace index: counts, freshness, persistence, and what it must not see."""

import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.syntax.tokens import BlockTokenizer, hash_names, name_ids, tokenize
from tuning.ranking.serving.index.context import FileContext
from tuning.ranking.serving.index.counts import BUCKET, CountTable
from tuning.ranking.serving.index.grams import gram_keys
from tuning.ranking.serving.index.source_files import SourceFile
from tuning.ranking.serving.index.workspace_index import CROWDED, SLOTS_PER_BYTE, IndexScores, WorkspaceIndex

SUFFIXES = [".py"]
SOURCE = "client.connect(host)\nclient.send(data)\nclient.send(more)\n"


def built(root: Path, cache: Path | None = None) -> WorkspaceIndex:
    index = WorkspaceIndex([root], SUFFIXES, cache_dir=cache)
    index.build()
    return index


def score(index: WorkspaceIndex, before: str, *names: str, after: str = "") -> IndexScores:
    return index.score(FileContext.of(before.encode(), after.encode()), hash_names(names))


def words(index: WorkspaceIndex) -> int:
    return int(np.count_nonzero(index._table.words & 0xFFF))  # pyright: ignore[reportPrivateUsage]


def test_a_name_hashes_alike_in_a_file_and_alone() -> None:
    assert list(tokenize("näme + _x1".encode()).hashes[[0, 2]]) == list(hash_names(["näme", "_x1"]))


def test_counts_what_follows_a_receiver(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(SOURCE)
    found = score(built(tmp_path), "z = client.", "send", "connect", "absent")
    assert list(found.receiver_workspace) == [2, 1, 0]
    assert list(found.workspace_uses) == [2, 1, 0]
    assert found.probability[0] > found.probability[1] > found.probability[2] > 0


def test_this_file_counts_before_and_after_the_cursor() -> None:
    found = score(WorkspaceIndex([], SUFFIXES), "x.one\nx.two\nx.", "one", "two", "three", after="\nx.three\nx.three\n")
    assert list(found.receiver_file) == [1, 1, 2]
    assert found.local.last_use[1] < found.local.last_use[0]


def test_open_file_is_left_out_until_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text(SOURCE)
    index = built(tmp_path)
    index.hide(path)
    assert score(index, "client.", "send").workspace_uses[0] == 0
    assert words(index) == 0
    path.write_text(SOURCE + "client.send(x)\n")
    index.show(path)
    assert score(index, "client.", "send").workspace_uses[0] == 3


def test_open_before_it_was_indexed(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(SOURCE)
    index = WorkspaceIndex([tmp_path], SUFFIXES)
    index.hide(tmp_path / "a.py")
    index.build()
    assert words(index) == 0


def test_changed_created_and_deleted_files(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    index = built(tmp_path)
    for text, expected in ((SOURCE, 2), ("client.send(1)\n", 1)):
        path.write_text(text)
        index.refresh(path)
        assert score(index, "client.", "send").workspace_uses[0] == expected
    path.unlink()
    index.refresh(path)
    assert words(index) == 0


def test_what_was_in_a_deleted_folder_is_forgotten(tmp_path: Path) -> None:
    for name in ("gone/a.py", "gone/deep/b.py", "gone.d/c.py", "again/d.py", "again/e.py", "x.py/f.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(SOURCE)
    index = built(tmp_path)
    for name in ("gone", "again", "x.py"):
        shutil.rmtree(tmp_path / name)
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "e.py").write_text("client.send(1)\n")
    index.refresh(*(tmp_path / name for name in ("gone", "again", "x.py")))
    assert index.files == 2  # gone.d/c.py, again/e.py
    assert score(index, "client.", "send").workspace_uses[0] == 3


@pytest.mark.parametrize(("max_bytes", "most"), [(80_000_000, 2.0), (300_000, 1.0)])
def test_a_table_grows_with_the_files(tmp_path: Path, max_bytes: int, most: float) -> None:
    """A folder that was empty when it was opened: a repository is cloned into it. `most`: slots for each that is needed."""
    index = WorkspaceIndex([tmp_path], SUFFIXES, max_bytes=max_bytes)
    index.build()
    for number, source in enumerate((Path(__file__).parents[4] / "lsp_server").rglob("*.py")):
        path = tmp_path / f"{number}.py"
        path.write_bytes(source.read_bytes())
        index.refresh(path)
    needed = SLOTS_PER_BYTE * (index.bytes if most > 1 else max_bytes)
    assert needed / CROWDED <= index._table.slots <= most * needed  # pyright: ignore[reportPrivateUsage]
    kept = words(index)
    index._table = CountTable(index._table.slots)  # pyright: ignore[reportPrivateUsage]
    index._table.add(gram_keys([file.ids for file in index._files.values()]))  # pyright: ignore[reportPrivateUsage]
    assert kept == pytest.approx(words(index), rel=0.05) and kept > 50_000


def test_ignored_binary_and_linked_files_do_not_count(tmp_path: Path) -> None:
    for name, text in (
        ("kept.py", "a.b\n"), ("out/x.py", "a.b\n"), ("out/keep.py", "a.b\n"), ("node_modules/x.py", "a.b\n"),
        ("sub/skip.py", "a.b\n"), ("sub/.gitignore", "skip.py\n"), (".gitignore", "out/*\n!out/keep.py\n"),
        ("binary.py", "\0a.b\n"), ("minified.py", "a.b;" * 2000), ("env/pyvenv.cfg", ""), ("env/x.py", "a.b\n"),
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert score(built(tmp_path), "a.", "b").workspace_uses[0] == 2


def test_kept_index_reads_no_file_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, cache = tmp_path / "root", tmp_path / "cache"
    root.mkdir()
    (root / "a.py").write_text(SOURCE)
    built(root, cache)
    assert (next(cache.iterdir()).stat().st_mode & 0o777) == 0o700
    with monkeypatch.context() as patch:
        patch.setattr(WorkspaceIndex, "_add", lambda *_: pytest.fail("read a file again"))
        again = built(root, cache)
    assert score(again, "client.", "send").workspace_uses[0] == 2
    (root / "b.py").write_text(SOURCE)
    assert score(built(root, cache), "client.", "send").workspace_uses[0] == 4


def test_a_file_that_is_read_twice_counts_once(tmp_path: Path) -> None:
    """It was changed while the index was being built: both the build and the event about it read it."""
    path = tmp_path / "a.py"
    path.write_text(SOURCE)
    index = WorkspaceIndex([tmp_path], SUFFIXES)
    index.refresh(path)
    index.build()
    index._add([SourceFile(str(path), len(SOURCE), 0)])  # pyright: ignore[reportPrivateUsage]
    assert score(index, "client.", "send").workspace_uses[0] == 2
    assert index.bytes == len(SOURCE)
    path.unlink()
    index.refresh(path)
    assert (words(index), index.bytes) == (0, 0)


def test_events_about_ignored_files_do_not_bring_them_in(tmp_path: Path) -> None:
    index = built(tmp_path)
    (tmp_path / ".gitignore").write_text("out/\n")
    for name in ("node_modules/x/a.py", "out/a.py", "in/a.py"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(SOURCE)
        index.refresh(tmp_path / name)
    assert index.files == 1


def test_files_that_are_made_later_have_a_bound(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(SOURCE)
    index = WorkspaceIndex([tmp_path], SUFFIXES, max_bytes=2 * len(SOURCE))
    index.build()
    paths = [tmp_path / f"new{number}.py" for number in range(3)]
    for path in paths:
        path.write_text(SOURCE)
        index.refresh(path)
    assert index.files == 2
    (tmp_path / "a.py").write_text("client.send(x)\n" * 2)
    index.refresh(tmp_path / "a.py")  # one that is known goes on being read
    assert score(index, "client.", "send").workspace_uses[0] == 4


def test_files_without_text_are_read_in_batches_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuning.ranking.serving.index.workspace_index.BATCH_FILES", 10)
    for number in range(25):
        (tmp_path / f"{number}.py").write_text("")
    index = WorkspaceIndex([tmp_path], SUFFIXES)
    batches: list[int] = []
    index.build(progress=lambda done, total: batches.append(index.files))
    assert batches == [10, 20, 25]


def test_a_build_that_is_stopped_is_not_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = threading.Event()
    read: list[object] = []

    def once(path: object, most: int) -> bytes:
        stop.set()
        read.append(path)
        return b""

    monkeypatch.setattr("tuning.ranking.serving.index.workspace_index.read_regular", once)
    for number in range(5):
        (tmp_path / f"{number}.py").write_text("")
    index = WorkspaceIndex([tmp_path], SUFFIXES)
    index.build(stop=stop)
    assert (len(read), index.ready) == (1, False)


def test_cache_that_cannot_be_written_costs_only_itself(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(SOURCE)
    (tmp_path / "blocked").write_text("")
    assert built(tmp_path, tmp_path / "blocked" / os.devnull.strip("/")).ready


@given(st.lists(st.integers(0, 2**64 - 1), max_size=80))
def test_added_then_removed_is_empty(keys: list[int]) -> None:
    table = CountTable(1 << 10)
    array = np.array(keys * 3, np.uint64)
    table.add(array)
    assert all(table.count(array) >= 3) or len({*keys}) > BUCKET
    table.add(array, sign=-1)
    assert not np.count_nonzero(table.words & np.uint32(0xFFF))


def test_counts_beyond_a_slots_limit_are_exact() -> None:
    table = CountTable(64)
    keys = np.full(10_000, 77, np.uint64)
    table.add(keys)
    assert table.count(keys[:1])[0] == 10_000
    table.add(keys[:9_999], sign=-1)
    assert table.count(keys[:1])[0] == 1


@given(st.lists(st.lists(st.sampled_from(["a.b\n", "\n", "\r\n", "    x = 1\n", "word", " "])), min_size=1, max_size=5))
def test_blocks_are_cut_as_the_whole_is(texts: list[list[str]]) -> None:
    tokenizer = BlockTokenizer()
    data = b""
    for pieces in texts:
        data += "".join(pieces).encode()
        whole, blocks = tokenize(data), tokenizer(data)
        assert whole.hashes.tolist() == blocks.hashes.tolist()
        assert whole.names.tolist() == blocks.names.tolist()


def test_what_follows_the_last_use_of_a_receiver() -> None:
    before = "f.open()\nf.read()\ng.x()\nf.open()\nf.write()\nf.open()\nf."
    local = FileContext.of(before.encode(), b"\nf.open()\nf.read()\n").counts(
        name_ids(hash_names(["read", "write", "open", "no"]))
    )
    assert list(local.following) == [2, 1, 0, 0]


def test_nearer_uses_count_more() -> None:
    local = FileContext.of(b"f.far\n" + b"x = 1\n" * 100 + b"f.near\nf.", b"").counts(
        name_ids(hash_names(["far", "near"]))
    )
    assert (local.decayed[:3, 1] > local.decayed[:3, 0]).all()
