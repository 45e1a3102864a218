"""Lists recorded over projects: every position has its row, a run that was cut off goes on, one bad project costs itself."""

from __future__ import annotations

import errno
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from corpus.lists import candidates
from corpus.lists.candidates import Asked, Project, kept, record
from corpus.lists.list_files import Recorded
from corpus.lists.positions import positions
from corpus.mining.sites import Site
from corpus.mining.sources import Snapshot, snapshot
from tests.corpus.repositories import repository

FAKE = Path(__file__).parents[2] / "fakes" / "fake_server.py"
SOURCE = b"import os\n\nhere = os.getcwd()\nthere = os.pathsep\n"
ITEMS = [
    {"label": "sep", "sortText": "3", "kind": 6},
    {"label": "getcwd()", "sortText": "1", "kind": 3, "detail": "() -> str", "tags": [1]},
    {"label": "pathsep", "sortText": "2", "kind": 6, "additionalTextEdits": [{}]},
]


def project(tmp_path: Path, name: str = "o/one", files: int = 2, **spec: Any) -> Project:
    """A repository with `files` files alike, each with two members, and a fake server over it."""
    at = name.replace("/", "-")
    (tmp_path / f"{at}.json").write_text(json.dumps({"completion": ITEMS, "log": str(tmp_path / f"{at}.log"), **spec}))
    paths = [f"src/m{number}.py" for number in range(files)]
    place = repository(tmp_path / f"{at}.git", dict.fromkeys(paths, SOURCE))
    starts = [SOURCE.index(word) for word in (b"getcwd", b"pathsep")]
    sites = [Site(start=start, end=start + size, kind="member") for start, size in zip(starts, (6, 7), strict=True)]
    asked = [
        Asked(path=path, language="python", data=SOURCE, positions=positions(path, SOURCE, sites)) for path in paths
    ]
    command = (sys.executable, str(FAKE), str(tmp_path / f"{at}.json"))
    return Project(name=name, revision="r1", place=str(place), server="basedpyright", files=asked, command=command)


def starts(tmp_path: Path, name: str = "o-one") -> int:
    log = tmp_path / f"{name}.log"
    return log.read_text().count('"initialize"') if log.is_file() else 0


def opened(tmp_path: Path, name: str = "o-one") -> list[str]:
    messages = [json.loads(line) for line in (tmp_path / f"{name}.log").read_text().splitlines()]
    return [
        m["params"]["textDocument"]["uri"].rpartition("/")[2]
        for m in messages
        if m.get("method") == "textDocument/didOpen"
    ]


def test_a_row_for_every_position_with_what_ranking_sees(tmp_path: Path) -> None:
    rows, tally = record([project(tmp_path)], tmp_path / "work")
    assert [(row.path, row.truth, row.offered, row.has_truth) for row in rows] == [
        ("src/m0.py", "getcwd", 3, True),
        ("src/m0.py", "pathsep", 3, True),
        ("src/m1.py", "getcwd", 3, True),
        ("src/m1.py", "pathsep", 3, True),
    ]
    first = rows[0]
    assert (first.names, first.kinds, first.flags) == (["getcwd", "pathsep", "sep"], [3, 6, 6], [1, 2, 0])
    assert first.details == ["() -> str", "", ""]
    assert (tally.projects, tally.positions, tally.with_truth, tally.failed) == (1, 4, 4, {})
    assert tally.total >= tally.waiting > 0


def test_what_does_not_fit_the_letters_is_left_out(tmp_path: Path) -> None:
    one = project(tmp_path, files=1)
    typed = [replace(position, offset=position.start + 2) for position in one.files[0].positions]
    rows, _ = record([replace(one, files=[replace(one.files[0], positions=typed)])], tmp_path / "work")
    assert [row.names for row in rows] == [["getcwd"], ["pathsep"]]
    assert [row.named for row in rows] == ["member, 2 letters"] * 2


