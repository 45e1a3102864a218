"""How a run goes: a progress bar, a line of JSON a step, a plot of the loss."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from corpus.interpreter import missing
from tuning.errors import LibraryMissing
from tuning.files import replacing
from tuning.tenths import tenths

METRICS, PLOT = "metrics.jsonl", "loss.png"


class Figures(ProgressColumn):
    """A task's loss and speed, as far as they are known."""

    def render(self, task: Task) -> Text:
        fields: Mapping[str, Any] = task.fields
        shown = [
            f"{name.format(unit=fields['unit'])} {fields[key]:{form}}"
            for key, name, form in SHOWN
            if fields.get(key) is not None
        ]
        return Text("  ".join(shown))


SHOWN = (("loss", "loss", ".4f"), ("evaluation", "evaluation", ".4f"), ("speed", "{unit}/s", ",.0f"))


class Report:
    """Metrics into OUT/metrics.jsonl, and a bar on standard error, or lines where it is no terminal. With `out` None: no file.

    `unit`: what a loss is the mean of.
    """

    def __init__(self, out: Path | None, total: int, *, done: int = 0, show: bool = True, unit: str = "tokens") -> None:
        self._path = out / METRICS if out else None
        self._file: IO[str] | None = None
        self._done, self._unit = done, unit
        columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), Figures())
        console = Console(stderr=True)
        self._bar = Progress(*columns, console=console, disable=not (show and console.is_terminal), transient=False)
        self._advance = tenths(console, "training", total, done) if show and not console.is_terminal else _quiet
        if show and done:
            console.print(f"training goes on after step {done:,} of {total:,}", highlight=False)
        self._task = self._bar.add_task("training", total=total, completed=done, unit=unit)
        self._began = time.perf_counter()

    def __enter__(self) -> Report:
        if self._path:
            keep_until(self._path, self._done)
            self._file = self._path.open("a", encoding="utf-8")
        self._bar.start()
        self._began = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        if self._file:
            self._file.close()

    def step(self, step: int, *, loss: float, count: int, **figures: float) -> None:
        """One of the optimiser's steps: its mean loss, and of how many it learned."""
        now = time.perf_counter()
        speed = count / max(now - self._began, 1e-9)
        self._began = now
        self._line(
            {"step": step, "loss": loss, self._unit: count, f"{self._unit}_per_second": round(speed, 1), **figures}
        )
        self._bar.update(self._task, completed=step, loss=loss, speed=speed)
        self._advance(1)

    def evaluation(self, step: int, loss: float) -> None:
        self._line({"step": step, "evaluation": loss})
        self._bar.update(self._task, evaluation=loss)
        self._began = time.perf_counter()

    def _line(self, content: Mapping[str, Any]) -> None:
        if self._file:
            self._file.write(json.dumps(content) + "\n")
            self._file.flush()


def _quiet(count: int) -> None:
    """No line."""


def keep_until(path: Path, step: int) -> None:
    """Drop what a killed run wrote after the step that it goes on from, a line cut short included."""
    lines = [line for line in read(path) if line["step"] <= step] if path.is_file() else []
    with replacing(path) as temporary:
        temporary.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file that are whole. Raises OSError."""
    found: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def plot(metrics: Path, picture: Path) -> None:
    """Draw the loss over steps, each step's and its mean, and that of evaluations. Raises LibraryMissing, OSError."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise LibraryMissing("A plot: " + missing("matplotlib", extra="plots")) from error
    lines = read(metrics)
    steps = [(line["step"], line["loss"]) for line in lines if "loss" in line]
    evaluations = [(line["step"], line["evaluation"]) for line in lines if "evaluation" in line]
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    axis.plot(*_columns(steps), color="C0", alpha=0.35, linewidth=1, label="each step")
    axis.plot(*_columns(_smooth(steps)), color="C0", linewidth=1.6, label="mean of late steps")
    if evaluations:
        axis.plot(*_columns(evaluations), color="C1", marker="o", markersize=3, label="evaluation")
    axis.set(xlabel="step", ylabel="loss (nats a token)")
    axis.grid(alpha=0.3)
    axis.legend()
    with replacing(picture) as temporary:
        figure.savefig(temporary, format="png", dpi=120, metadata={"Software": None})


def _columns(points: list[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [step for step, _ in points], [value for _, value in points]


def _smooth(points: list[tuple[int, float]], share: float = 0.1) -> list[tuple[int, float]]:
    """An exponential mean, corrected for its start."""
    found: list[tuple[int, float]] = []
    mean = weight = 0.0
    for step, value in points:
        mean, weight = (1 - share) * mean + share * value, (1 - share) * weight + share
        found.append((step, mean / weight))
    return found
