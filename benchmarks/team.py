"""python -m benchmarks.team URL: people who type at the same time, against one engine.

    python -m benchmarks.team http://127.0.0.1:8000 --token-file engine/token --typists 1,5,10,20,50

Each typist has a client of its own, as each editor has. At a place in code, the typist writes the keys before a name at a person's pace (the
engine reads along), then a list is requested, and again after the name's first letter; then comes the next place. Printed for each
number of typists: lists, how many had a score of the engine by the deadline, how many had all scores, and the time until a
list's best names were certain. A list without a score by the deadline is ranked by the model on the user's machine.

    python -m benchmarks.team http://127.0.0.1:8000 --token-file engine/token --whole

compares, turn by turn, two ways to score the names of some lists: the search, and one request that has whole names behind the prompt
scored (vLLM's `prompt_logprobs`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

import numpy as np
from rich.console import Console
from rich.table import Table

from lsp_server.ranking import remote_worker
from lsp_server.ranking.remote_worker import RemoteWorker
from lsp_server.ranking.search_job import SearchJob
from tuning.ranking.serving.model.compiling import HEARD
from tuning.ranking.serving.model.loading import load_tokenizer
from tuning.ranking.serving.model.prompt import Prompt, build_prompt
from tuning.ranking.serving.remote import engine as remote_engine
from tuning.ranking.serving.remote.address import remote_of, wrong_url
from tuning.ranking.serving.remote.engine import RemoteEngine

IDENTIFIER = re.compile(r"[A-Za-z_]\w+")
AROUND, NAMES = 60, 40  # identifiers around a place that are its list
KEYS, KEY_SECONDS = 4, 0.15
READING = 1.0  # seconds that a typist looks at the code between two places, at most
COMPARED = 8  # lists
PATIENCE = 120.0  # seconds for one of their answers
LONGEST = 5.0  # seconds that a list's scores are waited for, for the figures alone


@dataclass
class Seen:
    """Of one number of typists."""

    in_time: list[bool] = field(default_factory=list[bool])
    complete: list[bool] = field(default_factory=list[bool])
    seconds: list[float] = field(default_factory=list[float])  # until the best names were certain
    never: int = 0  # lists whose best names were not certain after LONGEST


def main() -> int:
    """Command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("url")
    options.add_argument("--token-file", default="")
    options.add_argument("--typists", default="1,5,10,20,50", help="comma-separated (default %(default)s)")
    options.add_argument("--seconds", type=float, default=20.0, help="for each number of typists (default %(default)s)")
    options.add_argument("--deadline", type=int, default=60, help="milliseconds (default %(default)s)")
    options.add_argument("--whole", action="store_true", help="compare the search with scoring whole names")
    given = options.parse_args()
    if wrong := wrong_url(given.url):
        print(f"{given.url}: {wrong}", file=sys.stderr)
        return 2
    if given.whole:
        return asyncio.run(_compared(given.url, given.token_file))
    table = Table(title=f"lists by the deadline of {given.deadline} ms")
    for column in ("typists", "lists", "a score in time", "model here", "all in time", "p50, ms", "p95, ms", "never"):
        table.add_column(column)
    for typists in map(int, given.typists.split(",")):
        seen = asyncio.run(_together(given.url, given.token_file, typists, given.seconds, given.deadline / 1000))
        middle, slow = (1000 * float(np.quantile(seen.seconds or [np.nan], part)) for part in (0.5, 0.95))
        scored, complete = (float(np.mean(one or [0])) for one in (seen.in_time, seen.complete))
        counts = (f"{part:.0%}" for part in (scored, 1 - scored, complete))
        table.add_row(str(typists), str(len(seen.in_time)), *counts, f"{middle:.0f}", f"{slow:.0f}", str(seen.never))
    Console().print(table)
    return 0


async def _together(url: str, token_file: str, typists: int, seconds: float, deadline: float) -> Seen:
    remote_worker.LATE = 1_000_000  # an engine that is late is asked on: that is what is measured
    remote = remote_of(url, token_file=token_file)
    assert remote is not None
    tokenizer, seen = load_tokenizer(), Seen()
    workers = [RemoteWorker(partial(RemoteEngine, remote, tokenizer), LONGEST) for _ in range(typists)]
    for worker in workers:
        worker.start()
    while not all(worker.ready for worker in workers):
        await asyncio.sleep(0.05)
    until = time.monotonic() + seconds
    await asyncio.gather(*(_type(worker, random.Random(i), until, deadline, seen) for i, worker in enumerate(workers)))
    for worker in workers:
        await worker.close()
    return seen


