"""Shell globs matched without backtracking over more than one star: a hostile pattern costs time, never a hang.

A name is matched against fixed-width pieces between stars, each taken at its leftmost place; a path is matched against
segments between `**` in the same way. Both are the greedy algorithm that needs to remember the last star only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import final

NameMatch = Callable[[str], bool]

ANY_SEGMENTS = None  # a `**` segment: any number of folders, none included
_POSIX = {
    "alnum": r"a-zA-Z0-9",
    "alpha": r"a-zA-Z",
    "blank": r" \t",
    "digit": r"0-9",
    "lower": r"a-z",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\s",
    "upper": r"A-Z",
    "xdigit": r"0-9a-fA-F",
}


class GlobError(ValueError):
    """A glob that means nothing: a bracket that is never closed, an escape at the end."""


@final
class NameGlob:
    """A glob over one file or folder name: `*`, `?`, `[...]` and `\\` escapes. Raises GlobError."""

    def __init__(self, glob: str) -> None:
        pieces = _pieces(glob)
        self._width = sum(width for _, width in pieces)
        (self._first, self._first_width), *rest = pieces
        self._last, self._last_width = rest.pop() if rest else (None, 0)
        self._middle = rest

    def __call__(self, name: str) -> bool:
        if self._last is None:
            return len(name) == self._width and _find(self._first, name, 0, len(name)) == 0
        end = len(name) - self._last_width
        if len(name) < self._width or _find(self._first, name, 0, self._first_width) != 0:
            return False
        if _find(self._last, name, end, len(name)) != end:
            return False
        at = self._first_width
        for piece, width in self._middle:
            at = _find(piece, name, at, end)
            if at < 0:
                return False
            at += width
        return True


def path_matches(segments: Sequence[NameMatch | None], parts: Sequence[str]) -> bool:
    """Whether the names of a path match the segments, of which ANY_SEGMENTS stands for any number of names."""
    at = place = 0
    after_any, retry = -1, 0  # the segment after the last `**`, and the name where it was tried last
    while place < len(parts):
        segment = segments[at] if at < len(segments) else _never
        if segment is None:
            at += 1
            after_any, retry = at, place
        elif segment(parts[place]):
            at, place = at + 1, place + 1
        elif after_any >= 0:
            retry += 1
            at, place = after_any, retry
        else:
            return False
    return all(segment is ANY_SEGMENTS for segment in segments[at:])


def unescaped(glob: str) -> str | None:
    """The one name that a glob without wildcards matches; None where it has some."""
    return None if re.search(r"[*?\[\\]", glob) else glob


_Piece = tuple["str | re.Pattern[str]", int]  # what stands between two stars, and how many characters it matches


def _never(name: str) -> bool:
    return False


def _find(piece: str | re.Pattern[str], name: str, start: int, end: int) -> int:
    """Where the piece stands first within name[start:end], or -1."""
    if isinstance(piece, str):
        return name.find(piece, start, end)
    found = piece.search(name, start, end)
    return -1 if found is None else found.start()


def _pieces(glob: str) -> list[_Piece]:
    """What stands between the stars of a glob; a run of stars counts as one."""
    pieces: list[_Piece] = []
    one: list[str] = []  # regular expressions that match one character each
    literal: list[str] | None = []  # the same as text, while none of them is a class
    at = 0
    while at <= len(glob):
        char = glob[at : at + 1]
        at += 1
        if char in ("*", ""):
            text = "".join(one)
            pieces.append((re.compile(text, re.DOTALL) if literal is None else "".join(literal), len(one)))
            one, literal = [], []
            while char and glob[at : at + 1] == "*":
                at += 1
            continue
        if char == "?":
            one.append(".")
            literal = None
        elif char == "[":
            expression, at = _bracket(glob, at)
            one.append(expression)
            literal = None
        else:
            if char == "\\":
                char = glob[at : at + 1]
                at += 1
                if not char:
                    raise GlobError("an escape at the end")
            one.append(re.escape(char))
            if literal is not None:
                literal.append(char)
    return pieces


def _bracket(glob: str, at: int) -> tuple[str, int]:
    """The regular expression of a bracket whose inside starts at `at`, and where the glob goes on after it."""
    negated = glob[at : at + 1] in ("!", "^") and at < len(glob)
    at += negated
    items: list[str] = []
    first = True
    while first or glob[at : at + 1] != "]":
        first = False
        if glob.startswith("[:", at) and (close := glob.find(":]", at + 2)) > 0:
            if (known := _POSIX.get(glob[at + 2 : close])) is None:
                raise GlobError(f"no class is named {glob[at : close + 2]}")
            items.append(known)
            at = close + 2
            continue
        low, at = _bracket_char(glob, at)
        high = low
        if glob[at : at + 1] == "-" and glob[at + 1 : at + 2] not in ("]", ""):
            high, at = _bracket_char(glob, at + 1)
        items.append(re.escape(low))  # of a range whose end is before its start, too
        if low < high:
            items.append(f"-{re.escape(high)}")
    return f"[{'^' if negated else ''}{''.join(items)}]", at + 1


def _bracket_char(glob: str, at: int) -> tuple[str, int]:
    """The character at `at` inside a bracket, escaped or not, and where its next one stands."""
    at += glob[at : at + 1] == "\\"
    if at >= len(glob):
        raise GlobError("a bracket that is never closed")
    return glob[at], at + 1
