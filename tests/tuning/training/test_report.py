"""Metrics, and the picture of them."""

import builtins
import json
from pathlib import Path
from typing import Any

import pytest

from tuning.errors import LibraryMissing
from tuning.training.report import Report, keep_until, plot, read


def write(path: Path) -> Path:
    with Report(path.parent, 3, show=False) as made:
        for step in (1, 2, 3):
            made.step(step, loss=3.0 / step, count=64, lr=1e-3)
        made.evaluation(3, 1.25)
    return path


def test_a_line_a_step(tmp_path: Path) -> None:
    lines = read(write(tmp_path / "metrics.jsonl"))
    assert [(line["step"], line.get("loss"), line.get("evaluation")) for line in lines] == [
        (1, 3.0, None), (2, 1.5, None), (3, 1.0, None), (3, None, 1.25),
    ]  # fmt: skip
    assert lines[0]["tokens"] == 64
    assert lines[0]["tokens_per_second"] > 0


def test_what_came_after_a_checkpoint_is_dropped(tmp_path: Path) -> None:
    path = write(tmp_path / "metrics.jsonl")
    path.write_text(path.read_text() + '{"step": 4, "lo')
    keep_until(path, 2)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2]


def test_without_a_terminal_a_line_each_tenth_and_where_it_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Report(tmp_path, 40, done=20) as made:
        for step in range(21, 31):
            made.step(step, loss=1.0, count=1)
    said = capsys.readouterr().err.splitlines()
    assert said == ["training goes on after step 20 of 40", "training: 24 of 40", "training: 28 of 40"]


def test_the_plot_is_a_png(tmp_path: Path) -> None:
    plot(write(tmp_path / "metrics.jsonl"), tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def missing(name: str, *arguments: Any, **named: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return original(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(LibraryMissing, match=r"matplotlib is not installed. Run: .*\[plots\]"):
        plot(write(tmp_path / "metrics.jsonl"), tmp_path / "loss.png")
