"""Folders that are whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tuning.files import OLD, new_folder, replacing_folder


def test_a_folder_takes_the_place_of_the_old_one_or_leaves_it_as_it_is(tmp_path: Path) -> None:
    place = tmp_path / "model"
    with replacing_folder(place) as fresh:
        (fresh / "one").write_text("1")
        assert not place.exists()
    with pytest.raises(ZeroDivisionError), replacing_folder(place) as fresh:
        (fresh / "two").write_text("2")
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "one"]
    with replacing_folder(place) as fresh:
        (fresh / "two").write_text("2")
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "two"]


def test_a_new_folder_takes_no_others_place(tmp_path: Path) -> None:
    place = tmp_path / "merged"
    with pytest.raises(OSError), new_folder(place) as fresh:
        (fresh / "one").write_text("1")
        place.mkdir()
        (place / "theirs").write_text("2")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["merged", "theirs"]


def test_what_a_killed_process_left_is_removed_when_it_is_old(tmp_path: Path) -> None:
    old, new, other = (tmp_path / name for name in (".model.1", ".model.2", ".models.1"))
    for left in (old, new, other):
        left.mkdir()
    for left in (old, other):
        os.utime(left, (0, new.stat().st_mtime - OLD - 1))
    with replacing_folder(tmp_path / "model"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [".model.2", ".models.1", "model"]
