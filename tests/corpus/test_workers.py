"""Work in other processes: each piece comes back once with what became of it, whatever the process does."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from corpus.__main__ import main
from corpus.workers import AHEAD, RayMissing, WorkerDied, results
from tests.corpus.repositories import module, repository

FATAL = (3, 7)


def _half(piece: int, *, of: int = 2) -> float:
    if piece == 5:
        raise ValueError("five")
    return piece / of


def _dies(piece: int) -> int:
    if piece in FATAL:
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def check_all(found: dict[int, object], failed: dict[int, type[Exception]]) -> None:
    assert {piece: type(result) for piece, result in found.items() if isinstance(result, Exception)} == failed


@pytest.mark.parametrize("jobs", [1, 3])
def test_each_piece_comes_with_what_the_function_returned_or_raised(jobs: int) -> None:
    found = dict(results(partial(_half, of=4), range(8), jobs=jobs))
    check_all(found, {5: ValueError})
    assert [found[piece] for piece in (0, 1, 7)] == [0, 0.25, 1.75]
    assert str(found[5]) == "five"


def test_no_work_gives_nothing() -> None:
    assert list(results(_half, [], jobs=2)) == []


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_death_of_a_process_costs_only_its_own_piece(jobs: int) -> None:
    found = list(results(_dies, range(20), jobs=jobs))
    assert sorted(piece for piece, _ in found) == list(range(20))
    check_all(dict(found), dict.fromkeys(FATAL, WorkerDied))
    assert os.getpid() not in dict(found).values()


def test_work_may_be_endless() -> None:
    taken: list[int] = []

    def endless() -> Iterator[int]:
        for piece in itertools.count(6):
            taken.append(piece)
            yield piece

    with closing(results(_half, endless(), jobs=2)) as found:
        for count, (piece, result) in enumerate(itertools.islice(found, 20)):
            assert result == piece / 2
            assert len(taken) <= count + AHEAD * 2


def test_what_the_work_itself_raises_is_raised() -> None:
    def torn() -> Iterator[int]:
        yield 1
        raise OSError("no list")

    with pytest.raises(OSError, match="no list"):
        list(results(_half, torn(), jobs=1))


def test_mining_loads_no_ray() -> None:
    script = "import sys, corpus.__main__, corpus.mine; print('ray' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "False\n"


def test_without_ray_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RayMissing):
        list(results(_half, [1], jobs=1, ray="local"))
    place = repository(tmp_path / "a.git", {"a.py": module("a")})
    assert main(["mine", str(place), "--out", str(tmp_path / "out"), "--ray", "local"]) == 2
    assert "Ray is not installed. Run: pip install '.[corpus,ray]'" in " ".join(capfd.readouterr().err.split())
