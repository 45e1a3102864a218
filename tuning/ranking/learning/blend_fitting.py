"""The blend learned from recorded lists, and judged by leaving repositories out.

A sample is a list cut down to what matters: the truth, the candidates that the blend so far thinks likeliest, and some of the
others. Each kind of site has weights of its own.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tuning.ranking.evaluating.cases import Case
from tuning.ranking.serving.blend import KINDS, Blend, fit, weighed_as
from tuning.ranking.serving.features import MODEL, SIGNALS, Floats, with_model
from tuning.ranking.serving.model.prompt import Prompt
from tuning.ranking.serving.rank import shortlist

LIKELY, OTHERS = 40, 20
FOLDS = 5
STEPS = 400
ENOUGH = 100  # lists of a kind
DRAWN = 0.03  # l2 towards the weights before; a third of it and three times as much gave the same, lists left out
RIGHT = 0.6  # how often an item with one star should be right

# What is left out in turn to see what it is worth: which columns each is, also where they count anew for `self`.
GROUPS: Mapping[str, re.Pattern[str]] = {
    name: re.compile(rf"(place_by_|self_)?({columns})")
    for name, columns in {
        "this file's and the workspace's names (index)": "index|receiver_|uses_|used_member|decayed_|recency|following",
        "repeats of what stands before the cursor": "repeat|alike",
        "files like this one, at imports": "similar_",
        "usage in other projects": "usage",
        "words around it": "named_by_|line_names|function_names|stands_after",
        "text after the cursor, as words": "named_by_lines_after|stands_after",
        "scopes": "visible|scope_distance|parameter|own_member",
        "the wrapped server's order": r"order$|first$",
        "kinds, deprecation, edits elsewhere, expected type": "kind_|deprecated|edits_elsewhere|expected",
        "how a name is written": r"private|dunder|type_like|constant",
    }.items()
}

ScoreNames = Callable[[Prompt, Sequence[str]], Floats]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One list, cut down. c candidates."""

    columns: NDArray[np.float32]  # [c, signals], or with the model's
    truth: int
    kind: str
    named: str  # the class that figures are given by
    language: str
    group: str  # its repository


def samples(found: Iterable[Case], blend: Blend, model: ScoreNames | None = None, *, seed: int = 0) -> Iterator[Sample]:
    """A sample of each case that fits; with `model` (log P of names after a prompt, NaN: not asked), of those that it could rank."""
    for case in found:
        row, known = case.recorded, case.known
        kind = weighed_as(known.site.kind)
        if model is not None:
            chosen = shortlist(known, blend)
            logs = model(case.prompt, [known.candidates[i].name for i in chosen])
            chosen, logs = chosen[~np.isnan(logs)], logs[~np.isnan(logs)]
            if not case.is_truth[chosen].any():
                continue
            columns, is_truth = with_model(known.columns[chosen], logs), case.is_truth[chosen]
        else:
            columns, is_truth = known.columns[known.fitting], case.is_truth[known.fitting]
            if not is_truth.any():
                continue
        scores = blend.scores(columns[:, : len(SIGNALS)], kind)
        truth = int(np.flatnonzero(is_truth)[scores[is_truth].argmax()])  # of overloads the best
        others = np.flatnonzero(~is_truth)
        others = others[np.argsort(-scores[others], kind="stable")]
        far = others[LIKELY:].tolist()
        chance = random.Random(f"{seed}/{row.repository}/{row.path}/{row.offset}")
        kept = [truth, *others[:LIKELY].tolist(), *chance.sample(far, min(OTHERS, len(far)))]
        yield Sample(
            columns=columns[kept].astype(np.float32),
            truth=0,
            kind=kind,
            named=row.named,
            language=row.language,
            group=row.repository,
        )


def fitted(found: Sequence[Sample], before: Mapping[str, Floats]) -> dict[str, Floats]:
    """The signals' weights by kind of site, drawn to those `before`: these were learned from servers and languages that may not be here again."""
    of_kind: dict[str, Floats] = {}
    for kind in KINDS:
        here = [(sample.columns, sample.truth) for sample in found if sample.kind == kind]
        enough = len(here) >= ENOUGH
        of_kind[kind] = fit(here, toward=before[kind], l2=DRAWN, steps=STEPS) if enough else before[kind]
    return of_kind


