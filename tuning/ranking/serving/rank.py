"""One list ranked: site, candidates, index and (perhaps) model scores in, order and probabilities out.

Never adds or drops a candidate. Knows nothing of time: who calls decides how long the model may work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corpus.syntax.candidate import Candidate, matches
from corpus.syntax.site import CompletionSite
from corpus.syntax.tokens import Tokens, hash_names, name_ids, tokenize
from corpus.usage.table import Evidence
from tuning.ranking.serving.blend import Blend
from tuning.ranking.serving.features import Floats, signals, with_model
from tuning.ranking.serving.index.repeats import Nearby, Repeats, columns
from tuning.ranking.serving.index.similar import NONE, Similar
from tuning.ranking.serving.index.workspace_index import FileContext, IndexScores, WorkspaceIndex
from tuning.ranking.serving.usage import Usage
from tuning.ranking.serving.usage import columns as usage_columns
from tuning.ranking.serving.wording import Wording

MODEL_LIST = 192  # candidates that the model looks at: the best by signals


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Candidates at a site with everything known of them but the model's opinion. n candidates."""

    site: CompletionSite
    candidates: Sequence[Candidate]
    index: IndexScores
    usage: Evidence | None  # of other projects
    written: str  # where these write the names that they do, in words; "" where that says nothing
    columns: Floats  # float64[n, signals]
    fitting: NDArray[np.bool_]  # which candidates match the typed prefix

    @property
    def for_model(self) -> NDArray[np.intp]:
        """Indices of the candidates that the model can score."""
        return np.array([i for i in np.flatnonzero(self.fitting).tolist() if self.candidates[i].name], np.intp)


@dataclass(frozen=True, kw_only=True)
class Order:
    """Candidate indices, best first, and the probability of each one's name (0 where the typed prefix rules it out): overloads share it."""

    order: NDArray[np.intp]
    p: Floats


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """The text around a site, read once; worth keeping while the wrapped server works."""

    site: CompletionSite
    context: FileContext
    nearby: Repeats
    similar: Similar
    usage: Usage
    wording: Wording

    @classmethod
    def of(
        cls,
        site: CompletionSite,
        before: bytes,
        after: bytes,
        tokenizer: Callable[[bytes], Tokens] = tokenize,
        *,
        nearby: Nearby,
        path: str = "",
        own_usage: str = "",
    ) -> Surroundings:
        """`before` ends where the identifier starts; `after` begins on the next line; `path` is the file's, `nearby`
        the files around it, `own_usage` the folder with usage tables of the user's own projects ("" for none).
        """
        function = site.enclosing[-1] if site.enclosing else ""
        context = FileContext.of(before, after, tokenizer)
        return cls(
            site=site,
            context=context,
            nearby=nearby.repeats(context.tail),
            similar=nearby.names_of_files.like(context.ids) if site.kind == "import" else NONE,
            usage=Usage.of(site, before, own_usage),
            wording=Wording.of(before, site.receiver, function, after=after, path=path),
        )


def listing(around: Surroundings, candidates: Sequence[Candidate], index: WorkspaceIndex) -> Listing:
    """Everything known of a list, but the model's opinion."""
    site = around.site
    names = [candidate.name for candidate in candidates]
    hashes = hash_names(names)
    scores = index.score(around.context, hashes)
    ids = name_ids(hashes)
    repeated = columns(ids, around.context.repeats, around.nearby)
    usage = around.usage.evidence(ids)
    prefix = site.prefix.casefold()
    fitting = np.ones(len(names), bool)
    if prefix:
        fitting[:] = [matches(name.casefold(), prefix) for name in names]
    if not fitting.any():  # the prefix filters by something that we do not see: leave that to the editor
        fitting[:] = True
    text = {**around.wording.columns(names), **repeated, **around.similar.columns(ids)}
    text |= usage_columns(usage, site, scores, fitting)
    return Listing(
        site=site,
        candidates=candidates,
        index=scores,
        usage=usage,
        written=around.usage.where(site, usage),
        columns=signals(site, candidates, scores, text),
        fitting=fitting,
    )


def shortlist(found: Listing, blend: Blend) -> NDArray[np.intp]:
    """The candidates for the model, at most MODEL_LIST, likeliest first."""
    chosen = found.for_model
    return chosen[np.argsort(-blend.scores(found.columns[chosen], found.site.kind), kind="stable")][:MODEL_LIST]


def ordered(found: Listing, blend: Blend, model: Floats | None = None, scored: NDArray[np.intp] | None = None) -> Order:
    """The order by signals, or with the model's log P (float64[m]) of the `scored` candidates."""
    n = len(found.candidates)
    logits = blend.scores(found.columns, found.site.kind)
    if model is not None and scored is not None and len(scored):
        blended = blend.scores(with_model(found.columns[scored], model), found.site.kind)
        rest = np.setdiff1d(np.arange(n), scored, assume_unique=True)
        ceiling = blended.min()
        # What the model was not asked about stays behind what it was, in the order of the signals.
        logits[rest] += min(0.0, ceiling - logits[rest].max(initial=-np.inf) - 1e-6) if len(rest) else 0.0
        logits[scored] = blended
    shifted = np.where(found.fitting, logits, -np.inf)
    odds = np.exp(shifted - shifted.max())
    names = [candidate.name for candidate in found.candidates]
    last = {name: i for i, name in enumerate(names)}  # overloads have one name
    named = np.fromiter((last[name] for name in names), np.intp, n)
    best = np.zeros(n)
    np.maximum.at(best, named, odds)
    places = np.fromiter((candidate.place for candidate in found.candidates), np.int64, n)
    order = np.lexsort((places, -logits, ~found.fitting))
    return Order(order=order, p=np.where(found.fitting, best[named], 0.0) / best.sum())


def outranked_imports(found: Listing, order: Order) -> list[int]:
    """Candidates that are just what was typed, bring an import along, and are not first.

    Editors put what equals the typed word before all else, so a letter alone would put each one-letter name of any library there.
    """
    typed = found.site.prefix.casefold()
    first = int(order.order[0]) if len(order.order) else -1
    return [
        i
        for i, candidate in enumerate(found.candidates)
        if typed and i != first and candidate.edits_elsewhere and candidate.name.casefold() == typed
    ]
