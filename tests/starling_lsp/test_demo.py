"""What `make demo` prints is what the README shows, but for times and a few hundredths of a probability."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIKELY = re.compile(r"(\d+) % likely")
SURE = 3  # rows: those below are next to equal, and another processor may turn them round


@pytest.mark.demo
def test_the_readme_shows_what_the_demo_prints() -> None:
    done = subprocess.run(["make", "--silent", "demo"], cwd=ROOT, capture_output=True, text=True, check=True)
    shown = re.search(r"`make demo` ends with this:\n\n```\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S)
    assert shown is not None
    printed = done.stdout[done.stdout.index("shop.py:") :]
    assert _without_figures(shown[1]) == _without_figures(printed)
    for one, other in zip(LIKELY.findall(shown[1]), LIKELY.findall(printed), strict=True):
        assert abs(int(one) - int(other)) <= 5


def _without_figures(text: str) -> list[str]:
    lines = [LIKELY.sub("P % likely", re.sub(r"[\d.]+ ms", "N ms", line)).rstrip() for line in text.splitlines()]
    return [line for line in lines if not (row := re.match(r"│ +(\d+) │", line)) or int(row[1]) <= SURE]
