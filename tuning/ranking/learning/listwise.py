"""The ranker's objective: of the names in a list, the one that was written should be the likeliest (ListNet's top-one
cross-entropy, Cao et al. 2007), by the very scores that `scorer` searches for: log P of a name's tokens and of an end after them.

All lists of several windows are scored in one forward pass: see `laying`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tuning.errors import TrainingError
from tuning.ranking.learning.batch_layout import Batch
from tuning.training.cross_entropy import chunked_cross_entropy
from tuning.training.objective import Parts, parts

CHUNK = {"cpu": 128}  # text tokens whose logits are held at once
LARGE_CHUNK = 4096  # where launching a kernel takes longer than running it


@dataclass(frozen=True, kw_only=True)
class Listwise:
    """`loss(model, batch)` for `tuning.training.loop.train`, with `collate=Batch.of`: sum over sites, and how many.

    `ending`: bool [vocabulary], the tokens that can't continue an identifier; on the model's device. `text`: the weight of plain
    next-token loss (a mean over the batch's tokens), which keeps the model one of text. `beside`: what share of the signals' log-odds
    is added to the model's scores, so that it learns what they don't know.
    """

    ending: Tensor
    text: float = 0.1
    beside: float = 0.0

    def __call__(self, model: Any, batch: Batch) -> tuple[Tensor, int]:
        taken = _taken(model)
        batch = batch.to(self.ending.device)
        hidden, scores = self._scored(taken, batch)
        total = functional.cross_entropy(
            batch.by_site(scores + self.beside * batch.beside), batch.truth, reduction="sum"
        )
        if self.text and len(batch.text):
            summed = chunked_cross_entropy(
                hidden[batch.text],
                batch.targets,
                taken.head,
                after=taken.after,
                chunk=CHUNK.get(hidden.device.type, LARGE_CHUNK),
            )
            total = total + self.text * batch.sites * summed / len(batch.text)
        return total, batch.sites

    def scores(self, model: Any, batch: Batch) -> Sequence[Tensor]:
        """log P of each candidate of each site, float32 [candidates] a site."""
        batch = batch.to(self.ending.device)
        return self._scored(_taken(model), batch)[1].split(batch.counts)

    def _scored(self, taken: Parts, batch: Batch) -> tuple[Tensor, Tensor]:
        """Hidden states [rows x tokens, dimensions], and log P [candidates of all sites]."""
        device = batch.tokens.device
        dtype = next(taken.backbone.parameters()).dtype
        if torch.is_autocast_enabled(device.type):
            dtype = torch.get_autocast_dtype(device.type)
        hidden: Tensor = taken.backbone(
            input_ids=batch.tokens, position_ids=batch.positions, attention_mask=batch.mask(dtype), use_cache=False
        )[0].flatten(0, 1)
        logits: Tensor = taken.head(hidden[batch.asked])
        logits = (logits if taken.after is None else taken.after(logits)).float()
        log_sum = logits.logsumexp(-1)
        ended = logits.index_select(1, self.ending.nonzero()[:, 0]).logsumexp(-1) - log_sum  # a mask's gradient is slow
        rows, tokens = batch.edges
        edges = logits[rows, tokens] - log_sum[rows]
        of_edge, of_candidate = batch.steps
        return hidden, ended[batch.ends].index_add(0, of_candidate, edges[of_edge])


def _taken(model: Any) -> Parts:
    taken = parts(model)
    if taken is None:
        raise TrainingError(f"{type(model).__name__} has no head of its own: it can't be trained to rank")
    return taken
