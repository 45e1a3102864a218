"""`starling train`, `adapters` and `rollback`: an adapter of one's own code, and what is installed."""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import platformdirs
from rich.console import Console
from rich.table import Table

from corpus.lists.candidates import installed_servers
from corpus.lists.cli_candidates import servers_of
from corpus.mining.shards import alone
from corpus.mining.sources import RevisionMissing, SourceUnknown, snapshot
from corpus.syntax.language import languages
from tuning.ranking.evaluating.metrics import gained, signed, summary
from tuning.ranking.learning import cli_usage, train_plan
from tuning.ranking.learning.cli_usage import where
from tuning.ranking.learning.progress import bar
from tuning.ranking.learning.recipe import Recipe
from tuning.ranking.learning.splitting import Split, named, split
from tuning.ranking.serving import acceptance_log
from tuning.ranking.serving.acceptance_log import Accepted
from tuning.ranking.serving.model import adapter_registry
from tuning.ranking.serving.model.adapter_spec import shipped

DESCRIPTION = """Train an adapter on your own repositories. It is installed only if it ranks their later lines better than what you use now.

  1. lists: ask your language servers for completion at places in the code as it was before its last commits
  2. training: the model learns to rank first the name that the author wrote
  3. comparison: on lines that the last commits added, from which it did not learn
  4. installation: only if it is better there; a running server uses it from its next completion on

The command runs nothing of a repository and opens no connection. Before it starts, it prints how long it will take: seven
thousand lists take a night on a laptop, minutes on a GPU. You may stop it with Ctrl-C: the same command then continues."""
EPILOG = """starling train --usage --repo PATH    make a usage table instead: minutes, no model
starling adapters                     list what is installed, and how good it was
starling rollback NAME                go back to the version before"""
ON_GPU = 8  # windows a step, at once
METHODS = ("LORA", "DORA", "IA3")  # AdaLoRA plans by steps, which are known when the model is there