def test_a_list_without_the_truth_is_a_row_without_names(tmp_path: Path) -> None:
    rows, _ = record([project(tmp_path, completion=ITEMS[:1])], tmp_path / "work")
    assert {(row.offered, tuple(row.names), row.has_truth) for row in rows} == {(1, (), False)}


def test_a_run_that_was_cut_off_goes_on_with_its_next_file(tmp_path: Path) -> None:
    one, work = project(tmp_path, files=3), tmp_path / "work"
    whole, _ = record([one], work)
    file = work / f"{one.key}.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + lines[1][:40])  # killed while it wrote the second file's answers
    (tmp_path / "o-one.log").unlink()
    again, tally = record([one], work)
    assert again == whole
    assert opened(tmp_path) == ["m1.py", "m2.py"]
    assert tally.positions == 6


def test_what_is_answered_is_not_asked_again(tmp_path: Path) -> None:
    one = project(tmp_path)
    first, _ = record([one], tmp_path / "work")
    (tmp_path / "o-one.log").unlink()
    assert record([one], tmp_path / "work")[0] == first
    assert starts(tmp_path) == 0


def test_one_bad_project_costs_itself(tmp_path: Path) -> None:
    good, gone, dead = project(tmp_path), project(tmp_path, "o/gone"), project(tmp_path, "o/dead")
    gone = replace(gone, place=str(tmp_path / "nowhere"))
    dead = replace(dead, command=("no-such-server",))
    rows, tally = record([gone, dead, good], tmp_path / "work", jobs=2)
    assert {row.repository for row in rows} == {"o/one"}
    assert sorted(tally.failed) == ["o/dead (basedpyright)", "o/gone (basedpyright)"]
    assert "no-such-server" in tally.failed["o/dead (basedpyright)"]


def test_an_error_that_nobody_foresaw_is_its_project_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good, odd = project(tmp_path), replace(project(tmp_path, "o/odd"), place="od\udce9")

    def opened(place: str, *, name: str) -> Snapshot:
        if name == "o/odd":
            raise RecursionError("deep")
        return snapshot(place, name=name)

    monkeypatch.setattr(candidates, "snapshot", opened)
    rows, tally = record([odd, good], tmp_path / "work")
    assert {row.repository for row in rows} == {"o/one"}
    assert (
        "RecursionError: deep" in tally.failed["o/odd (basedpyright)"] and tally.failed["o/odd (basedpyright)"].encode()
    )


def test_several_servers_at_once_give_the_same_rows(tmp_path: Path) -> None:
    projects = [project(tmp_path, f"o/p{number}") for number in range(4)]
    one, _ = record(projects, tmp_path / "one", jobs=1)
    several, _ = record(projects, tmp_path / "several", jobs=3)
    assert several == one


def test_progress_hears_every_file(tmp_path: Path) -> None:
    seen: list[tuple[str, int]] = []
    record([project(tmp_path)], tmp_path / "work", done=lambda name, count: seen.append((name, count)))
    assert seen == [("o/one/src/m0.py", 2), ("o/one/src/m1.py", 2)]


def test_other_positions_are_another_project(tmp_path: Path) -> None:
    one = project(tmp_path)
    fewer = replace(one, files=one.files[:1])
    assert one.key != fewer.key != replace(one, server="ty").key


def test_nothing_of_the_sources_is_kept(tmp_path: Path) -> None:
    one = project(tmp_path)
    record([one], tmp_path / "work")
    (_, rows), *_ = kept(tmp_path / "work" / f"{one.key}.jsonl")
    assert all(isinstance(row, Recorded) for row in rows)
    assert b"there" not in (tmp_path / "work" / f"{one.key}.jsonl").read_bytes()


def test_a_folder_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.write_text("a file where the folder should be")
    with pytest.raises(OSError, match="work"):
        record([project(tmp_path)], work)


@pytest.mark.parametrize("writes", ["unfold", "_keep"])
def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: str) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(candidates, writes, full)
    with pytest.raises(OSError, match="No space left"):
        record([project(tmp_path, f"o/p{number}") for number in range(3)], tmp_path / "work", jobs=2)
