"""Lists recorded on a real Ray cluster of two nodes: the bytes that recording here gives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from corpus.lists.candidates import answers_file, record
from corpus.lists.on_cluster import record_on_cluster
from tests.corpus.lists.test_candidates import opened, project
from tests.corpus.lists.test_cli_candidates import mined, run, stand_in
from tests.corpus.repositories import contents

pytestmark = pytest.mark.ray
__all__ = ["mined"]


def test_the_command_gives_the_same_bytes_on_a_cluster_as_here(
    mined: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    stand_in(tmp_path, monkeypatch, {"completion": [{"label": "ada0_store", "kind": 6}, {"label": "get_1", "kind": 2}]})
    cluster = request.getfixturevalue("cluster")  # its nodes have the PATH of this moment
    flags = ("--server", "jedi", "--per-repository", "20")
    assert run(mined, *flags, "--ray", cluster.address) == 0
    (tmp_path / "lists").rename(tmp_path / "cluster")
    assert run(mined, *flags) == 0
    for folder in ("", "work"):
        assert contents(tmp_path / "cluster" / folder) == contents(tmp_path / "lists" / folder)
    assert len(list((tmp_path / "lists" / "work").iterdir())) == 2


def test_one_bad_project_costs_itself(tmp_path: Path, cluster: Any) -> None:
    one, two = project(tmp_path), project(tmp_path, "o/two", files=3)
    projects = [one, replace(one, name="o/bad", place=str(tmp_path / "nowhere")), two]
    found, tally = record_on_cluster(projects, tmp_path / "cluster", ray=cluster.address)
    here, other = record(projects, tmp_path / "here")
    assert found == here
    assert len(found) == one.count + two.count
    assert replace(tally, waiting=0, total=0) == replace(other, waiting=0, total=0)
    assert list(tally.failed) == ["o/bad (basedpyright)"]


def test_what_was_answered_is_not_asked_again(tmp_path: Path, cluster: Any) -> None:
    one = project(tmp_path)
    here, _ = record([one], tmp_path / "here")
    first = answers_file(one, tmp_path / "here").read_bytes().splitlines(keepends=True)[0]
    (tmp_path / "cluster").mkdir()
    answers_file(one, tmp_path / "cluster").write_bytes(first)
    (tmp_path / "o-one.log").unlink()
    found, tally = record_on_cluster([one], tmp_path / "cluster", ray=cluster.address)
    assert found == here
    assert tally.positions == one.count
    assert opened(tmp_path) == ["m1.py"]
