"""`python -P -m tuning.ranking fit`: a blend from recorded lists."""

from __future__ import annotations

import argparse
import random
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from corpus.lists.cli_candidates import LISTS, places_of
from corpus.lists.list_files import Recorded, read_lists
from corpus.lists.positions import CLASSES
from corpus.problems import print_error
from tuning.ranking.evaluating.calibration import calibration_error
from tuning.ranking.evaluating.cases import Case, cases
from tuning.ranking.evaluating.known_scores import KnownScores
from tuning.ranking.evaluating.metrics import summary
from tuning.ranking.learning.blend_fitting import (
    GROUPS,
    Judged,
    Sample,
    fitted,
    fitted_model,
    left_out,
    samples,
    weights_without,
    without,
)
from tuning.ranking.learning.progress import bar
from tuning.ranking.learning.recipe import is_kept_out
from tuning.ranking.serving.blend import FILE, KINDS, Blend, weighed_as
from tuning.ranking.serving.features import Floats
from tuning.ranking.serving.model.prompt import Prompt

DESCRIPTION = """Learn the blend's weights from lists that `python -P -m corpus candidates` recorded. Judged by leaving repositories
out in turn; then fitted on all of them. Give it no repository that figures are measured on."""


def add(commands: Any) -> None:
    """Add the command to the parser's commands."""
    job = commands.add_parser("fit", help="a blend from recorded lists", description=DESCRIPTION)
    job.add_argument("lists", nargs="+", type=Path, metavar="LISTS", help="folders that `candidates` wrote")
    job.add_argument(
        "--list",
        action="append",
        required=True,
        type=Path,
        metavar="FILE",
        help="where each repository is, one a line: PLACE NAME; may be repeated",
    )
    job.add_argument("--model", action="store_true", help="the model's weights too: half a second a position")
    job.add_argument(
        "--kind",
        action="append",
        default=[],
        choices=KINDS,
        help="fit the weights of these kinds of site only, the others stay; may be repeated",
    )
    job.add_argument("--only-model", action="store_true", help="leave the signals' weights as they are")
    job.add_argument("--base", type=Path, help="another model folder than the default")
    job.add_argument("--adapter", default="", metavar="SPEC", help="merged into it: [LABEL=]FOLDER_OR_NAME[@WEIGHT],…")
    job.add_argument(
        "--scores",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="what `score` wrote, instead of a model here; with them every list of theirs is used; may be repeated",
    )
    job.add_argument(
        "--positions", type=int, default=2000, metavar="N", help="for the model's weights (default %(default)s)"
    )
    job.add_argument(
        "--limit", type=int, default=0, metavar="N", help="positions a repository for the signals' (default all)"
    )
    job.add_argument(
        "--ablate", type=Path, metavar="DIR", help="also fit without each group of signals in turn, into a blend each"
    )
    job.add_argument("--out", type=Path, default=FILE, metavar="FILE", help="the blend (default: the installed one)")
    job.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Fit, say how good it is, write it."""
    console = Console(stderr=True)
    if given.ablate and (given.only_model or given.kind):
        print_error(console, "--ablate fits all signals anew: leave --only-model and --kind out")
        return 2
    places = {name: place for file in given.list for name, place in places_of(file).items()}
    kinds = set(given.kind or KINDS)
    rows = [
        row
        for folder in given.lists
        for row in read_lists(folder / LISTS)
        if row.has_truth and weighed_as(row.kind) in kinds
    ]
    old = Blend.load()
    by_signals: list[Sample] = []
    signals = old.signals
    if not given.only_model:
        some = _some(rows, given.limit)
        by_signals = list(samples(_shown(cases(some, places.__getitem__), console, "signals", len(some)), old))
        judged = left_out(by_signals, lambda here, out: fitted(here, old.signals))
        console.print(_table("signals, repositories left out in turn", judged))
        signals = fitted(by_signals, old.signals)
        if given.ablate:
            console.print(_ablated(by_signals, judged, old))
    found: list[Sample] = []
    blend = Blend(signals=signals, model=old.model)
    if given.model or given.scores:
        known = KnownScores(given.scores) if given.scores else None
        chosen = [row for row in rows if is_kept_out(row.repository)] if known else _spread(rows, given.positions)
        score = known.log_p if known else _scorer(given)
        looked_up = cases(chosen, places.__getitem__)
        found = list(samples(_shown(looked_up, console, "model", len(chosen)), blend, score))

        def learn(here: Sequence[Sample], out: Collection[str]) -> Mapping[str, Floats]:
            known = signals if given.only_model else _fitted_without(by_signals, out, old)
            return fitted_model(here, known, old.model)

        judged = left_out(found, learn)
        console.print(_table("model, no deadline, repositories left out in turn", judged))
        model = fitted_model(found, signals, old.model)
        blend = Blend(signals=signals, model=model)
    blend.save(given.out)
    if given.ablate:
        _save_ablated(given.ablate, by_signals, found, blend)
    console.print(f"{given.out}", highlight=False)
    return 0


def _save_ablated(folder: Path, by_signals: Sequence[Sample], found: Sequence[Sample], blend: Blend) -> None:
    """A blend without each group, for `evaluate --without`."""
    folder.mkdir(parents=True, exist_ok=True)
    for group in GROUPS:
        signals = weights_without(fitted(without(by_signals, group), blend.signals), group)
        model = weights_without(blend.model, group)
        if found:
            model = weights_without(fitted_model(without(found, group), signals, model), group)
        Blend(signals=signals, model=model).save(folder / f"{group}.json")


def _some(rows: Sequence[Recorded], limit: int) -> list[Recorded]:
    """At most `limit` (all, for 0) positions of each repository."""
    by_repository: dict[str, list[Recorded]] = defaultdict(list)
    for row in rows:
        by_repository[row.repository].append(row)
    found: list[Recorded] = []
    for name, here in by_repository.items():
        chance = random.Random(name)
        found += here if not limit or len(here) <= limit else chance.sample(here, limit)
    return found


def _spread(rows: Sequence[Recorded], count: int) -> list[Recorded]:
    """Some `count` positions, alike of every repository."""
    groups = len({row.repository for row in rows})
    return _some(rows, max(1, count // max(1, groups)))


def _scorer(given: argparse.Namespace) -> Callable[[Prompt, Sequence[str]], Floats]:
    from tuning.ranking.serving.model.loading import load_scorer

    scorer = load_scorer(given.base or "", adapter=given.adapter)
    return scorer.log_p


def _shown(found: Iterable[Case], console: Console, what: str, total: int) -> Iterator[Case]:
    """The cases, with a bar while they are gone through."""
    with bar(console, what, total) as advance:
        for case in found:
            yield case
            advance(1)


def _fitted_without(found: Sequence[Sample], out: Collection[str], old: Blend) -> dict[str, Floats]:
    return fitted([sample for sample in found if sample.group not in out], old.signals)


def _ablated(found: Sequence[Sample], whole: Sequence[Judged], old: Blend) -> Table:
    """R@1 and R@5 by language without each group of signals, and with all of them."""
    languages = sorted({one.language for one in whole})
    table = Table("without", *languages, title="R@1 / R@5 without a group of signals, fitted anew")
    for name in ("", *GROUPS):
        judged = left_out(without(found, name), lambda here, out: fitted(here, old.signals)) if name else whole
        cells: list[str] = []
        for language in languages:
            figures = summary([one.rank for one in judged if one.language == language])
            cells.append(f"{figures['R@1'][0]:.3f} / {figures['R@5'][0]:.3f}")
        table.add_row(name or "(nothing)", *cells)
    return table


def _table(title: str, judged: Sequence[Judged]) -> Table:
    """R@1 and R@5 by language and class, and how far p is from what it promises."""
    table = Table(title=title)
    for column in ("language", "class", "n", "R@1", "R@5", "MRR"):
        table.add_column(column, justify="left" if column in ("language", "class") else "right")
    for language in sorted({one.language for one in judged}):
        for named in ("", *CLASSES):
            here = [one for one in judged if one.language == language and named in ("", one.named)]
            if here:
                figures = summary([one.rank for one in here])
                shown = (f"{value:.3f} [{low:.3f}, {high:.3f}]" for value, low, high in figures.values())
                table.add_row("" if named else language, named or "all", f"{len(here):,}", *shown)
        table.add_section()
    error = calibration_error([(one.p, one.rank == 0) for one in judged])
    table.caption = f"expected calibration error of first items: {error:.3f}"
    return table
