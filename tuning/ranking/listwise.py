"""The ranker's objective: of the names in a list, the one that was written should be the likeliest (ListNet's top-one
cross-entropy, Cao et al. 2007), by the very scores that `scorer` searches for: log P of a name's tokens and of an end after them.

All lists of a window are scored in one forward pass: their tries' nodes stand behind the window's tokens, each seeing the
prompt of its site and its own ancestors alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tuning.errors import TrainingError
from tuning.ranking.trie import Node, build
from tuning.ranking.windows import ListedSite, Window
from tuning.training.cross_entropy import chunked_cross_entropy
from tuning.training.objective import Parts, parts


@dataclass(frozen=True, kw_only=True)
class Listwise:
    """`loss(model, windows)` for `tuning.training.loop.train`: sum over sites, and how many.

    `ending`: bool [vocabulary], the tokens that can't continue an identifier. `text`: the weight of plain next-token loss over the
    window (a mean over its tokens), which keeps the model one of text. `beside`: what share of the signals' log-odds is added to the
    model's scores, so that it learns what they don't know.
    """

    ending: Tensor
    text: float = 0.1
    beside: float = 0.0

    def __call__(self, model: Any, batch: Sequence[Window]) -> tuple[Tensor, int]:
        taken = parts(model)
        if taken is None:
            raise TrainingError(f"{type(model).__name__} has no head of its own: it can't be trained to rank")
        total, count = torch.zeros((), device=self.ending.device), 0
        for window in batch:
            hidden, scored = self._scored(taken, window)
            for site, scores in zip(window.sites, scored, strict=True):
                odds = scores + self.beside * scores.new_tensor(site.beside)
                total = total + functional.cross_entropy(odds[None], torch.tensor([site.truth], device=odds.device))
                count += 1
            if self.text:
                ids = torch.tensor(window.tokens, device=hidden.device)
                own = hidden[: len(ids) - 1]
                summed = chunked_cross_entropy(own, ids[1:], taken.head, after=taken.after)
                total = total + self.text * len(window.sites) * summed / max(1, len(own))
        return total, count

    def scores(self, model: Any, window: Window) -> list[Tensor]:
        """log P of each candidate of each site, float32 [candidates] a site."""
        taken = parts(model)
        assert taken is not None
        return self._scored(taken, window)[1]

    def _scored(self, taken: Parts, window: Window) -> tuple[Tensor, list[Tensor]]:
        device = self.ending.device
        laid = Laid.of(window)
        hidden: Tensor = taken.backbone(
            input_ids=torch.tensor([laid.tokens], device=device),
            position_ids=torch.tensor([laid.positions], device=device),
            attention_mask=laid.mask(device)[None, None],
            use_cache=False,
        )[0][0]
        logits: Tensor = taken.head(hidden[torch.tensor(laid.asked, device=device)])
        logits = (logits if taken.after is None else taken.after(logits)).float()
        log_sum = logits.logsumexp(-1)
        ended = logits[:, self.ending].logsumexp(-1) - log_sum
        rows, tokens = torch.tensor(laid.edges, device=device).reshape(-1, 2).T
        edges = logits[rows, tokens] - log_sum[rows]
        found: list[Tensor] = []
        for names in laid.names:
            paths = [edges[torch.tensor(path, device=device)].sum() + ended[end] for path, end in names]
            found.append(torch.stack(paths))
        return hidden, found


@dataclass(frozen=True, kw_only=True)
class Laid:
    """A window as one row: its tokens, then the nodes of its lists' tries. t tokens in all."""

    tokens: list[int]  # [t]
    positions: list[int]  # [t]
    prompt: list[int]  # [t] how many of the window's tokens each sees
    ancestors: list[list[int]]  # [t] which others it sees, itself included
    asked: list[int]  # whose next token's probabilities are needed
    edges: list[tuple[int, int]]  # (row of `asked`, token): each step of a path
    names: list[list[tuple[list[int], int]]]  # of each site's candidates: the steps of its path, and the row of its end

    @classmethod
    def of(cls, window: Window) -> Laid:
        count = len(window.tokens)
        laid = cls(
            tokens=list(window.tokens),
            positions=list(range(count)),
            prompt=list(range(1, count + 1)),
            ancestors=[[] for _ in range(count)],
            asked=[],
            edges=[],
            names=[],
        )
        for site in window.sites:
            laid._add(site)
        return laid

    def _add(self, site: ListedSite) -> None:
        root = build(dict(enumerate(site.sequences)))
        self.asked.append(site.place - 1)
        of_names: dict[int, tuple[list[int], int]] = {}
        waiting: list[tuple[Node, int, list[int], list[int]]] = [(root, len(self.asked) - 1, [], [])]
        while waiting:
            node, row, steps, seen = waiting.pop()
            for candidate in node.ends:
                of_names[candidate] = (steps, row)
            for token, child in node.children.items():
                self.edges.append((row, token))
                here = len(self.tokens)
                self.tokens.append(token)
                self.positions.append(site.place + child.depth - 1)
                self.prompt.append(site.place)
                self.ancestors.append([*seen, here])
                self.asked.append(here)
                step = [*steps, len(self.edges) - 1]
                waiting.append((child, len(self.asked) - 1, step, self.ancestors[here]))
        self.names.append([of_names[candidate] for candidate in range(len(site.sequences))])

    def mask(self, device: torch.device) -> Tensor:
        """float32 [t, t], 0 where a token sees another, else the lowest there is."""
        size = len(self.tokens)
        places = torch.arange(size, device=device)
        seen = places[None, :] < torch.tensor(self.prompt, device=device)[:, None]
        for place, ancestors in enumerate(self.ancestors):
            if ancestors:
                seen[place, ancestors] = True
        return torch.where(seen, 0.0, torch.finfo(torch.float32).min)
