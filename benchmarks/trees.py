"""python -m benchmarks.trees LISTS… --list FILE: gradient-boosted trees in the linear blend's place, repositories left out in turn.

Both are fitted on the same lists and see the same columns; trees may only rise with the model's score, so that the search for the
best names stays exact. Needs LightGBM, which Starling does not: pip install lightgbm
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from corpus.lists.cli_candidates import LISTS, places_of
from corpus.lists.list_files import read_lists
from tuning.ranking.evaluating.cases import cases
from tuning.ranking.evaluating.known_scores import KnownScores
from tuning.ranking.evaluating.metrics import gained, signed, summary
from tuning.ranking.learning.blend_fitting import FOLDS, Sample, fitted, fitted_model, folds, samples
from tuning.ranking.learning.recipe import is_kept_out
from tuning.ranking.serving.blend import KINDS, Blend
from tuning.ranking.serving.features import MODEL, SIGNALS

console = Console()
TREES = {"objective": "rank_xendcg", "num_leaves": 31, "learning_rate": 0.05, "min_data_in_leaf": 50, "lambda_l2": 1.0}
ROUNDS = 300


def main() -> None:
    """Command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("lists", nargs="+", type=Path)
    options.add_argument("--list", action="append", required=True, type=Path, metavar="FILE")
    options.add_argument("--scores", action="append", default=[], type=Path, metavar="FILE", help="with a model's")
    options.add_argument("--limit", type=int, default=0, metavar="N", help="lists (default: all)")
    given = options.parse_args()
    places = {name: place for file in given.list for name, place in places_of(file).items()}
    rows = [row for folder in given.lists for row in read_lists(folder / LISTS) if row.has_truth]
    rows = [row for row in rows if not given.scores or is_kept_out(row.repository)]
    chosen = set(random.Random(0).sample(range(len(rows)), min(len(rows), given.limit or len(rows))))
    rows = [row for number, row in enumerate(rows) if number in chosen]
    score = KnownScores(given.scores).log_p if given.scores else None
    blend = Blend.load()
    looked_up = track(cases(rows, places.__getitem__), "looking up", total=len(rows), console=console, transient=True)
    found = list(samples(looked_up, blend, score))
    rising = range(len(SIGNALS), len(SIGNALS + MODEL)) if score else ()
    ranks: dict[str, list[int]] = {"linear": [], "trees": []}
    languages: list[str] = []
    for learned, judged, _ in track(folds(found), "folds", total=FOLDS, console=console, transient=True):
        weights = fitted_model(learned, blend.signals, blend.model) if score else fitted(learned, blend.signals)
        ranks["linear"] += [_rank(sample.columns @ weights[sample.kind], sample.truth) for sample in judged]
        ranks["trees"] += _by_trees(learned, judged, rising)
        languages += [sample.language for sample in judged]
    table = Table(title=f"{len(found):,} lists of {len({sample.group for sample in found})} repositories")
    for column in ("language", "n", "linear: R@1", "R@5", "trees: R@1", "R@5", "R@1 gained by trees"):
        table.add_column(column)
    for language in ("all", *sorted(set(languages))):
        here = [place for place, each in enumerate(languages) if language in ("all", each)]
        linear, trees = ([ranks[name][place] for place in here] for name in ("linear", "trees"))
        cells = [f"{summary(which)[figure][0]:.3f}" for which in (linear, trees) for figure in ("R@1", "R@5")]
        table.add_row(language, f"{len(here):,}", *cells, signed(gained(linear, trees)))
    console.print(table)


def _by_trees(learned: Sequence[Sample], judged: Sequence[Sample], rising: Sequence[int]) -> list[int]:
    import lightgbm  # pyright: ignore[reportMissingImports]

    columns = learned[0].columns.shape[1] + len(KINDS)
    constraints = [1 if place in rising else 0 for place in range(columns)]
    data = lightgbm.Dataset(
        np.concatenate([_columns(sample) for sample in learned]),
        np.concatenate([np.arange(len(sample.columns)) == sample.truth for sample in learned]),
        group=[len(sample.columns) for sample in learned],
    )
    monotone = {"monotone_constraints": constraints} if rising else {}
    made = lightgbm.train({**TREES, **monotone, "verbose": -1, "num_threads": 2, "seed": 0}, data, ROUNDS)
    return [_rank(np.asarray(made.predict(_columns(sample))), sample.truth) for sample in judged]


def _columns(sample: Sample) -> np.ndarray:
    """The sample's columns, and its site's kind as three more."""
    kind = np.array([sample.kind == name for name in KINDS], np.float32)
    return np.concatenate([sample.columns, np.tile(kind, (len(sample.columns), 1))], axis=1)


def _rank(scores: np.ndarray, truth: int) -> int:
    return int((scores > scores[truth]).sum())


if __name__ == "__main__":
    main()
