"""An engine tried on a few lists, one after the other: how long each takes, and how far its scores are from those of the model here."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from tuning.ranking.serving.model.prompt import Prompt, build_prompt
from tuning.ranking.serving.model.scorer import Scorer
from tuning.ranking.serving.remote.engine import RemoteEngine

BEST = 5  # names of a list whose scores are compared
STRING = (
    "split strip join replace startswith endswith lower upper find format encode splitlines partition isdigit count"
)
PLACES: Mapping[str, str] = {
    "import os\n\n\ndef listed(folder):\n    return os.path.": "join exists isdir isfile basename dirname abspath getsize sep expanduser",
    "def words(line):\n    return line.": STRING,
    "def add(items, value):\n    items.": "append extend insert pop remove sort reverse index count copy clear",
    "def names(table):\n    for key, value in table.": "items keys values get pop update setdefault copy clear fromkeys",
    "import numpy as np\n\n\ndef total(rows):\n    return np.": "sum array zeros ones mean concatenate stack arange dot float32 argsort",
    "with open(path) as file:\n    text = file.": "read readline readlines write close seek tell flush name fileno",
    "import re\n\nWORD = re.": "compile match search sub split findall fullmatch escape finditer purge",
    "from pathlib import Path\n\nroot = Path(name)\nif root.": "exists is_dir is_file mkdir name parent suffix stem glob read_text resolve",
    "import json\n\n\ndef load(file):\n    return json.": "load loads dump dumps JSONDecodeError JSONEncoder",
    "class Shelf:\n    def __init__(self, books):\n        self.books = books\n        self.size = len(books)\n\n"
    "    def first(self):\n        return self.": "books size first __init__ __class__ __dict__ __doc__",
    "import logging\n\nlog = logging.": "getLogger info debug warning error exception basicConfig INFO DEBUG",
    "import time\n\nbegan = time.": "time monotonic perf_counter sleep strftime localtime process_time",
}


@dataclass(frozen=True, kw_only=True)
class Trial:
    """`milliseconds` of each list, its prompt read before; `difference`: of log P of the best names, mean, None without a model here."""

    milliseconds: list[float]
    difference: float | None
    same_first: float | None  # the part of the lists whose best name is the same


def lists() -> Iterator[tuple[Prompt, list[str]]]:
    """Members of Python's own libraries, each with some of what a language server offers there."""
    for before, names in PLACES.items():
        yield build_prompt(path="example.py", before=before, line_comment="#"), names.split()


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
