"""A trie of token sequences: candidates that begin alike share the tokens they begin with. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

TOP = 10  # so many best names are sure when a search is over
DROP = 0.7  # of log P, a token: about what the next tokens of names cost


@dataclass(eq=False, slots=True)
class Node:
    """One token after a path of tokens. The root has no token and depth 0."""

    token: int
    parent: Node | None
    depth: int
    children: dict[int, Node] = field(default_factory=dict)
    ends: list[int] = field(default_factory=list)  # candidates that end here
    below: list[int] = field(default_factory=list)  # candidates that end here or further down
    log_p: float = 0.0  # of the path up to and with this token; known when `parent` was expanded
    slot: int = -1  # where its keys and values lie behind the prompt's; known when expanded


def build(sequences: Mapping[int, Sequence[int]]) -> Node:
    """The trie of each candidate's sequence; empty ones end at the root."""
    root = Node(token=-1, parent=None, depth=0)
    for candidate, sequence in sequences.items():
        node = root
        node.below.append(candidate)
        for token in sequence:
            child = node.children.get(token)
            if child is None:
                child = node.children[token] = Node(token=token, parent=node, depth=node.depth + 1)
            node = child
            node.below.append(candidate)
        node.ends.append(candidate)
    return root


def path_of(root: Node, sequence: Sequence[int]) -> list[Node]:
    """The nodes of a sequence in a trie that has it, the root excepted."""
    path: list[Node] = []
    node = root
    for token in sequence:
        node = node.children[token]
        path.append(node)
    return path


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What a search knows so far of n names."""

    bounds: NDArray[np.float64]  # [n] log P where `exact`, else an upper bound
    exact: NDArray[np.bool_]  # [n]
    left: NDArray[np.int64]  # [n] tokens of a name, its end among them, that nothing is known of yet

    @property
    def likely(self) -> NDArray[np.float64]:
        """[n] log P as far as it can be told by now: each token that is left costs what such tokens cost."""
        return self.bounds - DROP * self.left

    def certain(self, top: int = TOP, *, among: Sequence[int] | None = None) -> bool:
        """Whether the `top` best are known, of all or of some names."""
        chosen = slice(None) if among is None else among
        bounds, exact = self.bounds[chosen], self.exact[chosen]
        sure = np.sort(bounds[exact])[::-1]
        return bool(exact.all() or (len(sure) >= top and sure[top - 1] >= bounds[~exact].max()))
