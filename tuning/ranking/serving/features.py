"""What is known of each candidate at a site, as numbers. One column a fact; blending them is `blend.py`'s work.

The same columns live and in fitting. Reads candidates and site; changes neither.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from corpus.syntax.candidate import Candidate
from corpus.syntax.site import CompletionSite
from tuning.ranking.serving.index.context import DECAYS
from tuning.ranking.serving.index.workspace_index import IndexScores

Floats = NDArray[np.float64]

# CompletionItemKind (LSP 3.17) by what a programmer would call them.
KIND_GROUPS = {
    "callable": frozenset((2, 3, 4)),
    "data": frozenset((5, 6, 10, 12, 20, 21)),
    "type": frozenset((7, 8, 13, 22, 25)),
    "module": frozenset((9, 17, 19)),
    "keyword": frozenset((14,)),
    "text": frozenset((1, 15)),
}
FLOOR = 1e-9
_SHAPES = ("private", "dunder", "type_like", "constant")
WORDS = re.compile(r"\w+")

# Columns whose order within the list counts beside their size: 1 / place, so that the first stand out.
_PLACED = (
    "index", "index_confident", "index_file", "index_workspace", "decayed_2_1000", "decayed_4_2000", "recency",
    "receiver_file", "repeat", "alike",
)  # fmt: skip
_COLUMNS = (
    "index", "index_file", "index_workspace", "index_confident", "receiver_file", "receiver_workspace", "uses_file",
    "uses_workspace", "used_member", "recency", *(f"decayed_{order}_{tokens}" for order, tokens in DECAYS),
    "following", "order", "first", "private", "dunder", "type_like", "constant", "own_member", "visible",
    "scope_distance", "parameter", "deprecated", "edits_elsewhere", "expected", "named_by_nearest", "named_by_line",
    "line_names", "named_by_lines_before", "named_by_receiver", "named_by_function", "function_names",
    "named_by_lines_after", "stands_after", "named_by_file", "repeat_file", "repeats_file", "alike_file", "alikes_file",
    "repeat_nearby", "repeats_nearby", "alike_nearby", "alikes_nearby", "similar_best", "similar_lift",
    "usage_share", "usage_projects", "usage_place", "usage_chance", *(f"kind_{name}" for name in KIND_GROUPS), *(f"place_by_{name}" for name in _PLACED),
)  # fmt: skip
# Columns that count anew where the receiver is the instance itself: its class's own state is another matter than a library.
_FOR_SELF = (
    "index", "index_file", "index_workspace", "index_confident", "receiver_workspace", "uses_workspace", "recency",
    "decayed_1_200", "decayed_2_200", "decayed_4_2000", "following", "own_member", "named_by_line", "line_names",
    "named_by_lines_before", "named_by_function", "kind_callable", "kind_data", "order", "private",
)  # fmt: skip
SIGNALS = (*_COLUMNS, *(f"self_{name}" for name in _FOR_SELF))
MODEL = ("model", "chance", "mixture", "agreement")


def log_softmax(logits: Floats) -> Floats:
    """Normalise over the list, float64[n]."""
    shifted = logits - logits.max(initial=-np.inf)
    return shifted - np.log(np.exp(shifted).sum())


def signals(
    site: CompletionSite, candidates: Sequence[Candidate], index: IndexScores, text: Mapping[str, Floats]
) -> Floats:
    """float64[n, len(SIGNALS)], the columns in the order of SIGNALS. `text`: those of `wording`, `repeats`, `similar` and `usage`."""
    n = len(candidates)
    names = [candidate.name for candidate in candidates]
    shapes = np.array([_shape(name) for name in names], np.float64).reshape(n, len(_SHAPES))
    file, workspace = _probabilities(index.file), _probabilities(index.workspace)
    local = index.local
    places = np.fromiter((candidate.place for candidate in candidates), np.float64, n)
    kinds = np.fromiter((candidate.kind for candidate in candidates), np.int64, n)
    columns: dict[str, object] = {
        "index": np.log(_probabilities(index.probability)),
        "index_file": np.log(file),
        "index_workspace": np.log(workspace),
        "index_confident": np.log(confident_mixture(file, workspace)),
        "receiver_file": np.log1p(index.receiver_file),
        "receiver_workspace": np.log1p(index.receiver_workspace),
        "uses_file": np.log1p(local.orders[0]),
        "uses_workspace": np.log1p(index.workspace_uses),
        "used_member": local.orders[1] > 0,
        "recency": -np.log1p(np.minimum(local.last_use, 100_000)) / 10,
        "following": np.log1p(local.following),
        "order": -np.log1p(places),
        "first": places == 0,
        **dict(zip(_SHAPES, shapes.T, strict=True)),
        "own_member": [name in site.own_members for name in names] if site.own_members else np.zeros(n),
        **_visible(site, names),
        "deprecated": [candidate.deprecated for candidate in candidates],
        "edits_elsewhere": [candidate.edits_elsewhere for candidate in candidates],
        "expected": _names_type(candidates, site.expected_type),
    }
    for (order, tokens), uses in zip(DECAYS, local.decayed, strict=True):
        columns[f"decayed_{order}_{tokens}"] = np.log1p(uses)
    columns |= text
    for name, group in KIND_GROUPS.items():
        columns[f"kind_{name}"] = np.isin(kinds, list(group))
    for name in _PLACED:
        columns[f"place_by_{name}"] = reciprocal_places(np.asarray(columns[name], np.float64))
    matrix = np.empty((n, len(SIGNALS)))
    for column, name in enumerate(_COLUMNS):
        matrix[:, column] = np.asarray(columns[name], np.float64)
    for_self = [_COLUMNS.index(name) for name in _FOR_SELF]
    matrix[:, len(_COLUMNS) :] = matrix[:, for_self] * site.receiver_is_self
    return matrix


def _visible(site: CompletionSite, names: Sequence[str]) -> dict[str, Floats]:
    """float64[n] each: what is known of the names that the scopes around the site define. A member has none of it."""
    columns = {name: np.zeros(len(names)) for name in ("visible", "scope_distance", "parameter")}
    found = (
        [(i, site.visible[name]) for i, name in enumerate(names) if name in site.visible] if not site.receiver else []
    )
    for i, visible in found:
        columns["visible"][i] = 1
        columns["scope_distance"][i] = -np.log1p(visible.distance)
        columns["parameter"][i] = visible.kind == "parameter"
    return columns


def _names_type(candidates: Sequence[Candidate], expected: str | None) -> Floats:
    """float64[n]: 1 where a candidate's detail names the type that the site expects."""
    if not expected:
        return np.zeros(len(candidates))
    return np.array([bool(one.detail) and expected in WORDS.findall(one.detail) for one in candidates], np.float64)


