"""RankBench's figures as a page of Markdown, docs/results.md, so that a page never says what no run has shown."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from corpus.lists.positions import CLASSES, FORMS
from tuning.files import replacing
from tuning.ranking.evaluating.calibration import calibration_error, error_by_chance
from tuning.ranking.evaluating.metrics import gained, signed, summary
from tuning.ranking.evaluating.ranker_variants import WITHOUT

if TYPE_CHECKING:
    from tuning.ranking.evaluating.ranker_scores import Scores

OVERALL = "all"
IN_EDITOR = ", in VS Code"
PICTURES = "Pictures"
HEAD = """# Results on RankBench

`python -P -m tuning.ranking evaluate --page` writes this page. [RankBench](rankbench.md) says what is measured, and how;
[words](README.md#words) explains R@1, MRR and the other terms. Nothing was trained or fitted on RankBench's repositories, and
nothing was chosen by these figures. They count the positions whose list has the name that was written. The model has no
deadline here. In brackets: the 95 % interval, from 1,000 resamples.
"""


def write_page(found: Mapping[str, Scores], path: Path, plots: Path | None) -> None:
    """Write the page, whole or not at all; with the pictures of a folder, if there are any.

    What a page that is there says of other languages stays, as do its pictures where no folder is given.
    """
    sections = _sections(path)
    pictures = sections.pop(PICTURES, "")
    if plots is not None:
        links = (f"![{one.stem}]({os.path.relpath(one, path.parent)})" for one in sorted(plots.glob("*.svg")))
        pictures = "\n\n".join(links)
    sections |= {language: _section(scores) for language, scores in found.items()}
    sections |= {PICTURES: pictures} if pictures else {}
    parts = [HEAD.strip(), *(f"## {title}\n\n{text}" for title, text in sections.items())]
    with replacing(path) as temporary:
        temporary.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _sections(path: Path) -> dict[str, str]:
    """The page's sections by their titles; none where there is no page."""
    _, *found = path.read_text("utf-8").split("\n## ") if path.is_file() else [""]
    return {title: text.strip() for title, _, text in (section.partition("\n") for section in found)}


def _section(scores: Scores) -> str:
    """One language's section, without its title."""
    parts = [_facts(scores), _rankers(scores), _by_class(scores)]
    if any(WITHOUT in name for name in scores.ranks):
        parts += ["How much each part adds: R@1 without it, with the other weights fitted again.", _ablations(scores)]
    if scores.firsts:
        parts.append(_calibration(scores))
    return "\n\n".join(parts)


def _facts(scores: Scores) -> str:
    share = scores.positions / max(1, scores.asked)
    candidates = int(np.median(scores.candidates or [0]))
    return (
        f"{scores.positions:,} positions of {scores.repositories} repositories ({share:.0%} of {scores.asked:,} lists have the truth), "
        f"{candidates} candidates at the median."
    )


def _rankers(scores: Scores) -> str:
    rows = [
        [name, *(f"{value:.3f} [{low:.3f}, {high:.3f}]" for value, low, high in summary(slices[OVERALL]).values())]
        for name, slices in scores.ranks.items()
        if WITHOUT not in name
    ]
    return _table(["ranker", "R@1", "R@5", "MRR"], rows)


def _by_class(scores: Scores) -> str:
    shown = [*CLASSES, *(f"form: {form}" for form in FORMS)]
    shown = [name for name in shown if any(name in slices for slices in scores.ranks.values())]
    counts = [str(max(len(slices.get(name, ())) for slices in scores.ranks.values())) for name in shown]
    rows = [["n", *counts]]
    for ranker, slices in scores.ranks.items():
        if WITHOUT in ranker:
            continue
        cells: list[str] = []
        for name in shown:
            figures = summary(slices[name]) if slices.get(name) else None
            cells.append(f"{figures['R@1'][0]:.2f} / {figures['R@5'][0]:.2f}" if figures else "")
        rows.append([ranker, *cells])
    return _table(["R@1 / R@5", *shown], rows)


def _ablations(scores: Scores) -> str:
    rows: list[list[str]] = []
    for name, slices in scores.ranks.items():
        whole, without, group = name.partition(WITHOUT)
        if not without or IN_EDITOR in name or whole not in scores.ranks:
            continue
        change = gained(scores.ranks[whole][OVERALL], slices[OVERALL])
        figures = summary(slices[OVERALL])
        cells = [f"{figures[figure][0]:.3f}" for figure in ("R@1", "R@5")]
        rows.append([whole, group, *cells, signed(change)])
    return _table(["ranker", "without", "R@1", "R@5", "change of R@1"], rows)


def _calibration(scores: Scores) -> str:
    rows = [
        [name, f"{calibration_error(firsts):.3f}", f"{error_by_chance(firsts):.3f}"]
        for name, firsts in scores.firsts.items()
        if WITHOUT not in name
    ]
    return _table(
        [
            "ranker",
            "expected calibration error of first items",
            "the error that chance alone gives if every p is exact",
        ],
        rows,
    )


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
