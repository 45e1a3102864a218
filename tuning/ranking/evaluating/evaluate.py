"""python -P -m tuning.ranking evaluate: rankers side by side on RankBench.

    python -P -m tuning.ranking evaluate                                 baselines that look at the list alone
    python -P -m tuning.ranking evaluate --source                        the others, index and signals too (after `rankbench fetch`)
    python -P -m tuning.ranking evaluate --source --model --limit 400    and the model, without a deadline, on a sample
    python -P -m tuning.ranking evaluate --source --budgets 60,1000 --remote http://127.0.0.1:8000    and a team's engine
    python -P -m tuning.ranking evaluate --language python --command starling --stdio --ranker signals
                                                                      any LSP command end to end: its own order counts

Every figure is over positions whose list has the truth; how often it has is the coverage.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from corpus.lists.list_files import Recorded, read_lists
from corpus.lists.positions import CLASSES, FORMS
from corpus.mining.sources import SourceError, snapshot
from corpus.problems import print_error, print_warning
from corpus.rankbench.new_project import new_project
from corpus.rankbench.origins import OriginError, benches, place_of
from tuning.ranking.evaluating.baselines import LISTS, NO_MATCH, TEXT, vscode_scores
from tuning.ranking.evaluating.calibration import by_stars, calibration_error, error_by_chance
from tuning.ranking.evaluating.cases import Case, cases
from tuning.ranking.evaluating.metrics import rank_in, rank_of, summary
from tuning.ranking.evaluating.ranker_scores import OVERALL, Scores
from tuning.ranking.evaluating.ranker_variants import WITHOUT, Variant, all_variants
from tuning.ranking.serving.features import Floats
from tuning.ranking.serving.rank import Order, ordered, outranked_imports, shortlist
from tuning.ranking.serving.remote.address import wrong_url
from tuning.ranking.serving.remote.errors import RemoteError
from tuning.ranking.serving.stars import STARRED, THRESHOLDS

console = Console()
VSCODE = Path(".servers/node_modules/@vtsls/vscode-fuzzy")
UNEQUAL = " "  # what the server writes behind what should not count as the typed word


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code: 2 where a source or a tool is missing."""
    options = _parser()
    given = options.parse_args(arguments)
    if given.remote and not given.budgets:
        options.error("--remote goes with --budgets: after how many milliseconds?")
    if given.remote and (wrong := wrong_url(given.remote)):
        options.error(f"--remote {given.remote}: {wrong}")
    found: dict[str, Scores] = {}
    try:
        for name in given.language or benches():
            rows = list(read_lists(benches()[name].lists))
            if given.command:
                from tuning.ranking.evaluating.end_to_end import replayed

                found[name] = replayed(benches()[name], sample(rows, given.limit), tuple(given.command), given.jobs)
            else:
                found[name] = score(_available(name, rows) if given.available else rows, given)
            print_table(name, found[name])
    except (OriginError, SourceError, FileNotFoundError, RemoteError) as error:
        print_error(console, error)
        return 2
    if given.json:
        given.json.write_text(json.dumps(as_json(found), indent=1) + "\n", encoding="utf-8")
    if given.plots:
        from tuning.ranking.evaluating.plots import draw

        for path in draw(found, given.plots):
            console.print(f"{path}", highlight=False)
    if given.page:
        from tuning.ranking.evaluating.results_page import write_page

        write_page(found, given.page, given.plots)
        console.print(f"{given.page}", highlight=False)
    return 0


def _parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(
        prog="python -P -m tuning.ranking evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument(
        "--language", action="append", default=[], choices=sorted(benches()), help="may be repeated; default all"
    )
    options.add_argument(
        "--source",
        action="store_true",
        help="also what needs the source: run `python -P -m corpus.rankbench fetch` first",
    )
    options.add_argument(
        "--available",
        action="store_true",
        help="only positions of repositories whose source is here; says how many these are",
    )
    options.add_argument(
        "--model", action="store_true", help="also the base model, searched to the end: half a second a position"
    )
    options.add_argument(
        "--scores",
        action="append",
        default=[],
        metavar="NAME=FILE[,BLEND]",
        help="what `python -P -m tuning.ranking score` wrote, instead of a model here; may be repeated",
    )
    options.add_argument(
        "--without", type=Path, metavar="DIR", help="blends without a group of signals each, by `fit --ablate DIR`"
    )
    options.add_argument(
        "--page",
        type=Path,
        metavar="FILE",
        help="write the figures as a page of Markdown; what it says of other languages stays",
    )
    options.add_argument(
        "--budgets",
        type=lambda text: [float(part) for part in text.split(",")],
        default=[],
        metavar="MS,…",
        help="also the base model cut off after so many milliseconds each, as the server does",
    )
    options.add_argument(
        "--remote", default="", metavar="URL", help="also a team's engine (docs/team.md), after each of --budgets"
    )
    options.add_argument("--remote-token-file", default="", metavar="FILE", help="what the engine asks for")
    options.add_argument("--base", type=Path, help="another model folder than the default")
    options.add_argument(
        "--adapter", default="", metavar="SPEC", help="merged into the base: [LABEL=]FOLDER_OR_NAME[@WEIGHT],…"
    )
    options.add_argument("--blend", type=Path, metavar="FILE", help="another blend than the installed one")
    options.add_argument("--limit", type=int, default=0, metavar="N", help="a sample of N positions a language")
    options.add_argument(
        "--new-project",
        action="store_true",
        help="the slice of files that stand alone in an empty workspace, with nothing written below the cursor",
    )
    options.add_argument(
        "--vscode",
        type=Path,
        default=VSCODE,
        metavar="FOLDER",
        help="of npm's @vtsls/vscode-fuzzy (default %(default)s)",
    )
    options.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    options.add_argument("--plots", type=Path, metavar="FOLDER", help="draw R@k by class, and calibration")
    options.add_argument("--jobs", type=int, default=1, help="servers at once, with --command (default %(default)s)")
    options.add_argument(
        "--command", nargs=argparse.REMAINDER, help="an LSP command to ask instead; takes all that follows"
    )
    return options


