"""Windows made of recorded lists that were looked up. Needs no torch."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tuning.ranking.evaluating.cases import Case
from tuning.ranking.learning.windows import ListedSite, Window
from tuning.ranking.serving.acceptance_log import Accepted
from tuning.ranking.serving.blend import Blend
from tuning.ranking.serving.model.prompt import Prompt
from tuning.ranking.serving.rank import shortlist

LIKELY = 12  # candidates beside the truth that signals think likeliest
OTHERS = 12  # and some of the others
LARGEST = 1024  # tokens of a window with its candidates

Encode = Callable[[str], list[int]]


@dataclass(frozen=True, kw_only=True)
class _Asked:
    prompt: Prompt
    names: Sequence[str]
    truth: int
    beside: Sequence[float]
    kind: str


def windows(
    found: Iterable[Case], blend: Blend, encode: Encode, *, seed: int = 0, largest: int = LARGEST
) -> Iterator[Window]:
    """Windows to learn from: of the cases whose truth a model could find, their truths with the likeliest and some other names.

    The cases of a file stand together. Sites share a window as long as it stays within `largest` tokens, candidates included.
    """

    def asked(case: Case) -> _Asked | None:
        row = case.recorded
        return _some(case, blend, random.Random(f"{seed}/{row.repository}/{row.path}/{row.offset}"))

    return _windows(found, asked, encode, largest)


def whole_windows(found: Iterable[Case], blend: Blend, encode: Encode, *, largest: int = LARGEST) -> Iterator[Window]:
    """Windows to score: of all cases, with all names that a model is asked about live."""
    return _windows(found, lambda case: _all(case, blend), encode, largest)


def accepted_windows(found: Iterable[Accepted], encode: Encode, *, largest: int = LARGEST) -> Iterator[Window]:
    """Windows to learn from: what was written where lists were shown."""
    by_file: dict[tuple[str, str], list[_Asked]] = {}
    for entry in found:
        odds = dict(zip(entry.names, entry.beside, strict=True))
        names = _cut_down(entry.names, entry.truth, random.Random(f"{entry.path}/{entry.at}"))
        asked = _Asked(
            prompt=Prompt(text=entry.text, tail=entry.tail),
            names=names,
            truth=0,
            beside=[odds[name] for name in names],
            kind=entry.kind,
        )
        by_file.setdefault((entry.path, entry.language), []).append(asked)
    for (path, language), sites in by_file.items():
        yield from _of_file([path, language], sites, encode, largest)


def _windows(
    found: Iterable[Case], asked: Callable[[Case], _Asked | None], encode: Encode, largest: int
) -> Iterator[Window]:
    waiting: list[_Asked] = []
    last: tuple[str, ...] | None = None
    for case in found:
        row = case.recorded
        file = row.repository, row.language, row.revision + row.written, row.path
        if last is not None and file != last:
            yield from _of_file(last, waiting, encode, largest)
            waiting = []
        last = file
        if (one := asked(case)) is not None:
            waiting.append(one)
    if last is not None:
        yield from _of_file(last, waiting, encode, largest)


def _all(case: Case, blend: Blend) -> _Asked | None:
    names = _asked_about(case, blend)
    if not names:
        return None
    truth = case.recorded.truth
    return _with_odds(case, blend, names, names.index(truth) if truth in names else -1)


def _some(case: Case, blend: Blend, chance: random.Random) -> _Asked | None:
    """The truth, what signals think likeliest and some others, of the names that the model is asked about live."""
    truth = case.recorded.truth
    chosen = _asked_about(case, blend)
    if truth not in chosen or len(chosen) < 2:
        return None
    return _with_odds(case, blend, _cut_down(chosen, truth, chance), 0)


def _asked_about(case: Case, blend: Blend) -> list[str]:
    """The names that the model is asked about live, likeliest by signals first."""
    listed = case.known.candidates
    return list(dict.fromkeys(listed[i].name for i in shortlist(case.known, blend)))


def _cut_down(names: Sequence[str], truth: str, chance: random.Random) -> list[str]:
    """The truth, and of the others, likeliest first, those that are and some that are not."""
    rest = [name for name in names if name != truth]
    likely, others = rest[:LIKELY], rest[LIKELY:]
    return [truth, *likely, *chance.sample(others, min(OTHERS, len(others)))]


def _with_odds(case: Case, blend: Blend, names: Sequence[str], truth: int) -> _Asked:
    kind = case.known.site.kind
    best: dict[str, float] = {}
    for candidate, score in zip(case.known.candidates, blend.scores(case.known.columns, kind).tolist(), strict=True):
        best[candidate.name] = max(best.get(candidate.name, -np.inf), score)
    return _Asked(prompt=case.prompt, names=names, truth=truth, beside=tuple(best[name] for name in names), kind=kind)


def _of_file(file: Sequence[str], sites: Sequence[_Asked], encode: Encode, largest: int) -> Iterator[Window]:
    left = sorted(sites, key=lambda site: -len(site.prompt.text))
    while left:
        longest = left[0].prompt.text
        tokens = tuple(encode(longest))
        size, taken, over = len(tokens), list[ListedSite](), list[_Asked]()
        for site in left:
            mine = encode(site.prompt.text) if longest.startswith(site.prompt.text) else None
            if mine is None or tuple(mine) != tokens[: len(mine)] or not mine:
                over.append(site)
                continue
            sequences = tuple(tuple(encode(site.prompt.tail + name)) for name in site.names)
            more = sum(map(len, sequences))
            if taken and size + more > largest:
                over.append(site)
                continue
            size += more
            taken.append(
                ListedSite(
                    place=len(mine),
                    sequences=sequences,
                    truth=site.truth,
                    beside=site.beside,
                    names=tuple(site.names),
                    prompt=site.prompt.key,
                    kind=site.kind,
                )
            )
        if not taken:  # nothing to read before the identifier
            left = left[1:]
            continue
        yield Window(tokens=tokens, sites=tuple(taken), repository=file[0], language=file[1])
        left = over