def fitted_model(
    found: Sequence[Sample], signals: Mapping[str, Floats], old: Mapping[str, Floats]
) -> dict[str, Floats]:
    """Weights with a model, by kind of site: how much all that signals say counts, and each of the model's columns. Five numbers a kind,
    since far fewer lists have a model's scores; with every column free, lists left out lose up to 0.015 of R@1.
    """
    of_kind: dict[str, Floats] = {}
    for kind in KINDS:
        here = [(_in_one(sample.columns, signals[kind]), sample.truth) for sample in found if sample.kind == kind]
        if len(here) < ENOUGH:
            of_kind[kind] = old[kind]
            continue
        toward = np.array([1.0, *[0.0] * len(MODEL)])
        scale, *own = fit(here, monotone=range(1, 1 + len(MODEL)), toward=toward, l2=0.001, steps=STEPS)
        of_kind[kind] = np.concatenate([signals[kind] * scale, own])
    return of_kind


def _in_one(columns: NDArray[np.float32], signals: Floats) -> NDArray[np.float32]:
    """The signals' score as one column, beside the model's: float32[c, 1 + model's]."""
    score = columns[:, : len(SIGNALS)] @ signals
    return np.concatenate([score[:, None], columns[:, len(SIGNALS) :]], axis=1).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What weights that never saw a sample's repository made of it."""

    rank: int
    p: float  # of the first item
    named: str
    language: str


def left_out(
    found: Sequence[Sample], learn: Callable[[Sequence[Sample], Collection[str]], Mapping[str, Floats]]
) -> list[Judged]:
    """Each sample judged by the weights that `learn` makes of the samples without its repository and others of its fold, which it is told."""
    judged: list[Judged] = []
    for learned, apart, out in folds(found):
        weights = learn(learned, out)
        judged += [judge(sample, weights) for sample in apart]
    return judged


def folds(found: Sequence[Sample]) -> Iterator[tuple[list[Sample], list[Sample], Collection[str]]]:
    """FOLDS times: the samples to learn from, those to judge on, and whose repositories these are. Each is judged on once."""
    groups = sorted({sample.group for sample in found})
    random.Random(0).shuffle(groups)
    for fold in range(min(FOLDS, len(groups))):
        out = set(groups[fold::FOLDS])
        learned = [sample for sample in found if sample.group not in out]
        yield learned, [sample for sample in found if sample.group in out], out


def columns_of(group: str) -> list[int]:
    """Which columns a group of GROUPS is, with a model's; what mixes the model with the index goes with the index."""
    names = (*SIGNALS, *MODEL)
    mixed = ("mixture", "agreement") if GROUPS[group].match("index") else ()
    return [place for place, name in enumerate(names) if GROUPS[group].match(name) or name in mixed]


def without(found: Sequence[Sample], group: str) -> list[Sample]:
    """The samples as they would be if nothing were known of a group of GROUPS."""
    gone = columns_of(group)
    kept: list[Sample] = []
    for sample in found:
        columns = sample.columns.copy()
        columns[:, [place for place in gone if place < columns.shape[1]]] = 0
        kept.append(replace(sample, columns=columns))
    return kept


def weights_without(weights: Mapping[str, Floats], group: str) -> dict[str, Floats]:
    """The weights with none left for a group."""
    gone = columns_of(group)
    return {kind: np.where(np.isin(np.arange(len(vector)), gone), 0.0, vector) for kind, vector in weights.items()}


def judge(sample: Sample, weights: Mapping[str, Floats]) -> Judged:
    logits = sample.columns @ weights[sample.kind]
    odds = np.exp(logits - logits.max())
    rank = int((logits > logits[sample.truth]).sum())
    return Judged(rank=rank, p=float(odds.max() / odds.sum()), named=sample.named, language=sample.language)


def stars(judged: Sequence[Judged]) -> tuple[float, ...]:
    """p from which a first item is right RIGHT of the time, and four steps above it."""
    lowest = RIGHT
    for p in np.arange(0.2, 0.9, 0.01).tolist():
        near = [one.rank == 0 for one in judged if p <= one.p < p + 0.1]
        if near and sum(near) >= RIGHT * len(near):
            lowest = p
            break
    return tuple(round(lowest + step * (0.92 - lowest) / 4, 3) for step in range(5))