@dataclass(frozen=True, kw_only=True)
class Place:
    """A name in a text, and what a list there holds."""

    before: str
    path: str
    name: str
    names: tuple[str, ...]

    def prompt(self, keys: int = 0) -> Prompt:
        """As it was some keys ago."""
        return build_prompt(path=self.path, before=self.before[: len(self.before) - keys], line_comment="#")


def _places(chance: random.Random) -> Iterator[Place]:
    """Names of the text, at random, without end."""
    text = HEARD.read_text("utf-8")
    found = list(IDENTIFIER.finditer(text))
    while True:
        place = chance.randrange(AROUND, len(found))
        names = dict.fromkeys(match.group() for match in found[max(0, place - AROUND) : place + AROUND])
        # Each typist is in a file of its own: nothing but the path is in another's prompt too.
        path = f"{chance.random()}/file.py"
        before = text[: found[place].start()]
        yield Place(before=before, path=path, name=found[place].group(), names=tuple(names)[:NAMES])


async def _type(worker: RemoteWorker, chance: random.Random, until: float, deadline: float, seen: Seen) -> None:
    await asyncio.sleep(chance.random() * READING)
    for place in _places(chance):
        if time.monotonic() >= until:
            break
        for key in range(KEYS, 0, -1):
            worker.advance("", place.prompt(key), "")
            await asyncio.sleep(KEY_SECONDS)
        job = SearchJob(key="", prompt=place.prompt(), names=place.names, known={})
        await _listed(worker, job, deadline, seen)
        await asyncio.sleep(KEY_SECONDS)
        left = tuple(name for name in place.names if name.startswith(place.name[0]))
        if not job.answers(left):
            job = SearchJob(key="", prompt=place.prompt(), names=left, known=job.exact_scores())
        await _listed(worker, job, deadline, seen)
        await asyncio.sleep(chance.random() * READING)


async def _listed(worker: RemoteWorker, job: SearchJob, deadline: float, seen: Seen) -> None:
    began = time.perf_counter()
    worker.search(job)
    likely = await job.wait(deadline)
    seen.in_time.append(likely is not None)
    seen.complete.append(job.finished)
    await job.wait(LONGEST - deadline)
    if job.finished:
        seen.seconds.append(time.perf_counter() - began)
    else:
        seen.never += 1


async def _compared(url: str, token_file: str) -> int:
    """Lists at some places, both ways, in turn, the prompt read before; prints the medians."""
    remote = remote_of(url, token_file=token_file)
    assert remote is not None
    remote_engine.ANSWER = PATIENCE
    engine = RemoteEngine(remote, load_tokenizer())
    await engine.check()
    taken: dict[str, list[float]] = {"search": [], "whole names": []}
    same = 0
    for place in islice(_places(random.Random(0)), COMPARED):
        await engine.read(engine.tokens.prompt(place.prompt().text), engine.model)
        began = time.perf_counter()
        likely = np.zeros(len(place.names))
        async for scores, _ in engine.search(place.prompt(), place.names, {}, engine.model):
            likely = scores.likely
        taken["search"].append(1000 * (time.perf_counter() - began))
        began = time.perf_counter()
        whole = await _whole_names(engine, place.prompt(), place.names)
        taken["whole names"].append(1000 * (time.perf_counter() - began))
        same += int(np.argmax(likely)) == int(np.argmax(whole))
    await engine.close()
    for way, times in taken.items():
        print(f"{way}: {np.median(times):.0f} ms at the median, p95 {np.quantile(times, 0.95):.0f}, {len(times)} lists")
    print(f"the same best name in {same} of {COMPARED}")
    return 0


async def _whole_names(engine: RemoteEngine, prompt: Prompt, names: Sequence[str]) -> list[float]:
    """log P of each name's tokens; how likely the name ends there is left out."""
    before = engine.tokens.prompt(prompt.text)
    tokens = [engine.tokens.name(prompt.tail, name) for name in names]
    asked = {
        "model": engine.model,
        "prompt": [[*before, *own] for own in tokens],
        "max_tokens": 1,
        "temperature": 0,
        "prompt_logprobs": 0,
        "add_special_tokens": False,
    }
    found = await engine.sent("POST", "/v1/completions", asked)
    of = {choice["index"]: choice["prompt_logprobs"] for choice in json.loads(found)["choices"]}
    return [
        sum(of[i][len(before) + place][str(token)]["logprob"] for place, token in enumerate(own))
        for i, own in enumerate(tokens)
    ]


if __name__ == "__main__":
    sys.exit(main())