def add(commands: Any) -> None:
    """Add the commands to the parser's."""
    raw = argparse.RawDescriptionHelpFormatter
    job = commands.add_parser(
        "train", help="an adapter of your own repositories", description=DESCRIPTION, epilog=EPILOG, formatter_class=raw
    )
    job.add_argument(
        "--repo",
        action="append",
        required=True,
        type=Path,
        metavar="PATH",
        help="a git repository or a folder; may be repeated",
    )
    job.add_argument("--name", default="", help="what the adapter is called (default: the first repository's folder)")
    job.add_argument(
        "--language",
        action="append",
        default=[],
        choices=sorted(languages()),
        help="use only this language; may be repeated",
    )
    job.add_argument(
        "--server",
        action="append",
        default=[],
        metavar="[LANGUAGE=]NAME",
        help="the server to ask; may be repeated (default: the first that is installed)",
    )
    job.add_argument(
        "--from-accepted",
        action="store_true",
        help="learn also from what you wrote there while `starling --log-accepted` ran",
    )
    job.add_argument(
        "--minutes",
        type=float,
        default=600,
        metavar="M",
        help="the most that the whole command may take (default %(default)s)",
    )
    job.add_argument(
        "--times",
        type=float,
        metavar="T",
        help="go through the lists so often at most (default: 2, up to 6 if there are few lists)",
    )
    job.add_argument(
        "--positions",
        type=int,
        default=12_000,
        metavar="N",
        help="places to learn from, at most, in each repository (default %(default)s)",
    )
    job.add_argument(
        "--judged",
        type=int,
        default=400,
        metavar="N",
        help="places to judge on, in each repository (default %(default)s)",
    )
    job.add_argument("--method", choices=METHODS, default="LORA", help="default %(default)s")
    job.add_argument("--rank", type=int, default=16, help="of LoRA (default %(default)s)")
    job.add_argument("--base", default="", metavar="FOLDER", help="a model other than the default")
    job.add_argument(
        "--work",
        type=Path,
        metavar="DIR",
        help="folder of the run, for continuing it (default: in the cache folder, by name)",
    )
    job.add_argument(
        "--jobs", type=int, default=2, help="how many servers to ask at the same time (default %(default)s)"
    )
    job.add_argument(
        "--everywhere",
        action="store_true",
        help="use it for all documents (default: for those in these repositories)",
    )
    job.add_argument(
        "--usage",
        action="store_true",
        help="make a usage table (which names these repositories use where) instead of an adapter: minutes, no model",
    )
    job.add_argument("--keep-worse", action="store_true", help="install it even if it is not better")
    job.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Train, compare, install; 1 where what came out was not better and is not installed."""
    console = Console(stderr=True, markup=False)
    began = time.monotonic()
    name = adapter_registry.checked(given.name or adapter_registry.name_for(given.repo[0].resolve()))
    for repo in given.repo:  # before anything is made: of a mistyped path nothing is left
        _look_at(repo)
    repos = named(given.repo)
    given.repo = [*repos.values()]
    folder = "usage" if given.usage else "training"
    work = given.work or Path(platformdirs.user_cache_dir("starling", appauthor=False)) / folder / name
    if given.usage:
        work.mkdir(parents=True, exist_ok=True, mode=0o700)
        with alone(work):
            return cli_usage.run(repos, name, _workspaces(given), given.language, work, console)
    given.positions = train_plan.positions(given)
    splits = _read(given, repos, console)
    work.mkdir(parents=True, exist_ok=True, mode=0o700)
    with alone(work):
        return _run(given, name, splits, work, console, until=began + given.minutes * 60)


def _workspaces(given: argparse.Namespace) -> list[str]:
    return [] if given.everywhere else [str(repo.resolve()) for repo in given.repo]


def _read(given: argparse.Namespace, repos: Mapping[str, Path], console: Console) -> list[Split]:
    servers = installed_servers(servers_of(given.server))
    with console.status("reading the repositories"):
        return [
            split(repo, servers, learned=given.positions, judged=given.judged, only=given.language, name=name)
            for name, repo in repos.items()
        ]


def _look_at(repo: Path) -> None:
    """Raises SourceError where there is nothing to read."""
    if not repo.is_dir():
        problem = "is no folder." if repo.exists() else "is not there."
        raise SourceUnknown(str(repo), problem, "Give --repo a git repository, or a folder of source.")
    try:
        snapshot(str(repo))
    except RevisionMissing as error:
        raise RevisionMissing(str(repo), "has no commit yet.", "Commit its files, then train on them.") from error


def _run(
    given: argparse.Namespace, name: str, splits: Sequence[Split], work: Path, console: Console, *, until: float
) -> int:
    for one in splits:
        learned, judged = (sum(project.count for project in part) for part in (one.learning, one.judging))
        where = (
            "lines that its last commits added"
            if one.by_commits
            else "files that are put aside, because too few commits can be read"
        )
        console.print(f"{one.name}: {learned:,} places to learn from, {judged:,} to judge on: {where}", highlight=False)
    train_plan.announce(given, splits, console)
    from tuning.ranking.learning import retraining

    with _bar(console, "asking the servers", sum(p.count for s in splits for p in (*s.learning, *s.judging))) as done:
        lists = retraining.lists_of(splits, work, jobs=given.jobs, done=done)
    for project, problem in lists.tally.failed.items():
        console.print(f"{project}: {problem}", style="yellow", highlight=False)
    silent = lists.tally.positions - lists.tally.answered
    if silent:
        console.print(f"{silent:,} places had no answer from their server in time.", style="yellow", highlight=False)
    known = [row for row in lists.learning if row.has_truth]
    judged_rows = [row for row in lists.judging if row.has_truth]
    console.print(
        f"{len(known):,} of {len(lists.learning):,} lists to learn from have the name that was written", highlight=False
    )
    if few := train_plan.too_few(len(known), len(judged_rows)):
        console.print(few, style="red", highlight=False)
        return 2
    written = _written(given, splits, console) if given.from_accepted else []
    out = work / f"adapter-{_key(given, splits, len(written))}"
    _train(
        given,
        lambda done: retraining.looked_up(known, splits, done),
        written,
        len(known),
        out,
        console,
        until=until - train_plan.COMPARE_SECONDS * len(judged_rows),
    )
    with _bar(console, "looking up what is judged on", len(judged_rows)) as done:
        judging = list(retraining.looked_up(judged_rows, splits, done))
    return _judge(given, name, splits, judging, out, console)


def _train(
    given: argparse.Namespace,
    looked_up: Callable[[Callable[[str, int], None]], Iterator[Any]],
    written: Sequence[Accepted],
    count: int,
    out: Path,
    console: Console,
    *,
    until: float,
) -> None:
    from tuning.ranking.learning import retraining, training
    from tuning.ranking.learning.torch_models import base_and_tokenizer

    recipe = Recipe(method=given.method, rank=given.rank)
    recipe = recipe if training.device().type == "cpu" else replace(recipe, batch=ON_GPU)
    model, tokenizer = base_and_tokenizer(given.base, adapter="")
    with _bar(console, "looking up what is learned from", count) as done:
        found = retraining.windows_of(looked_up(done), written, tokenizer)
    adapted = recipe.adapted(model.to(training.device()), steps=train_plan.FEWEST)
    loss = recipe.objective(adapted, tokenizer)
    with console.status("measuring how long a step takes here"):
        measure = partial(retraining.seconds_a_window, adapted, loss, found, recipe.batch)
        total, seconds = train_plan.steps(given, measure, recipe.batch, found, out, until)
    sites = sum(len(window.sites) for window in found)
    console.print(
        f"training {given.method} on {sites:,} lists in {len(found):,} windows: {total:,} steps of {recipe.batch} windows, "
        f"{total * recipe.batch / max(1, len(found)):.1f} times through, about {train_plan.duration(seconds)}",
        highlight=False,
    )
    made = training.trained(adapted, loss, found, recipe, steps=total, out=out, stop=lambda: time.monotonic() >= until)
    if made < total:
        console.print(
            f"The time is up after {made:,} of {total:,} steps: the machine was slower than when a step was measured.",
            style="yellow",
            highlight=False,
        )
    adapter_registry.write_card(out, adapter_registry.Card(base=given.base, beneath=shipped(given.base)))


def _written(given: argparse.Namespace, splits: Sequence[Split], console: Console) -> list[Accepted]:
    languages = sorted({language for one in splits for language in one.languages})
    found = list(acceptance_log.read([repo.resolve() for repo in given.repo], languages))
    console.print(
        f"{len(found):,} names that were written where a list was shown, from {acceptance_log.file()}", highlight=False
    )
    if not found:
        console.print("The log is kept while the server runs with --log-accepted (or logAccepted among its options).")
    return found


def _key(given: argparse.Namespace, splits: Sequence[Split], written: int) -> str:
    """What a run is known by: the same goes on where it stopped; after new commits, or with more time, it is another."""
    asked = [given.method, given.rank, given.base, float(given.minutes), given.times]
    learned = [project.key for one in splits for project in one.learning]
    known = json.dumps([*asked, shipped(given.base), written, *learned])
    return hashlib.sha256(known.encode()).hexdigest()[:12]


def _judge(
    given: argparse.Namespace, name: str, splits: Sequence[Split], judging: Sequence[Any], out: Path, console: Console
) -> int:
    from tuning.ranking.learning import retraining
    from tuning.ranking.serving.model.loading import load_scorer

    before, now = retraining.used_now(name, given.base, lambda why: console.print(why, style="yellow", highlight=False))
    then = load_scorer(given.base, adapter=str(out))
    with _bar(console, "comparing", len(judging)) as done:
        places = retraining.compare(judging, now, then, done)
    console.print(_table({"signals": places.signals, before: places.now, "with what was learned": places.then}))
    figures = {key: value[0] for key, value in summary(places.then).items()}
    rose = {key: value - summary(places.now)[key][0] for key, value in figures.items()}
    console.print(f"R@1 {signed(gained(places.now, places.then))}", highlight=False)
    if not is_better(places.now, places.then) and not given.keep_worse:
        console.print(
            f"Not better, so not installed; it is in {out}. What may help: more of your code (--repo once more), more time (--minutes, --times).",
            highlight=False,
        )
        return 1
    card = adapter_registry.Card(
        base=given.base,
        beneath=adapter_registry.beneath(out),
        workspaces=_workspaces(given),
        languages=sorted({language for one in splits for language in one.languages}),
        figures={**figures, **{f"{key} gained": value for key, value in rose.items()}},
        made=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    installed = adapter_registry.install(name, out, card)
    console.print(
        f"Installed as {name} {installed.version}: used {where(card.workspaces)} from the next completion on. "
        f"To go back: starling rollback {name}",
        highlight=False,
        soft_wrap=True,
    )
    return 0


def is_better(now: Sequence[int], then: Sequence[int]) -> bool:
    """Whether the truth's places, from 0, are better on the whole, and the first one right no less often."""
    before, after = ({key: value[0] for key, value in summary(places).items()} for places in (now, then))
    return after["MRR"] > before["MRR"] and after["R@1"] >= before["R@1"]


def _table(ranks: dict[str, Sequence[int]]) -> Table:
    table = Table(title=f"{len(next(iter(ranks.values())))} later lists of the same code")
    for column in ("", "R@1", "R@5", "MRR"):
        table.add_column(column)
    for name, places in ranks.items():
        table.add_row(name, *(f"{value:.3f} [{low:.3f}, {high:.3f}]" for value, low, high in summary(places).values()))
    return table


@contextmanager
def _bar(console: Console, what: str, total: int) -> Generator[Callable[[str, int], None]]:
    began = time.monotonic()
    with bar(console, what, total) as advance:
        yield lambda name, count: advance(count)
    console.print(f"{what}: {time.monotonic() - began:.0f} s", style="dim", highlight=False)
