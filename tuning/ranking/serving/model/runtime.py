"""What the scorer needs of a model: read tokens, expand nodes of a tree on them, forget, logits of rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.float32]


class Context(Protocol):
    """Keys and values of what was read of one document."""

    @property
    def length(self) -> int:
        """Tokens that are in it, nodes of a tree included."""
        ...

    def crop(self, length: int) -> None:
        """Forget all tokens from this place on."""
        ...


C = TypeVar("C", bound=Context)


class Runtime(Protocol[C]):
    """A causal language model. Used from one thread."""

    @property
    def vocabulary(self) -> int: ...

    @property
    def positions(self) -> int:
        """Tokens that a context can hold."""
        ...

    @property
    def chunk(self) -> int:
        """Tokens that are best read at once: an interruption waits for that many."""
        ...

    @property
    def nodes(self) -> int:
        """Nodes that are best expanded at once."""
        ...

    def context(self) -> C:
        """An empty context."""
        ...

    def bytes_of(self, tokens: int) -> int:
        """Memory that a context of so many tokens takes."""
        ...

    def read(self, context: C, tokens: Sequence[int]) -> Logits:
        """Append tokens to a context; logits of what follows the last, float32 [vocabulary]."""
        ...

    def expand(
        self, context: C, tokens: Sequence[int], depths: Sequence[int], ancestors: Sequence[Sequence[int]], prompt: int
    ) -> Logits:  # fmt: skip
        """Append nodes of a tree on the first `prompt` tokens; logits of what follows each, float32 [nodes, vocabulary].

        A node at depth 0 stands right behind the prompt. It sees the prompt, itself, and its `ancestors`: places of
        nodes behind the prompt, in the order in which they were appended.
        """
        ...
