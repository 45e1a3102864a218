"""What a ranker is trained on: windows of text, each with the sites in it whose lists are known.

A window is the server's own prompt for its last site; a site that stands earlier in it has a prompt that the window begins with, in
tokens too, so one forward pass scores the lists of all of them. No text after a site is in its prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ListedSite:
    """A site in a window. c candidates, each as its tokens with those of the tail before it."""

    place: int  # how many of the window's tokens are its prompt
    sequences: Sequence[Sequence[int]]  # [c]
    truth: int  # which of them was written; -1: none
    beside: Sequence[float]  # [c] what signals alone say: log-odds
    names: Sequence[str] = ()  # [c]
    prompt: str = ""  # `Prompt.key`
    kind: str = ""  # of the site


@dataclass(frozen=True, kw_only=True)
class Window:
    """Text as tokens, and the sites in it."""

    tokens: Sequence[int]
    sites: Sequence[ListedSite]
    repository: str = ""
    language: str = ""
