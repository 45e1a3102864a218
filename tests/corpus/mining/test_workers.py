"""Work in other processes: each piece comes back once with what became of it, whatever the process does."""

from __future__ import annotations

import ctypes
import itertools
import os
import pickle
import re
import select
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from corpus.__main__ import main
from corpus.interpreter import install_command
from corpus.mining.processes import portable
from corpus.mining.workers import AHEAD, RayMissing, TimedOut, WorkerDied, _call, results  # pyright: ignore[reportPrivateUsage]
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


def _hangs(piece: int) -> int:
    """On some pieces, in a search that lets no other thread of its process run."""
    if piece in FATAL:
        re.match(r"(a+)+$", "a" * 64 + "!")
    return os.getpid()


def _odd(piece: int) -> int:
    if piece == 1:
        raise BaseException("panic")
    if piece == 2:
        raise Unpicklable("one", "two")
    if piece == 3:
        return lambda: 3  # pyright: ignore[reportReturnType]
    return piece


class Unpicklable(Exception):
    def __init__(self, one: str, two: str) -> None:
        super().__init__(one + two)


def _holds(fifo: str, *, alone: bool) -> None:
    """Keep a FIFO open until this process ends; with `alone` the kernel does not end it with its parent, else only the
    kernel can."""
    if alone:
        ctypes.CDLL(None).prctl(1, 0)
    with open(fifo, "wb", buffering=0) as held:  # noqa: PTH123
        held.write(struct.pack("<q", os.getpid()))
        if alone:
            signal.pause()
        re.match(r"(a+)+$", "a" * 64 + "!")


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


def test_a_piece_that_hangs_costs_only_itself() -> None:
    found = list(results(_hangs, range(10), jobs=2, seconds=1.5))
    assert sorted(piece for piece, _ in found) == list(range(10))
    check_all(dict(found), dict.fromkeys(FATAL, TimedOut))
    assert "took longer than 2 s" in str(dict(found)[FATAL[0]])


def test_whatever_a_piece_raises_or_returns_comes_back() -> None:
    found = dict(results(_odd, range(5), jobs=1))
    assert (found[0], found[4]) == (0, 4)
    assert [str(found[piece]) for piece in (1, 2)] == ["BaseException: panic", "Unpicklable: onetwo"]
    assert isinstance(found[3], Exception)
    assert str(portable(KeyError("x"))) == "'x'"


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of no other system does so")
@pytest.mark.parametrize("alone", [False, True])
def test_processes_end_with_the_one_that_started_them_even_where_it_is_killed(tmp_path: Path, alone: bool) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    script = (
        "from functools import partial; from corpus.mining.workers import results; from tests.corpus.mining import test_workers as t\n"
        f"if __name__ == '__main__': list(results(partial(t._holds, alone={alone}), [{str(fifo)!r}], jobs=1))"
    )
    driver = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[3])
    with fifo.open("rb", buffering=0) as held:
        (worker,) = struct.unpack("<q", held.read(8))
        driver.kill()
        driver.wait()
        ended = select.select([held], [], [], 60)[0] and held.read(1) == b""  # nobody holds it any more
        if not ended:
            os.kill(worker, signal.SIGKILL)
        assert ended


def test_on_a_cluster_the_task_itself_keeps_the_limit() -> None:
    before = signal.getsignal(signal.SIGALRM)
    slow = _call(_waits, 1, 0.1)
    assert isinstance(slow, TimedOut) and "allow it more with --seconds" in str(slow)
    assert (_call(_half, 4, 60), signal.getsignal(signal.SIGALRM)) == (2, before)
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    assert str(_call(_odd, 1, 60)) == "BaseException: panic"
    assert str(pickle.loads(pickle.dumps(slow))) == str(slow)


def _waits(_: int) -> None:
    try:
        while True:
            signal.pause()
    except Exception:  # as code does that goes on after whatever error
        signal.pause()


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
    script = "import sys, corpus.__main__, corpus.mining.mine; print('ray' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "False\n"


def test_without_ray_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RayMissing):
        list(results(_half, [1], jobs=1, ray="local"))
    place = repository(tmp_path / "a.git", {"a.py": module("a")})
    assert main(["mine", str(place), "--out", str(tmp_path / "out"), "--ray", "local"]) == 2
    said = " ".join(capfd.readouterr().err.split())
    assert f"Ray is not installed. Run: {install_command('corpus,ray')}" in said
