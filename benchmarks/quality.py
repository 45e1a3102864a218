"""python -m benchmarks.quality record|fit|evaluate: how often the item that the author wrote is the first.

Real lists of the wrapped server at members with nothing typed yet; the identifier and the rest of its line removed;
the index holds the library's other files. `fit` learns the blend on the libraries listed for it, `evaluate` measures
on others.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.quality_data import Bench, Recorded, asked, cut, home, load, record, unpacked
from corpus.syntax.candidate import candidates
from corpus.syntax.language import language_for
from corpus.syntax.parse import SyntaxDocument
from corpus.syntax.site import site_at
from tuning.ranking.blend import Blend, fit
from tuning.ranking.copies import near_copies, shingles
from tuning.ranking.features import MODEL, SIGNALS, Floats, with_model
from tuning.ranking.index import WorkspaceIndex
from tuning.ranking.metrics import summary
from tuning.ranking.prompt import Prompt, build_prompt
from tuning.ranking.rank import Listing, Surroundings, listing, ordered, shortlist

console = Console()
FOLDS = 10
MODEL_POSITIONS = 1700  # to fit on; it takes half a second each
IDENTIFIER = re.compile(r"\w+")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One recorded position, looked up."""

    recorded: Recorded
    known: Listing
    truth: int  # index of the first candidate with the author's identifier
    prompt: Prompt
    before: str