def sample(rows: Sequence[Recorded], limit: int) -> list[Recorded]:
    """At most `limit` (all, for 0) rows, the same every time, in the order of the lists."""
    if not limit or len(rows) <= limit:
        return list(rows)
    chosen = sorted(random.Random(0).sample(range(len(rows)), limit))
    return [rows[place] for place in chosen]


def _available(language: str, rows: Sequence[Recorded]) -> list[Recorded]:
    """The rows whose source was fetched; what is left out is said."""
    here: set[str] = set()
    for repository in {row.repository for row in rows}:
        try:
            snapshot(place_of(repository))
        except (OriginError, SourceError):
            continue
        here.add(repository)
    kept = [row for row in rows if row.repository in here]
    console.print(
        f"{language}: {len(kept):,} of {len(rows):,} positions, the source of {len(here)} repositories is here",
        highlight=False,
    )
    return kept


def score(rows: Sequence[Recorded], given: argparse.Namespace) -> Scores:
    """Every ranker that was asked for, over the rows that have the truth."""
    rows = sample(new_project(rows) if given.new_project else rows, given.limit)
    known = [row for row in rows if row.has_truth]
    found = Scores(
        asked=len(rows),
        positions=len(known),
        repositories=len({row.repository.partition("@")[0] for row in known}),
        candidates=[len(row.names) for row in known],
    )
    vscode = _vscode(known, given.vscode)
    for row, fuzzy in zip(known, vscode, strict=True):
        is_truth = np.array([name == row.truth for name in row.names])
        for name, of in LISTS.items():
            found.add(name, row, rank_of(of(row), is_truth))
        if fuzzy is not None:
            found.add("wrapped server, in VS Code", row, rank_of(fuzzy + LISTS["wrapped server"](row) / 1e6, is_truth))
    if given.source or given.model or given.budgets or given.scores:
        behind = _vscode(known, given.vscode, UNEQUAL)
        by_row = {_key(row): found for row, *found in zip(known, vscode, behind, strict=True)}
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("looking up", total=len(known))
            looked_up = cases(
                known,
                place_of,
                lambda name, count: progress.update(task, advance=count, description=name[-48:]),
                alone=given.new_project,
            )
            _score_cases(looked_up, by_row, found, given)
    return found


def _key(row: Recorded) -> tuple[object, ...]:
    return row.repository, row.revision, row.written, row.path, row.offset, row.form


def _vscode(rows: Sequence[Recorded], matcher: Path, behind: str = "") -> list[Floats | None]:
    """VS Code's scores of each row's names, with something behind them; None each where its matcher is not installed, which is said."""
    try:
        asked = [(row.truth[: letters(row)], [name + behind for name in row.names]) for row in rows]
        return [*vscode_scores(matcher, asked)]
    except FileNotFoundError as error:
        print_warning(console, f"Without VS Code's order: {error}")
        return [None] * len(rows)


def letters(row: Recorded) -> int:
    """How many characters of the identifier are typed."""
    return len(row.truth.encode()[: row.offset - row.start].decode("utf-8", "replace"))


def _score_cases(
    found_cases: Iterable[Case],
    vscode: Mapping[tuple[object, ...], Sequence[Floats | None]],
    found: Scores,
    given: argparse.Namespace,
) -> None:
    with all_variants(given) as variants:
        for case in found_cases:
            _score_case(case, variants, vscode, found)


