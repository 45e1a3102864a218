"""`python -P -m tuning.ranking windows`, `learn` and `score`: adapters for whole languages, from recorded lists."""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from tuning.ranking.evaluating.metrics import summary
from tuning.ranking.learning.progress import bar
from tuning.ranking.learning.recipe import METHODS, Recipe, is_kept_out

if TYPE_CHECKING:
    from tuning.ranking.learning.training import Judged
    from tuning.ranking.learning.windows import Window

WINDOWS = """Make recorded lists into what a model reads: windows of tokens with the names of their lists. The file is all that `learn` and
`score` need, so these can run on another machine. It holds code, as tokens: keep it as private as that."""
LEARN = """Train an adapter on windows by the ranker's objective, on a GPU where there is one, and say what it does on repositories that it
did not learn from (one in six, by name). Run the same again after it was cut off: it goes on where it stopped."""
SCORE = """Write what a model says of every name in files of windows (made with --whole), for `fit --scores` and `evaluate --scores`."""


def add(commands: Any) -> None:
    """Add the commands to the parser's."""
    job = commands.add_parser("windows", help="what a model learns from, made of recorded lists", description=WINDOWS)
    job.add_argument("lists", nargs="*", type=Path, metavar="LISTS", help="folders that `candidates` wrote")
    job.add_argument(
        "--list", action="append", default=[], type=Path, metavar="FILE", help="where each repository is: PLACE NAME"
    )
    job.add_argument("--rankbench", action="append", default=[], metavar="LANGUAGE", help="RankBench's lists instead")
    job.add_argument("--whole", action="store_true", help="with all names that a model is asked about live, to score")
    job.add_argument("--kept-out", action="store_true", help="only of repositories that `learn` judges on")
    job.add_argument("--base", default="", metavar="FOLDER", help="whose tokens (default: the installed base)")
    job.add_argument("--out", required=True, type=Path, metavar="FILE")
    job.set_defaults(run=make_windows)

    job = commands.add_parser("learn", help="an adapter for languages, from windows", description=LEARN)
    job.add_argument("windows", nargs="+", type=Path, metavar="WINDOWS", help="files that `windows` wrote")
    job.add_argument("--out", required=True, type=Path, metavar="DIR", help="the adapter, and what a run goes on from")
    job.add_argument("--language", action="append", default=[], metavar="LANGUAGE", help="only this one; repeatable")
    job.add_argument("--method", choices=METHODS, default="LORA", help="default %(default)s")
    job.add_argument("--rank", type=int, default=Recipe.rank, help="of LoRA (default %(default)s)")
    job.add_argument("--lr", type=float, default=Recipe.lr, help="default %(default)s")
    job.add_argument("--batch", type=int, default=Recipe.batch, help="windows a step (default %(default)s)")
    job.add_argument("--times", type=float, default=2, help="through all windows (default %(default)s)")
    job.add_argument("--limit", type=int, default=0, metavar="N", help="windows to learn from (default: all)")
    job.add_argument("--base", default="", metavar="FOLDER", help="another model than the default")
    job.set_defaults(run=learn)

    job = commands.add_parser("score", help="what a model says of all names", description=SCORE)
    job.add_argument("windows", nargs="+", type=Path, metavar="WINDOWS", help="files that `windows --whole` wrote")
    job.add_argument("--out", required=True, type=Path, metavar="FILE")
    job.add_argument("--base", default="", metavar="FOLDER", help="another model than the default")
    job.add_argument("--adapter", default="", metavar="SPEC", help="merged into it: [LABEL=]FOLDER_OR_NAME[@WEIGHT],…")
    job.set_defaults(run=score)