def reciprocal_places(values: Floats) -> Floats:
    """float64[n]: 1 for the largest value, 1/2 for the next …; equal values share the better place."""
    return 1 / (1 + np.searchsorted(np.sort(-values), -values))


def confident_mixture(*estimates: Floats) -> Floats:
    """Probabilities over one list, float64[n] each, mixed by how sure each is: weights are exp(-entropy)."""
    weights = [np.exp(np.sum(p * np.log(p))) for p in estimates]
    return sum((w * p for w, p in zip(weights, estimates, strict=True)), np.zeros(len(estimates[0]))) / sum(weights)


def _probabilities(scores: Floats) -> Floats:
    """float64[n], none of them 0, their sum 1."""
    floored = np.maximum(scores, FLOOR)
    return floored / floored.sum()


def with_model(matrix: Floats, model: Floats) -> Floats:
    """The signals with the model's columns beside them; `model` is log P of each candidate, float64[n].

    All four columns rise with a candidate's own log P, so weights that are not negative keep the blend monotone.
    """
    lm = log_softmax(model)
    index = matrix[:, SIGNALS.index("index")]
    mixture = np.logaddexp(lm, index) - np.log(2)
    agreement = np.minimum(lm, index)
    return np.hstack([matrix, np.stack([lm, np.exp(lm), mixture, agreement], axis=1)])


@lru_cache(maxsize=50_000)
def _shape(name: str) -> tuple[bool, ...]:
    """What a name's letters alone say, in the order of _SHAPES."""
    dunder = len(name) > 4 and name.startswith("__") and name.endswith("__")
    private = name.startswith("_") and not dunder
    return private, dunder, name[:1].isupper(), len(name) > 1 and name.isupper()
