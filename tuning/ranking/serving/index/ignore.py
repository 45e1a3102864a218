""".gitignore files: which entries below a folder they exclude. Reads the text, never the file.

Patterns mean what gitignore(5) says. An entry is looked up, not searched for: plain names, endings and paths are keys
of dictionaries, and only other patterns are tried one by one, the last one first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import final

from tuning.ranking.serving.index.globs import ANY_SEGMENTS, GlobError, NameGlob, NameMatch, path_matches, unescaped

FILE_BYTES = 1 << 18  # the largest .gitignore that is read; those of large projects have 20 kB
PATTERNS = 2_000  # of one file; those of large projects have some hundred
PATTERN_CHARS = 500
SEGMENTS = 32  # folders in one pattern with wildcards

_ENDING = re.compile(r"\*(\.[^*?\[\\]+)")  # "*.pyc": found by the ends of a name that begin with a dot
_TRAILING_SPACES = re.compile(r"(?<!\\) +$")


@final
class IgnorePatterns:
    """The patterns of one .gitignore file. `len` is how many there are."""

    def __init__(self, text: str) -> None:
        self._negated: list[bool] = []
        self._files, self._folders = _Lookup(), _Lookup()
        self.refused = ""  # why some lines were left out, the last reason; empty without any
        for line in text.removeprefix("\ufeff").split("\n"):
            if len(self._negated) >= PATTERNS:
                self.refused = f"more than {PATTERNS}"
                break
            try:
                self._take(line.removesuffix("\r"))
            except GlobError as error:  # Git leaves a broken one out, too
                self.refused = str(error)

    def __len__(self) -> int:
        return len(self._negated)

    def verdict(self, path: str, *, folder: bool) -> bool | None:
        """Whether a path ("a/b.py", from the file's own folder) is excluded; None where no pattern matches it."""
        last = (self._folders if folder else self._files).last(path)
        return None if last < 0 else not self._negated[last]

    def _take(self, line: str) -> None:
        """Add the pattern of one line, if it has one."""
        if not line or line.startswith("#"):
            return
        if len(line) > PATTERN_CHARS:
            raise GlobError("too long")
        line = _TRAILING_SPACES.sub("", line)
        negated = line.startswith("!")
        line = line.removeprefix("!")
        only_folders = line.endswith("/")
        line = line.removesuffix("/")
        if not line:
            return
        number = len(self._negated)
        self._folders.add(line, number)
        if not only_folders:
            self._files.add(line, number)
        self._negated.append(negated)


class _Lookup:
    """Finds the last pattern that matches a path, by its number."""

    def __init__(self) -> None:
        self._names: dict[str, int] = {}
        self._endings: dict[str, int] = {}
        self._paths: dict[str, int] = {}
        self._others: list[tuple[int, bool, NameMatch]] = []  # number, whether it is for names, what it matches

    def add(self, pattern: str, number: int) -> None:
        """Add a pattern without its "!" and its last slash. Raises GlobError."""
        literal = unescaped(pattern)
        if "/" not in pattern:
            if literal is not None:
                self._names[literal] = number
            elif (ending := _ENDING.fullmatch(pattern)) is not None:
                self._endings[ending[1]] = number
            else:
                self._others.append((number, True, NameGlob(pattern)))
        elif literal is not None:
            self._paths[literal.removeprefix("/")] = number
        else:
            self._others.append((number, False, _path_glob(pattern.removeprefix("/"))))

    def last(self, path: str) -> int:
        """The highest number of a pattern that matches; -1 without one."""
        name = path.rpartition("/")[2]
        last = max(self._names.get(name, -1), self._paths.get(path, -1))
        if self._endings:
            dot = name.find(".")
            while dot >= 0:
                last = max(last, self._endings.get(name[dot:], -1))
                dot = name.find(".", dot + 1)
        for number, of_names, matches in reversed(self._others):
            if number <= last:
                break
            if matches(name if of_names else path):
                return number
        return last


def _path_glob(pattern: str) -> NameMatch:
    """What a pattern with a slash matches: a whole path, as a function of it."""
    segments: list[NameMatch | None] = []
    for segment in pattern.split("/"):
        if len(segment) < 2 or segment.strip("*"):
            segments.append(NameGlob(segment))
        elif not segments or segments[-1] is not ANY_SEGMENTS:
            segments.append(ANY_SEGMENTS)
    if len(segments) > SEGMENTS:
        raise GlobError("too many folders")
    if segments[-1] is ANY_SEGMENTS:  # "a/**" is what is in `a`, not `a` itself
        segments.append(NameGlob("*"))
    return partial(_matches_path, segments, None if ANY_SEGMENTS in segments else len(segments) - 1)


def _matches_path(segments: Sequence[NameMatch | None], slashes: int | None, path: str) -> bool:
    return (slashes is None or path.count("/") == slashes) and path_matches(segments, path.split("/"))