def _score_case(
    case: Case,
    variants: Sequence[Variant],
    vscode: Mapping[tuple[object, ...], Sequence[Floats | None]],
    found: Scores,
) -> None:
    row = case.recorded
    for name, of in TEXT.items():
        found.add(name, row, rank_of(of(row, case.before), case.is_truth))
    found.add("index alone", row, rank_of(case.known.index.probability, case.is_truth))
    for variant in variants:
        if variant.scorer is None:
            order = ordered(case.known, variant.blend)
        else:
            chosen = shortlist(case.known, variant.blend)
            scores = variant.scorer.log_p(case.prompt, [case.known.candidates[i].name for i in chosen])
            chosen, scores = chosen[~np.isnan(scores)], scores[~np.isnan(scores)]
            alone = np.full(len(row.names), -np.inf)
            alone[chosen] = scores
            if variant.alone:
                found.add(variant.alone, row, rank_of(alone, case.is_truth))
            order = ordered(case.known, variant.blend, scores, chosen)
        plain, behind = (None, None) if WITHOUT in variant.name else vscode[_key(row)]
        if plain is not None and behind is not None:  # as the server marks them
            unequal = outranked_imports(case.known, order)
            plain = plain.copy()
            plain[unequal] = behind[unequal]
        _add_order(variant.name, order, case, plain, found)


def _add_order(name: str, order: Order, case: Case, fuzzy: Floats | None, found: Scores) -> None:
    rank = rank_in(order.order, case.is_truth)
    found.add(name, case.recorded, rank)
    found.firsts[name].append((float(order.p[order.order[0]]), rank == 0))
    for name_of, p in _shared(case, order):
        found.names[name].append((p, name_of == case.recorded.truth))
    if fuzzy is not None:
        places = np.argsort(order.order)  # of each candidate
        shown = np.where(fuzzy == NO_MATCH, -np.inf, fuzzy - places / 1e6)
        if np.isfinite(shown[case.is_truth]).any():
            found.add(f"{name}, in VS Code", case.recorded, rank_of(shown, case.is_truth))


def _shared(case: Case, order: Order) -> Iterable[tuple[str, float]]:
    """Each name that has any star, once, and its probability."""
    rated = np.flatnonzero(order.p >= THRESHOLDS[0]).tolist()
    return {case.known.candidates[place].name: float(order.p[place]) for place in rated}.items()


def print_table(language: str, found: Scores) -> None:
    """R@1, R@5 and MRR of each ranker, then R@1 by class."""
    table = Table(
        title=f"{language}: {found.positions:,} positions ({found.positions / max(1, found.asked):.0%} of {found.asked:,} lists have the "
        f"truth), {found.repositories} repositories, {int(np.median(found.candidates or [0]))} candidates at the median"
    )
    for column in ("ranker", "R@1", "R@5", "MRR"):
        table.add_column(column)
    ranks = {name: slices for name, slices in found.ranks.items() if WITHOUT not in name}  # those are for the page
    for ranker, slices in ranks.items():
        figures = summary(slices[OVERALL])
        table.add_row(ranker, *(f"{value:.3f} [{low:.3f}, {high:.3f}]" for value, low, high in figures.values()))
    console.print(table)
    shown = [*CLASSES, *(f"form: {form}" for form in FORMS)]
    shown = [name for name in shown if any(name in slices for slices in ranks.values())]
    by_class = Table(title="R@1 by what was completed, and by the form of the text")
    by_class.add_column("ranker")
    for name in shown:
        by_class.add_column(name, justify="right")
    counts = [max(len(slices.get(name, ())) for slices in ranks.values()) for name in shown]
    by_class.add_row("n", *(f"{count:,}" for count in counts), end_section=True)
    for ranker, slices in ranks.items():
        figures = (f"{summary(slices[name])['R@1'][0]:.2f}" if name in slices else "" for name in shown)
        by_class.add_row(ranker, *figures)
    console.print(by_class)
    for ranker, firsts in found.firsts.items():
        if WITHOUT in ranker:
            continue
        console.print(
            f"{ranker}: expected calibration error of first items {calibration_error(firsts):.3f} "
            f"({error_by_chance(firsts):.3f} by chance, if every p were exact)",
            highlight=False,
        )
        for stars, (count, right) in by_stars(found.names[ranker]).items():
            shown = f"  {stars} stars (p from {THRESHOLDS[stars - 1]:g}): right {right:.1%} of {count:,}"
            console.print(shown + ("" if stars >= STARRED else ", not marked"), highlight=False)
        starred = sum(p >= THRESHOLDS[STARRED - 1] for p, _ in firsts)
        console.print(f"  lists whose first item is marked: {starred / len(firsts):.1%}", highlight=False)


def as_json(found: Mapping[str, Scores]) -> dict[str, object]:
    """Every figure with its interval, by language, ranker and slice."""
    return {
        language: {
            "asked": scores.asked,
            "positions": scores.positions,
            "repositories": scores.repositories,
            "calibration error": {ranker: calibration_error(firsts) for ranker, firsts in scores.firsts.items()},
            "calibration error by chance": {
                ranker: error_by_chance(firsts) for ranker, firsts in scores.firsts.items()
            },
            "stars": {ranker: by_stars(named) for ranker, named in scores.names.items()},
            "rankers": {
                ranker: {name: {"n": len(ranks), **summary(ranks)} for name, ranks in slices.items()}
                for ranker, slices in scores.ranks.items()
            },
        }
        for language, scores in found.items()
    }


if __name__ == "__main__":
    sys.exit(main())
