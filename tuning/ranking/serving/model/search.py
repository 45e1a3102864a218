"""The best-first search over a trie of names. It says which nodes to ask a model for, and takes the answers; knows no model.

A path's log P only falls, so what is known of it is an upper bound for each name below, and the search may stop at any time.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from tuning.ranking.serving.model.trie import TOP, Node, Scores, build, path_of


class Following(Protocol):
    """What may follow each of some nodes, by row."""

    def log_p(self, row: int, tokens: Sequence[int]) -> list[float]:
        """log P of each token."""
        ...

    def ends(self, row: int) -> float:
        """log P that the identifier ends here."""
        ...


class TrieSearch:
    """Scores of names: bounds first, exact in the end. `sequence` gives a name's tokens; `known` scores are not computed again."""

    def __init__(
        self, names: Sequence[str], known: Mapping[str, float], sequence: Callable[[str], Sequence[int]]
    ) -> None:
        self._bounds = np.array([known.get(name, 0.0) for name in names])
        self._exact = np.array([name in known for name in names], bool)
        sequences = {i: sequence(names[i]) for i in np.flatnonzero(~self._exact).tolist()}
        self._tokens = np.array([len(sequences.get(i, ())) for i in range(len(names))], np.int64)
        self._left = np.where(self._exact, 0, self._tokens + 1)
        self.root = build(sequences)
        self._paths = [path_of(self.root, each) for each in sequences.values()]
        self._asked: set[int] = set()  # ids of nodes that were given out: their answers came, or are on the way
        self._frontier: list[tuple[float, int, Node]] = []
        self._pushed = 0

    def begin(self, first: Following, read: Sequence[tuple[int, int]], following: Following) -> dict[int, Node]:
        """What follows the root, and each of the nodes that were read before names were known, by row.

        `read`: a token, and the row of its parent (-1: the root); parents come first. Returns the names' nodes among them, by row.
        """
        nodes: dict[int, Node] = {}
        for row, (token, parent) in enumerate(read):
            above = self.root if parent < 0 else nodes.get(parent)
            if above is not None and token in above.children:
                nodes[row] = above.children[token]
        self._asked |= {id(node) for node in nodes.values()}
        self.take([self.root], first)
        for row, node in nodes.items():
            self._take(node, row, following)
        return nodes

    def batch(self, size: int) -> list[Node]:
        """The nodes to ask for next, parents before children: the likeliest, then those on the way to the first names.

        Names come in the order of what else is known of them. A pass over one node costs half of one over eight, and the first one
        would have the punctuation before the names alone. The root is never among them.
        """
        nodes = [heapq.heappop(self._frontier)[2] for _ in range(min(size, len(self._frontier)))]
        taken = {id(node) for node in nodes}
        for path in self._paths if len(nodes) < size else ():
            missing = [node for node in path if id(node) not in self._asked and id(node) not in taken]
            if len(nodes) + len(missing) > size:
                break
            nodes += missing
            taken |= {id(node) for node in missing}
        self._asked |= taken
        if len(nodes) > 1:
            self._frontier = [entry for entry in self._frontier if id(entry[2]) not in taken]
            heapq.heapify(self._frontier)
        return nodes

    def take(self, nodes: Sequence[Node], following: Following) -> None:
        """What follows each of these nodes, by row; parents before children."""
        for row, node in enumerate(nodes):
            self._take(node, row, following)

    def _take(self, node: Node, row: int, following: Following) -> None:
        if node.ends:
            self._bounds[node.ends] = node.log_p + following.ends(row)
            self._exact[node.ends] = True
            self._left[node.ends] = 0
        if node.children:
            tokens = list(node.children)
            for token, value in zip(tokens, following.log_p(row, tokens), strict=True):
                self._reach(node.children[token], node.log_p + value)

    def _reach(self, child: Node, log_p: float) -> None:
        child.log_p = log_p
        self._bounds[child.below] = log_p
        self._left[child.below] = self._tokens[child.below] - child.depth + 1
        if id(child) not in self._asked:  # else it was asked for beside its parent
            self._pushed += 1
            heapq.heappush(self._frontier, (-log_p, self._pushed, child))

    def scores(self) -> Scores:
        """What is known by now."""
        return Scores(bounds=self._bounds.copy(), exact=self._exact.copy(), left=self._left.copy())

    def certain(self, top: int = TOP) -> bool:
        """Whether the `top` best are known, or nothing is left to ask for."""
        return not self._frontier or self.scores().certain(top)