def main() -> None:
    """Command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("job", choices=("record", "fit", "evaluate"))
    options.add_argument(
        "--language", default="python", help="tables of quality.toml, comma-separated, or 'all' (default: %(default)s)"
    )
    options.add_argument("--split", choices=("fit", "eval"), help="default: fit for fit, else eval")
    options.add_argument("--model", action="store_true", help="with the model: minutes instead of seconds")
    options.add_argument("--fp32", action="store_true", help="the model without int8")
    options.add_argument("--limit", type=int, default=0, help="positions at most")
    options.add_argument("--json", action="store_true")
    given = options.parse_args()
    split = given.split or ("fit" if given.job == "fit" else "eval")
    benches = [Bench.load(language) for language in Bench.named(given.language)]
    if given.job == "record":
        for bench in benches:
            record(bench, split)
    elif given.job == "fit":
        cases = [case for bench in benches for case in look_up(bench, split, given.limit)]
        random.Random(0).shuffle(cases)  # the model sees some of every language
        learn(cases, given)
    else:
        for bench in benches:
            evaluate(look_up(bench, split, given.limit), given, bench.language, asked(bench, split))


def look_up(bench: Bench, split: str, limit: int = 0) -> list[Case]:
    """Every recorded position with its index scores, the file itself and near copies of it left out of the index."""
    recorded = list(load(bench, split))
    random.Random(0).shuffle(recorded)
    by_package: dict[str, list[Recorded]] = defaultdict(list)
    for row in recorded[: limit or None]:
        by_package[row.package].append(row)
    cases: list[Case] = []
    for package, rows in track(by_package.items(), f"indexing {split}", console=console, transient=True):
        index = WorkspaceIndex([unpacked(package)], bench.extensions)
        index.build()
        known = shingles(unpacked(package), tuple(bench.extensions))
        for row in rows:
            path = unpacked(package).resolve() / row.path
            hidden = [path, *near_copies(path, known)]
            for each in hidden:
                index.hide(each)
            cases.append(_case(row, index))
            for each in hidden:
                index.show(each)
    return cases


def _case(row: Recorded, index: WorkspaceIndex) -> Case:
    before, _, after = cut(row.source, row.start)
    language = language_for("", row.path)
    site = site_at(SyntaxDocument(before + after, language), row.start)
    found = candidates(row.result)
    truth = next(i for i, candidate in enumerate(found) if candidate.name == row.truth)
    text = before.decode("utf-8", "replace")
    prompt = build_prompt(
        path="/".join(Path(row.path).parts[-3:]),
        before=text,
        enclosing=site.enclosing_signatures,
        line_comment=language.line_comment if language is not None else "",
    )
    nearby = index.nearby(str((unpacked(row.package).resolve() / row.path).parent))
    known = listing(Surroundings.of(site, before, after, nearby=nearby, path=row.path), found, index)
    return Case(recorded=row, known=known, truth=truth, prompt=prompt, before=text)


def model_scores(cases: list[Case], blend: Blend, *, fp32: bool) -> list[dict[str, float]]:
    """log P of every shortlisted name of every case, searched to the end; kept on disk, it takes minutes."""
    from tuning.ranking.base import default_base_dir
    from tuning.ranking.scorer import Scorer

    kept = home() / f"scores-{'fp32' if fp32 else 'int8'}.json"
    known: dict[str, dict[str, float]] = json.loads(kept.read_text()) if kept.is_file() else {}
    scorer: Scorer | None = None
    out: list[dict[str, float]] = []
    for number, case in enumerate(track(cases, "model", console=console, transient=True)):
        names = sorted({case.known.candidates[i].name for i in shortlist(case.known, blend)})
        key = f"{case.recorded.package} {case.recorded.path} {case.recorded.start} {hash_text(case.prompt)}"
        row = known.get(key, {})
        missing = [name for name in names if name not in row]
        if missing:
            scorer = scorer or Scorer.load(default_base_dir(), quantize=not fp32)
            search = scorer.search("bench", case.prompt, missing)
            while not search.step(top=len(missing) if row else 12):
                pass
            search.close()
            row = {**row, **dict(zip(missing, search.bounds().tolist(), strict=True))}
            known[key] = row
        out.append(row)
        if scorer is not None and number % 20 == 19:
            kept.write_text(json.dumps(known))
    kept.write_text(json.dumps(known))
    return out


def hash_text(prompt: Prompt) -> str:
    import hashlib

    return hashlib.sha256((prompt.text + "\0" + prompt.tail).encode("utf-8", "replace")).hexdigest()[:12]


def _model_columns(case: Case, scores: dict[str, float], blend: Blend) -> tuple[np.ndarray, Floats]:
    chosen = np.array([i for i in shortlist(case.known, blend) if case.known.candidates[i].name in scores], np.intp)
    return chosen, np.array([scores[case.known.candidates[i].name] for i in chosen])


def learn(cases: list[Case], given: argparse.Namespace) -> None:
    """Fit the blend, leaving libraries out in turn to see what it is worth, then on all."""
    lists = [(case.known.columns, case.truth) for case in cases]
    groups = [case.recorded.package for case in cases]
    cross(lists, groups, (), "signals")
    signals = fit(lists)
    if given.model:
        by_signals = Blend(signals=signals, model=np.zeros(len(SIGNALS + MODEL)), stars=())
        scores = model_scores(cases[:MODEL_POSITIONS], by_signals, fp32=given.fp32)
        kept: list[tuple[Floats, int]] = []
        kept_groups: list[str] = []
        for case, row, group in zip(cases[: len(scores)], scores, groups, strict=False):
            chosen, logs = _model_columns(case, row, by_signals)
            place = np.flatnonzero(chosen == case.truth)
            if len(place):
                kept.append((with_model(case.known.columns[chosen], logs), int(place[0])))
                kept_groups.append(group)
        rising = tuple(range(len(SIGNALS), len(SIGNALS + MODEL)))
        firsts = cross(kept, kept_groups, rising, "model")
        model = fit(kept, monotone=rising)
        stars = thresholds(firsts)
    else:
        old = Blend.load()
        model, stars = old.model, old.stars
    Blend(signals=signals, model=model, stars=stars).save()
    table = Table("column", "signals", "model")
    for place, name in enumerate(SIGNALS + MODEL):
        own = f"{signals[place]:+.3f}" if place < len(signals) else ""
        table.add_row(name, own, f"{model[place]:+.3f}")
    console.print(table, f"stars from p = {stars}")


def cross(
    lists: list[tuple[Floats, int]], groups: list[str], rising: tuple[int, ...], name: str
) -> list[tuple[float, bool]]:
    """Leave a tenth of the libraries out in turn; returns each first item's p and whether it was right."""
    ranks: list[int] = []
    firsts: list[tuple[float, bool]] = []
    libraries = sorted(set(groups))
    for fold in range(FOLDS):
        out = set(libraries[fold::FOLDS])
        weights = fit([row for row, own in zip(lists, groups, strict=True) if own not in out], monotone=rising)
        for (columns, truth), own in zip(lists, groups, strict=True):
            if own in out:
                logits = columns @ weights
                p = np.exp(logits - logits.max())
                p /= p.sum()
                ranks.append(int((logits > logits[truth]).sum()))
                firsts.append((float(p.max()), ranks[-1] == 0))
    console.print(f"{name}, a tenth of the libraries left out in turn (n = {len(ranks)}): {figures(ranks)}")
    return firsts


