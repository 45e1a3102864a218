"""An engine tried on a few lists, one after the other: how long each takes, and how far its scores are from those of the model here."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tuning.ranking.serving.model.compiling import HEARD
from tuning.ranking.serving.model.prompt import Prompt, build_prompt
from tuning.ranking.serving.model.scorer import Scorer
from tuning.ranking.serving.remote.engine import RemoteEngine

LISTS, NAMES = 20, 40
BEST = 10  # names of a list whose scores are compared
IDENTIFIER = re.compile(r"[A-Za-z_]\w+")


@dataclass(frozen=True, kw_only=True)
class Trial:
    """`milliseconds` of each list, its prompt read before; `difference`: of log P of the best names, mean, None without a model here."""

    milliseconds: list[float]
    difference: float | None
    same_first: float | None  # the part of the lists whose best name is the same


def lists() -> Iterator[tuple[Prompt, list[str]]]:
    """Places in a text of code, each with identifiers of the text as its names."""
    text = HEARD.read_text("utf-8")
    found = list(IDENTIFIER.finditer(text))
    names = list(dict.fromkeys(match.group() for match in found))
    for number in range(LISTS):
        at = found[(number + 1) * len(found) // (LISTS + 1)].start()
        first = number * 7 % max(1, len(names) - NAMES)
        yield build_prompt(path="heard.py", before=text[:at], line_comment="#"), names[first : first + NAMES]


async def tried(engine: RemoteEngine, scorer: Scorer | None) -> Trial:
    """Raises RemoteError."""
    times: list[float] = []
    differences: list[float] = []
    same: list[bool] = []
    for prompt, names in lists():
        await engine.read(engine.tokens.prompt(prompt.text), engine.model)
        began = time.perf_counter()
        likely, exact = np.zeros(len(names)), np.zeros(len(names), bool)
        async for scores, _ in engine.search(prompt, names, {}, engine.model):
            likely, exact = scores.likely, scores.exact
        times.append(1000 * (time.perf_counter() - began))
        if scorer is not None:
            here = scorer.log_p(prompt, names)
            best = [int(i) for i in np.argsort(-likely)[:BEST] if exact[i]]
            differences += np.abs(likely - here)[best].tolist()
            same.append(int(np.argmax(likely)) == int(np.argmax(here)))
    if scorer is None:
        return Trial(milliseconds=times, difference=None, same_first=None)
    return Trial(milliseconds=times, difference=float(np.mean(differences)), same_first=float(np.mean(same)))
