"""How much a training run does in the minutes that it has."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tuning.ranking.learning.train_plan import FEWEST, NoTimeLeft, steps, too_few

WINDOWS: Any = [SimpleNamespace(sites=[0] * 5)] * 1000


def planned(out: Path, *, seconds: float, left: float) -> int:
    given = argparse.Namespace(times=2.0, minutes=4)
    return steps(given, lambda: seconds, 1, WINDOWS, out, time.monotonic() + left)[0]


def test_a_run_ends_in_its_minutes_and_a_run_that_goes_on_keeps_its_plan(tmp_path: Path) -> None:
    assert FEWEST <= planned(tmp_path / "a", seconds=1, left=100) <= 100
    assert planned(tmp_path / "a", seconds=1, left=5) == planned(tmp_path / "a", seconds=1, left=100)
    assert planned(tmp_path / "b", seconds=0.001, left=100) == 2000


def test_too_little_time_is_said_with_what_is_enough(tmp_path: Path) -> None:
    with pytest.raises(NoTimeLeft, match=r"\d+ s of --minutes 4 are left for it\. .* --minutes 5\."):
        planned(tmp_path / "c", seconds=12, left=70)


def test_too_few_lists_are_said_with_how_many_are_needed() -> None:
    assert too_few(50, 20) == ""
    assert "55 to learn from (50 are needed), 12 to judge on (20 are needed)" in too_few(55, 12)
    assert "49 to learn from (50 are needed)" in too_few(49, 400)
