"""RankBench's figures drawn: R@1 and R@5 by class, and how often first items of a given p are right. Needs matplotlib."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from corpus.lists.positions import CLASSES
from tuning.ranking.evaluating.metrics import summary
from tuning.ranking.evaluating.ranker_variants import WITHOUT

if TYPE_CHECKING:
    from tuning.ranking.evaluating.ranker_scores import Scores

BINS = 10
UNTIMED = "Starling, model, no deadline"
BUDGET = re.compile(r"Starling, model, (\d+(?:\.\d+)?) ms")


def draw(found: Mapping[str, Scores], folder: Path) -> list[Path]:
    """Write `by-class.svg` and, where a ranker gave probabilities, `calibration.svg`; returns what was written."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "starling", "font.size": 9})
    folder.mkdir(parents=True, exist_ok=True)
    written = [_by_class(found, folder / "by-class.svg")]
    if any(scores.firsts for scores in found.values()):
        written.append(_calibration(found, folder / "calibration.svg"))
    if any(BUDGET.fullmatch(name) for scores in found.values() for name in scores.ranks):
        written.append(_by_budget(found, folder / "by-time.svg"))
    return written


def _by_budget(found: Mapping[str, Scores], path: Path) -> Path:
    """R@1 against what the model may take, from none (signals) to no deadline."""
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for number, (language, scores) in enumerate(found.items()):
        timed = {float(match[1]): name for name in scores.ranks if (match := BUDGET.fullmatch(name))}
        points = [(0.0, "Starling, signals"), *sorted(timed.items())]
        figures = [summary(scores.ranks[name]["all"])["R@1"] for _, name in points]
        milliseconds = [budget for budget, _ in points]
        axis.plot(milliseconds, [value for value, _, _ in figures], color=f"C{number}", marker="o", label=language)
        lows, highs = [low for _, low, _ in figures], [high for _, _, high in figures]
        axis.fill_between(milliseconds, lows, highs, color=f"C{number}", alpha=0.1)
        if UNTIMED in scores.ranks:
            without = summary(scores.ranks[UNTIMED]["all"])["R@1"][0]
            axis.axhline(without, color=f"C{number}", linewidth=0.8, linestyle=":")
    axis.set_xlabel("milliseconds that the model has, its prompt read before (dotted: no deadline)")
    axis.set_ylabel("R@1")
    axis.legend()
    axis.grid(alpha=0.3)
    return _saved(figure, path)


def _by_class(found: Mapping[str, Scores], path: Path) -> Path:
    from matplotlib import pyplot

    rankers = list(
        dict.fromkeys(
            name
            for scores in found.values()
            for name in scores.ranks
            if ", in VS Code" not in name and WITHOUT not in name and not BUDGET.fullmatch(name)
        )
    )
    figure, axes = pyplot.subplots(len(found), 1, figsize=(11, 2.6 * len(found)), squeeze=False, layout="constrained")
    for axis, (language, scores) in zip(axes[:, 0], found.items(), strict=True):
        classes = [name for name in CLASSES if any(name in slices for slices in scores.ranks.values())]
        width = 0.85 / len(rankers)
        for number, ranker in enumerate(rankers):
            figures = [summary(scores.ranks[ranker][name]) if scores.ranks[ranker][name] else None for name in classes]
            places = np.arange(len(classes)) + number * width
            at5 = [f["R@5"][0] if f else 0 for f in figures]
            at1 = [f["R@1"][0] if f else 0 for f in figures]
            axis.bar(places, at5, width * 0.95, alpha=0.35, color=f"C{number}")
            axis.bar(places, at1, width * 0.95, color=f"C{number}", label=ranker)
        counts = [max(len(slices[name]) for slices in scores.ranks.values()) for name in classes]
        labels = [f"{name}\nn = {count}" for name, count in zip(classes, counts, strict=True)]
        axis.set_xticks(np.arange(len(classes)) + 0.4, labels)
        axis.set_ylim(0, 1)
        axis.set_ylabel(language)
        axis.grid(axis="y", alpha=0.3)
    axes[0, 0].set_title("R@1 (full) and R@5 (light) by what was completed")
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4)
    return _saved(figure, path)


def _calibration(found: Mapping[str, Scores], path: Path) -> Path:
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(5, 5), layout="constrained")
    axis.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle="--")
    for language, scores in found.items():
        for ranker, firsts in scores.firsts.items():
            if WITHOUT in ranker or BUDGET.fullmatch(ranker):
                continue
            p, right = _binned(firsts)
            axis.plot(p, right, marker="o", markersize=3, label=f"{language}: {ranker}")
    axis.set_xlabel("p of the first item")
    axis.set_ylabel("how often it was right")
    axis.legend(fontsize=7)
    axis.grid(alpha=0.3)
    return _saved(figure, path)


def _binned(firsts: Sequence[tuple[float, bool]]) -> tuple[list[float], list[float]]:
    """Mean p and share right of tenths of the positions, by rising p."""
    ordered = sorted(firsts)
    parts = [part for part in np.array_split(np.array(ordered, np.float64), BINS) if len(part)]
    return [float(part[:, 0].mean()) for part in parts], [float(part[:, 1].mean()) for part in parts]


def _saved(figure: Any, path: Path) -> Path:
    from matplotlib import pyplot

    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return path
