"""A trie of token sequences: candidates that begin alike share the tokens they begin with. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

TOP = 10  # so many best names are sure when a search is over


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


def certain(bounds: NDArray[np.float64], exact: NDArray[np.bool_], top: int = TOP) -> bool:
    """Whether the `top` best are known: float64[n] upper bounds of log P, and which are exact."""
    sure = np.sort(bounds[exact])[::-1]
    return bool(exact.all() or (len(sure) >= top and sure[top - 1] >= bounds[~exact].max()))
