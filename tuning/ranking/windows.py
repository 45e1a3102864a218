"""What a ranker is trained on: windows of text, each with the sites in it whose lists are known. Needs no torch.

A window is the server's own prompt for its last site; a site that stands earlier in it has a prompt that the window begins with, in
tokens too, so one forward pass scores the lists of all of them. No text after a site is in its prompt.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tuning.ranking.blend import Blend
from tuning.ranking.cases import Case
from tuning.ranking.rank import shortlist

LIKELY = 12  # candidates beside the truth that signals think likeliest
OTHERS = 12  # and some of the others

Encode = Callable[[str], list[int]]


@dataclass(frozen=True, kw_only=True)
class ListedSite:
    """A site in a window. c candidates, each as its tokens with those of the tail before it."""

    place: int  # how many of the window's tokens are its prompt
    sequences: tuple[tuple[int, ...], ...]  # [c]
    truth: int  # which of them was written
    beside: tuple[float, ...]  # [c] what signals alone say: log-odds


@dataclass(frozen=True, kw_only=True)
class Window:
    tokens: tuple[int, ...]
    sites: tuple[ListedSite, ...]

    @property
    def size(self) -> int:
        """How many tokens a forward pass has at most: its own and all candidates'."""
        return len(self.tokens) + sum(len(sequence) for site in self.sites for sequence in site.sequences)


@dataclass(frozen=True, kw_only=True)
class _Asked:
    text: str
    tail: str
    names: tuple[str, ...]
    truth: int
    beside: tuple[float, ...]


def windows(found: Iterable[Case], blend: Blend, encode: Encode, *, seed: int = 0, largest: int = 1024) -> list[Window]:
    """Windows of the cases whose truth a model could find, in the order of the cases' files.

    Sites share a window as long as it stays within `largest` tokens, candidates included.
    """
    by_file: dict[tuple[str, str, str], list[_Asked]] = {}
    for case in found:
        row = case.recorded
        asked = _asked(case, blend, random.Random(f"{seed}/{row.repository}/{row.path}/{row.offset}"))
        if asked is not None:
            by_file.setdefault((row.repository, row.revision + row.written, row.path), []).append(asked)
    return [window for sites in by_file.values() for window in _of_file(sites, encode, largest)]


def _asked(case: Case, blend: Blend, chance: random.Random) -> _Asked | None:
    """The truth, what signals think likeliest and some others, of the names that the model is asked about live."""
    listed = case.known.candidates
    truth = case.recorded.truth
    chosen = list(dict.fromkeys(listed[i].name for i in shortlist(case.known, blend)))
    if truth not in chosen or len(chosen) < 2:
        return None
    rest = [name for name in chosen if name != truth]
    likely, others = rest[:LIKELY], rest[LIKELY:]
    names = [truth, *likely, *chance.sample(others, min(OTHERS, len(others)))]
    scores = blend.scores(case.known.columns, case.known.site.kind)
    best: dict[str, float] = {}
    for candidate, score in zip(listed, scores.tolist(), strict=True):
        best[candidate.name] = max(best.get(candidate.name, -np.inf), score)
    return _Asked(
        text=case.prompt.text,
        tail=case.prompt.tail,
        names=tuple(names),
        truth=0,
        beside=tuple(best[name] for name in names),
    )


def _of_file(sites: Sequence[_Asked], encode: Encode, largest: int) -> list[Window]:
    made: list[Window] = []
    left = sorted(sites, key=lambda site: -len(site.text))
    while left:
        longest = left[0]
        tokens = tuple(encode(longest.text))
        size, taken, over = len(tokens), list[ListedSite](), list[_Asked]()
        for site in left:
            mine = encode(site.text) if longest.text.startswith(site.text) else None
            if mine is None or tuple(mine) != tokens[: len(mine)] or not mine:
                over.append(site)
                continue
            listed = ListedSite(
                place=len(mine),
                sequences=tuple(tuple(encode(site.tail + name)) for name in site.names),
                truth=site.truth,
                beside=site.beside,
            )
            more = sum(map(len, listed.sequences))
            if taken and size + more > largest:
                over.append(site)
                continue
            taken.append(listed)
            size += more
        if not taken:  # nothing to read before the identifier
            left = left[1:]
            continue
        made.append(Window(tokens=tokens, sites=tuple(taken)))
        left = over
    return made
