"""What is read behind a prompt before a list of names is there: its tail, and tokens that the model takes for likely.

They are the first nodes of the tree that a search goes on with. So while a wrapped server makes its list, the model
does what it would do first, and a search that is short of time begins one or two passes further on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tuning.ranking.serving.model.runtime import Logits

LEAST = np.finfo(np.float32).tiny  # a probability that is no less


class LogitsFollowing:
    """What may follow each of some tokens: float32 [rows, vocabulary] logits, read as log P."""

    def __init__(self, logits: Logits, ending: NDArray[np.float32]) -> None:
        most = logits.max(axis=1, keepdims=True)
        odds = np.exp(logits - most)
        total = odds.sum(axis=1)
        self._logits = logits
        self._norm = most[:, 0] + np.log(total)
        self._ended = np.log(np.maximum(odds @ ending / total, LEAST))

    def log_p(self, row: int, tokens: Sequence[int]) -> list[float]:
        """log P of each token."""
        return (self._logits[row, list(tokens)] - self._norm[row]).tolist()

    def ends(self, row: int) -> float:
        """log P that the identifier ends here."""
        return float(self._ended[row])

    def likeliest(self, row: int, count: int, among: NDArray[np.bool_]) -> list[tuple[float, int]]:
        """At most `count` of these tokens, the likeliest, each after its log P."""
        values = np.where(among, self._logits[row], -np.inf)
        tokens = np.argpartition(values, -count)[-count:]
        return [(float(values[token] - self._norm[row]), int(token)) for token in tokens if among[token]]


class ReadAhead:
    """The nodes behind a prompt that were read for `tail`, in the order of their rows; a parent comes before its children."""

    def __init__(self, tail: str = "") -> None:
        self.tail = tail
        self.nodes: list[tuple[int, int]] = []
        self.guesses = 0  # passes over likely tokens
        self._log_p: list[float] = []
        self._following: list[tuple[LogitsFollowing, int]] = []
        self._heads = [-1]  # rows that a likely token may follow

    def __len__(self) -> int:
        return len(self.nodes)

    def log_p(self, row: int, tokens: Sequence[int]) -> list[float]:
        """log P of each token after the node of a row."""
        following, its = self._following[row]
        return following.log_p(its, tokens)

    def ends(self, row: int) -> float:
        """log P that the identifier ends at the node of a row."""
        following, its = self._following[row]
        return following.ends(its)

    def take_tail(self, tokens: Sequence[int], following: LogitsFollowing) -> None:
        """The tail's tokens, each the parent of the next."""
        nodes = [(token, row - 1) for row, token in enumerate(tokens)]
        self._append(nodes, [0.0] * len(nodes), following)
        self._heads = [len(self.nodes) - 1]

    def take_likely(self, likely: Sequence[tuple[float, int, int]], following: LogitsFollowing) -> None:
        """What `likely` gave."""
        rows = range(len(self.nodes), len(self.nodes) + len(likely))
        self._append([(token, parent) for _, token, parent in likely], [log_p for log_p, _, _ in likely], following)
        self._heads += rows
        self.guesses += 1

    def likely(
        self, first: LogitsFollowing, begins: NDArray[np.bool_], goes_on: NDArray[np.bool_], count: int
    ) -> list[tuple[float, int, int]]:
        """The likeliest nodes that were not read: log P of the path behind the tail, token, row of the parent.

        `first`: what follows the prompt. `begins`, `goes_on`: which tokens begin a name here, and which continue one.
        """
        found: list[tuple[float, int, int]] = []
        known = set(self.nodes)
        for head in self._heads:
            following, row = self._following[head] if head >= 0 else (first, 0)
            above = self._log_p[head] if head >= 0 else 0.0
            among = begins if head == self._heads[0] else goes_on
            found += [
                (above + log_p, token, head)
                for log_p, token in following.likeliest(row, 2 * count, among)
                if (token, head) not in known
            ]
        return sorted(found, reverse=True)[:count]

    def _append(self, nodes: Sequence[tuple[int, int]], log_p: Sequence[float], following: LogitsFollowing) -> None:
        self.nodes += nodes
        self._log_p += log_p
        self._following += [(following, row) for row in range(len(nodes))]