def thresholds(firsts: list[tuple[float, bool]]) -> tuple[float, ...]:
    """p from which a first item is right 6 times in 10, and four steps above it."""
    lowest = next(
        (
            p / 100
            for p in range(20, 90)
            if (above := [right for q, right in firsts if p / 100 <= q < p / 100 + 0.1])
            and sum(above) >= 0.6 * len(above)
        ),
        0.6,
    )
    return tuple(round(lowest + step * (0.92 - lowest) / 4, 3) for step in range(5))


def evaluate(cases: list[Case], given: argparse.Namespace, language: str, positions: int) -> None:
    """The table: baselines, signals, and the model."""
    blend = Blend.load()
    scores = model_scores(cases, blend, fp32=given.fp32) if given.model else []
    rows: dict[str, list[int]] = defaultdict(list)
    starred: list[bool] = []
    for number, case in enumerate(cases):
        names = [candidate.name for candidate in case.known.candidates]
        used = IDENTIFIER.findall(case.before)
        last = {name: place for place, name in enumerate(used)}
        frequency: dict[str, int] = defaultdict(int)
        for name in used:
            frequency[name] += 1
        places = np.array([candidate.place for candidate in case.known.candidates])
        rows["alphabetical"].append(
            _rank(case, names, -np.argsort(np.argsort([n.casefold() for n in names])).astype(np.float64))
        )
        rows["wrapped server"].append(_rank(case, names, -places.astype(np.float64)))
        rows["most frequent in the file"].append(_rank(case, names, _ties([frequency[n] for n in names], places)))
        rows["most recent in the file"].append(_rank(case, names, _ties([last.get(n, -1) for n in names], places)))
        rows["index alone"].append(_rank(case, names, case.known.index.probability))
        order = ordered(case.known, blend)
        rows["Starling, signals"].append(_place(case, names, order.order))
        if scores:
            chosen, logs = _model_columns(case, scores[number], blend)
            alone = np.full(len(names), -np.inf)
            alone[chosen] = logs
            rows["model alone"].append(_rank(case, names, alone))
            order = ordered(case.known, blend, logs, chosen)
            rows["Starling, model, no deadline"].append(_place(case, names, order.order))
        if blend.rating(float(order.p.max())):
            starred.append(_place(case, names, order.order) == 0)
    found: dict[str, Any] = {name: summary(ranks) for name, ranks in rows.items()}
    if given.json:
        print(json.dumps(found, indent=2))
        return
    libraries = len({case.recorded.package for case in cases})
    median = int(np.median([len(case.known.candidates) for case in cases]))
    table = Table(
        title=f"{language}: {len(cases)} members at empty prefix ({len(cases) / positions:.0%} of {positions} lists had the truth), "
        f"{libraries} libraries, {median} candidates at the median"
    )
    for column in ("", "R@1", "R@5", "MRR"):
        table.add_column(column)
    for name, row in found.items():
        table.add_row(
            name, *(f"{row[key][0]:.3f} [{row[key][1]:.3f}, {row[key][2]:.3f}]" for key in ("R@1", "R@5", "MRR"))
        )
    console.print(table)
    console.print(f"starred first items: {len(starred)}, right {np.mean(starred) if starred else 0:.3f}")


def _ties(values: list[int], places: np.ndarray) -> Floats:
    return np.array(values, float) - places / 1e6


def _rank(case: Case, names: list[str], scores: Floats) -> int:
    """Place of the truth by falling score; equal scores count against it half the time."""
    best = max(scores[i] for i, name in enumerate(names) if name == case.recorded.truth)
    return int((scores > best).sum() + max(0, (scores == best).sum() - 1) // 2)


def _place(case: Case, names: list[str], order: np.ndarray) -> int:
    return next(place for place, i in enumerate(order) if names[i] == case.recorded.truth)


def figures(ranks: list[int]) -> str:
    return ", ".join(f"{name} {value[0]:.3f}" for name, value in summary(ranks).items())


if __name__ == "__main__":
    started = time.monotonic()
    main()
    console.print(f"{time.monotonic() - started:.0f} s", style="dim")