def make_windows(given: argparse.Namespace) -> int:
    """Lists to windows."""
    from corpus.lists.cli_candidates import LISTS, places_of
    from corpus.lists.list_files import read_lists
    from corpus.rankbench.origins import benches, place_of
    from tuning.ranking.evaluating.cases import cases
    from tuning.ranking.learning.torch_models import base_and_tokenizer
    from tuning.ranking.learning.window_building import whole_windows, windows
    from tuning.ranking.learning.window_files import write_windows
    from tuning.ranking.serving.blend import Blend

    console = Console(stderr=True)
    tokenizer = base_and_tokenizer(given.base)[1]
    places = {name: place for file in given.list for name, place in places_of(file).items()}
    files = [*(folder / LISTS for folder in given.lists), *(benches()[language].lists for language in given.rankbench)]
    rows = [row for file in files for row in read_lists(file) if row.has_truth]
    rows = [row for row in rows if not given.kept_out or is_kept_out(row.repository)]
    known: dict[str, list[int]] = {}

    def encode(text: str) -> list[int]:
        found = known.get(text) if len(text) < 64 else None
        if found is None:
            found = tokenizer.encode(text, add_special_tokens=False)
            if len(text) < 64:
                known[text] = found
        return found

    with bar(console, "looking up", len(rows)) as done:
        found = cases(rows, place_of if given.rankbench else places.__getitem__, lambda name, count: done(count))
        make = whole_windows if given.whole else windows
        count = write_windows(given.out, make(found, Blend.load(), encode))
    console.print(f"{given.out}: {len(rows):,} lists in {count:,} windows", highlight=False)
    return 0


def learn(given: argparse.Namespace) -> int:
    """Windows to an adapter."""
    from tuning.ranking.learning import training
    from tuning.ranking.learning.torch_models import base_and_tokenizer

    console = Console(stderr=True)
    found = _read(given.windows, given.language)
    learned, judged = ([window for window in found if is_kept_out(window.repository) == out] for out in (False, True))
    learned = learned[:: max(1, len(learned) // given.limit)] if given.limit else learned
    recipe = Recipe(method=given.method, rank=given.rank, lr=given.lr, batch=given.batch)
    model, tokenizer = base_and_tokenizer(given.base)
    model = model.to(training.device())
    steps = training.steps_for(len(learned), given.times, recipe.batch)
    lists = sum(len(window.sites) for window in learned)
    console.print(
        f"{recipe.method} on {lists:,} lists in {len(learned):,} windows of {len({w.repository for w in learned})} repositories: "
        f"{steps:,} steps of {recipe.batch} windows",
        highlight=False,
    )
    began = time.monotonic()
    adapted = recipe.adapted(model, steps)
    loss = recipe.objective(adapted, tokenizer)
    training.trained(adapted, loss, learned, recipe, steps=steps, out=given.out)
    took = time.monotonic() - began
    with bar(console, "judging", len(judged)) as done:
        after = training.judged(adapted, loss, judged, done)
        adapted.unload()
        before = training.judged(adapted.get_base_model(), loss, judged, done)
    console.print(table({"base": before, given.out.name: after}))
    console.print(f"trained for {took:,.0f} s; the adapter is in {given.out}", highlight=False)
    return 0


def score(given: argparse.Namespace) -> int:
    """Windows to scores."""
    import torch

    from tuning.ranking.evaluating.known_scores import write_scores
    from tuning.ranking.learning import training
    from tuning.ranking.learning.listwise import Listwise
    from tuning.ranking.learning.torch_models import base_and_tokenizer, tokens_of

    console = Console(stderr=True)
    found = _read(given.windows, ())
    model, tokenizer = base_and_tokenizer(given.base, given.adapter)
    model = model.to(training.device())
    loss = Listwise(
        ending=torch.from_numpy(tokens_of(tokenizer).ends_identifier(model.config.vocab_size)).to(training.device())
    )
    with bar(console, "scoring", len(found)) as done:
        count = write_scores(given.out, training.scores(model, loss, found, done))
    console.print(f"{given.out}: {count:,} lists", highlight=False)
    return 0


def table(found: dict[str, Sequence[Judged]]) -> Table:
    """R@1 and R@5 among the names of the windows, by language, the model alone and with the signals."""
    shown = Table(title="repositories kept apart, among the names that were learned with")
    for column in ("model", "language", "n", "alone: R@1", "R@5", "with signals: R@1", "R@5"):
        shown.add_column(column, justify="left" if column in ("model", "language") else "right")
    for name, judged in found.items():
        by_language: dict[str, list[Judged]] = defaultdict(list)
        for one in judged:
            by_language[one.language].append(one)
        for language, here in [("all", list(judged)), *sorted(by_language.items())]:
            cells: list[str] = []
            for places in ([one.alone for one in here], [one.beside for one in here]):
                figures = summary(places)
                cells += [f"{figures[name][0]:.3f}" for name in ("R@1", "R@5")]
            shown.add_row(name if language == "all" else "", language, f"{len(here):,}", *cells)
    return shown


def _read(files: Sequence[Path], languages: Sequence[str]) -> list[Window]:
    from tuning.ranking.learning.window_files import read_windows

    return [window for file in files for window in read_windows(file, languages)]
