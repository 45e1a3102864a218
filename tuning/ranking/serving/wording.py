"""How much of a candidate's name stands in the words around the cursor: `key=self.key`, `def get_name` … `._name`.

Looks at parts of names (`maxLineLength` is max, line, length), never at meaning. Knows no language: any word counts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NEAR_LINES = 3
REACH = 2000  # bytes of a line, and of the lines before it, that are read
_PART = re.compile(r"[^\W\d_a-z]+(?![a-z])|[^\W\d_]?[^\W\d_A-Z]+|\d+")
_WORD = re.compile(r"[^\W\d]\w*")

Parts = frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Wording:
    """The words around a site, cut into parts."""

    nearest: str  # the last word before the receiver on the cursor's line, without underscores around it
    line: Parts  # of the words before the receiver on that line
    lines_before: Parts  # of the NEAR_LINES lines above
    receiver: Parts
    function: Parts  # of the enclosing definition's name
    lines_after: Parts  # of the NEAR_LINES lines below
    words_after: frozenset[str]  # the words themselves there
    file: Parts  # of the file's name, without its ending

    @classmethod
    def of(cls, before: bytes, receiver: str, function: str, *, after: bytes = b"", path: str = "") -> Wording:
        """`before` ends where the identifier starts, `after` begins on the next line."""
        text = before[-2 * REACH :].decode("utf-8", "replace")
        above, _, line = text.rpartition("\n")
        left = line[: max(0, line.rfind(receiver))] if receiver else line
        words = _WORD.findall(left[-REACH:])
        above = "\n".join(above[-REACH:].rstrip().split("\n")[-NEAR_LINES:])
        below = _WORD.findall("\n".join(after[:REACH].decode("utf-8", "replace").strip().split("\n")[:NEAR_LINES]))
        return cls(
            nearest=words[-1].strip("_") if words else "",
            line=_parts_of(words),
            lines_before=_parts_of(_WORD.findall(above)),
            receiver=parts(_WORD.findall(receiver)[-1]) if _WORD.search(receiver) else frozenset(),
            function=parts(function),
            lines_after=_parts_of(below),
            words_after=frozenset(below),
            file=_parts_of(_WORD.findall(path.rpartition("/")[2].partition(".")[0])),
        )

    def columns(self, names: Sequence[str]) -> dict[str, Floats]:
        """float64 [n] each: 1 for the nearest word itself, and shares of parts in common."""
        cut = [parts(name) for name in names]
        return {
            "named_by_nearest": np.array([bool(self.nearest) and name.strip("_") == self.nearest for name in names], float),
            "named_by_line": _share(cut, self.line),
            "line_names": _cover(cut, self.line),
            "named_by_lines_before": _share(cut, self.lines_before),
            "named_by_receiver": _share(cut, self.receiver),
            "named_by_function": _share(cut, self.function),
            "function_names": _cover(cut, self.function),
            "named_by_lines_after": _share(cut, self.lines_after),
            "stands_after": np.array([name in self.words_after for name in names], float),
            "named_by_file": _share(cut, self.file),
        }  # fmt: skip


@lru_cache(maxsize=20_000)
def parts(name: str) -> Parts:
    """The words that a name is made of, in lower case."""
    return frozenset(part.lower() for part in _PART.findall(name[:200]))


def _parts_of(words: Sequence[str]) -> Parts:
    return frozenset[str]().union(*(parts(word) for word in words))


def _share(names: Sequence[Parts], words: Parts) -> Floats:
    """The share of each name's parts that are among `words`."""
    if not words:
        return np.zeros(len(names))
    return np.array([len(own & words) / len(own) if own else 0.0 for own in names])


def _cover(names: Sequence[Parts], words: Parts) -> Floats:
    """The share of `words` that are among each name's parts."""
    if not words:
        return np.zeros(len(names))
    return np.array([len(own & words) / len(words) for own in names])
