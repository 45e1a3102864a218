"""A trie of token sequences: candidates that begin alike share the tokens they begin with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


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


def build(sequences: Sequence[Sequence[int]]) -> Node:
    """The trie of the sequences, candidate i being sequences[i]; empty ones end at the root."""
    root = Node(token=-1, parent=None, depth=0)
    for candidate, sequence in enumerate(sequences):
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
