"""Windows laid out as a model reads them: a row each, its tokens first, then the nodes of its lists' tries.

A node sees the prompt of its site and its own ancestors alone (tree attention), so a row scores all lists of its window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tuning.ranking.learning.windows import ListedSite, Window
from tuning.ranking.serving.model.trie import Node, build

Ints = NDArray[np.int64]
ALIGNED = 8  # a row's tokens are a multiple: attention kernels ask for it


@dataclass(frozen=True, kw_only=True)
class Laid:
    """A window as one row of t tokens, w of them its own. q rows of logits, e edges of tries, n candidates, s sites."""

    own: int  # w
    tokens: Ints  # [t]
    positions: Ints  # [t]
    prompt: Ints  # [t] how many of the window's tokens each sees
    ancestors: Ints  # [2, a] a token, and another behind the window's own that it sees, itself included
    asked: Ints  # [q] whose next token's probabilities are needed
    edges: Ints  # [2, e] a row of `asked`, and the token of a step from there
    steps: Ints  # [2, m] an edge, and a candidate whose path has it
    ends: Ints  # [n] the row of `asked` at a candidate's end
    counts: Sequence[int]  # [s] candidates
    truth: Ints  # [s]
    beside: NDArray[np.float32]  # [n]

    @classmethod
    def of(cls, window: Window) -> Laid:
        made = _Row(window)
        for site in window.sites:
            made.add(site)
        return cls(
            own=len(window.tokens),
            tokens=np.array(made.tokens, np.int64),
            positions=np.array(made.positions, np.int64),
            prompt=np.array(made.prompt, np.int64),
            ancestors=_pairs(made.ancestors),
            asked=np.array(made.asked, np.int64),
            edges=_pairs(made.edges),
            steps=_pairs(made.steps),
            ends=np.array(made.ends, np.int64),
            counts=[len(site.sequences) for site in window.sites],
            truth=np.array([site.truth for site in window.sites], np.int64),
            beside=np.array([odds for site in window.sites for odds in site.beside], np.float32),
        )


class _Row:
    def __init__(self, window: Window) -> None:
        count = len(window.tokens)
        self.tokens = list(window.tokens)
        self.positions = list(range(count))
        self.prompt = list(range(1, count + 1))
        self.ancestors: list[tuple[int, int]] = []
        self.asked: list[int] = []
        self.edges: list[tuple[int, int]] = []
        self.steps: list[tuple[int, int]] = []
        self.ends: list[int] = []

    def add(self, site: ListedSite) -> None:
        first = len(self.ends)
        self.ends += [-1] * len(site.sequences)
        root = build(dict(enumerate(site.sequences)))
        self.asked.append(site.place - 1)
        waiting: list[tuple[Node, int, list[int], list[int]]] = [(root, len(self.asked) - 1, [], [])]
        while waiting:
            node, row, path, seen = waiting.pop()
            for candidate in node.ends:
                self.ends[first + candidate] = row
                self.steps += [(edge, first + candidate) for edge in path]
            for token, child in node.children.items():
                self.edges.append((row, token))
                here = len(self.tokens)
                self.tokens.append(token)
                self.positions.append(site.place + child.depth - 1)
                self.prompt.append(site.place)
                self.asked.append(here)
                visible = [*seen, here]
                self.ancestors += [(here, other) for other in visible]
                waiting.append((child, len(self.asked) - 1, [*path, len(self.edges) - 1], visible))


@dataclass(frozen=True, kw_only=True)
class Batch:
    """b windows as rows of t tokens each. As in `Laid`, with places in the flattened rows; n candidates in all, at most k a site."""

    tokens: Tensor  # int64 [b, t]
    positions: Tensor  # int64 [b, t]
    prompt: Tensor  # int64 [b, t]
    ancestors: Tensor  # int64 [2, a]: a place in the rows, and a token of the same row
    asked: Tensor  # int64 [q]
    edges: Tensor  # int64 [2, e]
    steps: Tensor  # int64 [2, m]
    ends: Tensor  # int64 [n]
    slots: Tensor  # int64 [n]: where each candidate is in [s, k]
    truth: Tensor  # int64 [s]
    beside: Tensor  # float32 [n]
    text: Tensor  # int64 [w]: the windows' own tokens that another follows
    targets: Tensor  # int64 [w]: which
    counts: list[int]  # [s] candidates
    sites: int

    @classmethod
    def of(cls, rows: Sequence[Laid]) -> Batch:
        longest = max(len(row.tokens) for row in rows)
        size = -(-longest // ALIGNED) * ALIGNED
        tokens, positions = np.zeros((len(rows), size), np.int64), np.zeros((len(rows), size), np.int64)
        prompt = np.ones((len(rows), size), np.int64)
        for place, row in enumerate(rows):
            count = len(row.tokens)
            tokens[place, :count], positions[place, :count], prompt[place, :count] = (
                row.tokens,
                row.positions,
                row.prompt,
            )
        starts = [place * size for place in range(len(rows))]
        asked_before = _before([len(row.asked) for row in rows])
        edges_before = _before([row.edges.shape[1] for row in rows])
        candidates_before = _before([len(row.ends) for row in rows])
        counts = [count for row in rows for count in row.counts]
        widest = max(counts)
        own = [start + np.arange(row.own - 1) for start, row in zip(starts, rows, strict=True)]

        def joined(parts: Sequence[Any]) -> Tensor:
            return torch.from_numpy(np.concatenate(parts, axis=-1))

        return cls(
            tokens=torch.from_numpy(tokens),
            positions=torch.from_numpy(positions),
            prompt=torch.from_numpy(prompt),
            ancestors=joined([row.ancestors + _shift(start, 0) for start, row in zip(starts, rows, strict=True)]),
            asked=joined([row.asked + start for start, row in zip(starts, rows, strict=True)]),
            edges=joined([row.edges + _shift(before, 0) for before, row in zip(asked_before, rows, strict=True)]),
            steps=joined(
                [
                    row.steps + _shift(edge, candidate)
                    for edge, candidate, row in zip(edges_before, candidates_before, rows, strict=True)
                ]
            ),
            ends=joined([row.ends + before for before, row in zip(asked_before, rows, strict=True)]),
            slots=joined([place * widest + np.arange(count) for place, count in enumerate(counts)]),
            truth=joined([row.truth for row in rows]),
            beside=joined([row.beside for row in rows]),
            text=joined(own),
            targets=torch.from_numpy(tokens.reshape(-1)[np.concatenate(own) + 1]),
            counts=counts,
            sites=len(counts),
        )

    def to(self, device: torch.device) -> Batch:
        """The same there."""
        if self.tokens.device == device:
            return self
        moved = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(
            self,
            **{name: value.to(device, non_blocking=True) for name, value in moved.items() if isinstance(value, Tensor)},
        )

    def mask(self, dtype: torch.dtype) -> Tensor:
        """[b, 1, t, t], 0 where a token sees another, else the lowest there is."""
        size = self.tokens.shape[1]
        seen = torch.arange(size, device=self.tokens.device) < self.prompt[:, :, None]
        seen.view(-1, size)[self.ancestors[0], self.ancestors[1]] = True
        blocked = torch.full((), torch.finfo(dtype).min, dtype=dtype, device=seen.device)
        return torch.where(seen, torch.zeros_like(blocked), blocked)[:, None]

    def by_site(self, values: Tensor) -> Tensor:
        """float [s, k] of what is known of each candidate, -inf where a site has no more."""
        filled = values.new_full((self.sites * max(self.counts),), -torch.inf)
        return filled.index_copy(0, self.slots, values).view(self.sites, -1)


def _pairs(found: Sequence[tuple[int, int]]) -> Ints:
    return np.array(found, np.int64).reshape(-1, 2).T


def _before(counts: Sequence[int]) -> list[int]:
    return np.cumsum([0, *counts[:-1]]).tolist()


def _shift(first: int, second: int) -> Ints:
    """What is added to pairs, as a column."""
    return np.array([[first], [second]], np.int64)
