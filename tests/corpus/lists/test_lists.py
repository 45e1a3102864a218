"""Recorded lists on disk: what is written comes back, whole or not at all, and never any source."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.lists import list_files as lists
from corpus.lists.list_files import Recorded, listed, read_lists, schema, write_lists
from corpus.lists.positions import Position
from corpus.mining.shards import CorpusError
from corpus.syntax.candidate import Candidate, candidates

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
CANDIDATES = st.lists(st.tuples(TEXT, st.integers(0, 25), TEXT, st.booleans(), st.booleans()), max_size=5).flatmap(
    lambda items: st.permutations(range(len(items))).map(
        lambda places: [candidate(*item, place=place) for item, place in zip(items, places, strict=True)]
    )
)


def candidate(
    name: str, kind: int = 0, detail: str = "", deprecated: bool = False, elsewhere: bool = False, *, place: int = 0
) -> Candidate:
    return Candidate(
        label=name, name=name, kind=kind, place=place, detail=detail, deprecated=deprecated, edits_elsewhere=elsewhere
    )


def row(*found: Candidate, truth: str = "b", **given: object) -> Recorded:
    values = {
        "repository": "o/n", "revision": "r1", "path": "src/ä.py", "language": "python", "sha256": "00", "form": "line",
        "kind": "member", "start": 4, "end": 9, "offset": 5, "tail": 12, "truth": truth, "server": "ty",
        "offered": len(found), **listed(found), **given,
    }  # fmt: skip
    return Recorded(**values)  # pyright: ignore[reportArgumentType]


def check_kept(folder: Path, rows: list[Recorded]) -> None:
    """What is written is what is read, value for value: a list may come back where a tuple was."""
    assert write_lists(folder / "lists.parquet", rows) == len(rows)
    assert list(map(_plain, read_lists(folder / "lists.parquet"))) == list(map(_plain, rows))


def _plain(row: Recorded) -> object:
    return msgspec.json.decode(msgspec.json.encode(row))


@given(st.lists(CANDIDATES, max_size=5))
def test_what_is_written_comes_back(tmp_path_factory: pytest.TempPathFactory, found: list[list[Candidate]]) -> None:
    check_kept(tmp_path_factory.mktemp("lists"), [row(*candidates) for candidates in found])


def test_a_row_without_a_list_comes_back(tmp_path: Path) -> None:
    check_kept(tmp_path, [row(), row(offered=-1), row(offered=7, written="c1"), row(server="", form="written")])
    assert [found.has_truth for found in read_lists(tmp_path / "lists.parquet")] == [False] * 4
    assert all(found.candidates() == [] for found in read_lists(tmp_path / "lists.parquet"))


def test_no_rows_are_a_file_too(tmp_path: Path) -> None:
    check_kept(tmp_path, [])


@pytest.mark.parametrize("count", [1, 3, 4, 6, 7])
def test_many_rows_are_several_groups_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(lists, "ROWS", 3)
    check_kept(tmp_path, [row(candidate("b"), start=number) for number in range(count)])
    file = pq.ParquetFile(tmp_path / "lists.parquet")
    groups = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
    assert [size for size in groups if size] == [3] * (count // 3) + ([count % 3] if count % 3 else [])


def test_candidates_come_in_the_servers_order_with_what_it_said(tmp_path: Path) -> None:
    found = [
        candidate("c", 2, "() -> int", True, True, place=2),
        candidate("a", 3, "", True, False, place=0),
        candidate("b", 25, "", False, True, place=1),
        candidate("d", 0, "int", False, False, place=3),
    ]
    check_kept(tmp_path, [row(*found)])
    (back,) = read_lists(tmp_path / "lists.parquet")
    assert back.candidates() == sorted(found, key=lambda item: item.place)
    assert (back.names, back.flags, back.has_truth) == (["a", "b", "c", "d"], [1, 2, 3, 0], True)


def test_details_that_say_nothing_take_no_room(tmp_path: Path) -> None:
    found = [candidate("a", place=0), candidate("b", place=1)]
    assert listed(found)["details"] == []
    assert row(*found).candidates() == found


def test_a_row_knows_its_position_and_class() -> None:
    assert row().named == "member, 1 letter"
    assert row().position == Position(path="src/ä.py", start=4, end=9, offset=5, tail=12, kind="member", form="line")


def test_no_column_could_hold_source() -> None:
    assert schema().names == [
        "repository", "revision", "written", "path", "language", "sha256", "form", "kind", "start", "end", "offset",
        "tail", "truth", "server", "offered", "names", "kinds", "details", "flags",
    ]  # fmt: skip
    assert set(schema().names) == set(Recorded.__struct_fields__)


def test_a_writer_that_fails_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "ROWS", 2)

    def rows() -> Iterator[Recorded]:
        yield from [row()] * 5
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_lists(tmp_path / "lists.parquet", rows())
    assert list(tmp_path.iterdir()) == []


def test_a_writer_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    check_kept(tmp_path, [row(candidate("b"))])
    before = (tmp_path / "lists.parquet").read_bytes()
    with pytest.raises((ValueError, OverflowError)):
        write_lists(tmp_path / "lists.parquet", [row(start=1 << 40)])
    assert [path.name for path in tmp_path.iterdir()] == ["lists.parquet"]
    assert (tmp_path / "lists.parquet").read_bytes() == before


@pytest.mark.parametrize(
    "item",
    [
        b'{"label": "b", "kind": 1000}',  # none that LSP knows: kinds are from 1 to 25
        b'{"label": "b", "kind": -1000}',
        b'{"label": "b", "detail": "cut in half: \\ud83d"}',
        b'{"label": "b", "kind": 99999999999999999999}',
    ],
)
def test_an_odd_item_of_a_server_costs_no_list(tmp_path: Path, item: bytes) -> None:
    found = row(*candidates(b"[" + item + b"]"))
    assert msgspec.json.encode(found)  # as it is kept while a run goes on
    assert write_lists(tmp_path / "lists.parquet", [found]) == 1
    assert [back.has_truth for back in read_lists(tmp_path / "lists.parquet")] == [True]


def test_a_file_of_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "SCHEMA_VERSION", 2)
    check_kept(tmp_path, [row(candidate("b"))])
    monkeypatch.setattr(lists, "SCHEMA_VERSION", 1)
    with pytest.raises(CorpusError, match="version 2"):
        list(read_lists(tmp_path / "lists.parquet"))
