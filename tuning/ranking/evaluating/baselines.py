"""Orders that need no learning, to hold a ranker against. Each gives a score a candidate; equal scores are a tie.

`LISTS` look at the list alone; `TEXT` at the text before the cursor too.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from corpus.lists.list_files import Recorded
from tuning.ranking.serving.features import Floats

WORD = re.compile(r"[\w$]+")
NO_MATCH = -1e6


def _places(row: Recorded) -> Floats:
    return -np.arange(len(row.names), dtype=np.float64)


def _alphabetical(row: Recorded) -> Floats:
    order = np.argsort([name.casefold() for name in row.names], kind="stable")
    scores = np.empty(len(order))
    scores[order] = -np.arange(len(order))
    return scores


def _most_frequent(row: Recorded, before: str) -> Floats:
    uses = Counter(WORD.findall(before))
    return np.array([uses[name] for name in row.names], np.float64) + _places(row) / 1e6


def _most_recent(row: Recorded, before: str) -> Floats:
    last = {name: place for place, name in enumerate(WORD.findall(before))}
    return np.array([last.get(name, -1) for name in row.names], np.float64) + _places(row) / 1e6


LISTS: Mapping[str, Callable[[Recorded], Floats]] = {"alphabetical": _alphabetical, "wrapped server": _places}
TEXT: Mapping[str, Callable[[Recorded, str], Floats]] = {
    "most frequent in the file": _most_frequent,
    "most recent in the file": _most_recent,
}


def vscode_scores(matcher: Path, asked: Sequence[tuple[str, Sequence[str]]]) -> list[Floats]:
    """VS Code's fuzzy scores of the names of each (typed, names), float64[n] each; NO_MATCH where it would drop one.

    `matcher` is the folder of npm's @vtsls/vscode-fuzzy. Raises FileNotFoundError where it or node is missing.
    """
    node = shutil.which("node")
    if node is None or not (matcher / "package.json").is_file():
        missing = "node" if node is None else str(matcher)
        raise FileNotFoundError(f"{missing} is missing; run: npm install --ignore-scripts @vtsls/vscode-fuzzy")
    script = Path(__file__).with_name("vscode_order.mjs")
    done = subprocess.run(
        [node, str(script), str(matcher.resolve())], input=json.dumps(asked).encode(), capture_output=True, check=True
    )
    return [
        np.array([NO_MATCH if score is None else score for score in row], np.float64) for row in json.loads(done.stdout)
    ]
