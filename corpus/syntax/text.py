"""A document's bytes and where its lines start, kept right through edits. Knows nothing of LSP or of languages.

Lines end in \\n, \\r\\n or \\r and in nothing else (LSP 3.18, "Text Documents"): not in form feeds or U+2028. An edit costs time
by the lines that it touches and by blocks of lines, not by lines. Plain Python: the server process loads no numpy.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import accumulate
from typing import final

BLOCK = 512  # lines
_terminator = re.compile(rb"\r\n|\r|\n")


@final
class SourceText:
    """UTF-8 bytes of one document. All positions are byte offsets; lines count from 0 and there is at least one."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        # Of each block: the offset of its first line, the number of that line, and the starts of its lines from there.
        self._offsets: list[int] = []
        self._numbers: list[int] = []
        self._starts: list[list[int]] = []
        self._lines = 0
        self._put(0, 0, [0, *_ends_of_terminators(data)])

    @property
    def data(self) -> bytes:
        return self._data

    @property
    def line_count(self) -> int:
        return self._lines

    def line_start(self, line: int) -> int:
        """Offset of a line's first byte; a line before the first or beyond the last is clamped to it."""
        line = max(0, min(line, self._lines - 1))
        block = bisect_right(self._numbers, line) - 1
        return self._offsets[block] + self._starts[block][line - self._numbers[block]]

    def line_end(self, line: int) -> int:
        """Offset just before a line's terminator; of the last line, the text's end."""
        line = max(0, line)
        if line + 1 >= self._lines:
            return len(self._data)
        following = self.line_start(line + 1)
        return following - (2 if self._data[max(0, following - 2) : following] == b"\r\n" else 1)

    def line_of(self, offset: int) -> int:
        """The line that holds the byte at `offset`, clamped to the text."""
        offset = max(0, min(offset, len(self._data)))
        block = bisect_right(self._offsets, offset) - 1
        return self._numbers[block] + bisect_right(self._starts[block], offset - self._offsets[block]) - 1

    def replace(self, start: int, end: int, new: bytes) -> None:
        """Put `new` in place of the bytes from `start` to `end`, both clamped to the text."""
        start = max(0, min(start, len(self._data)))
        end = max(start, min(end, len(self._data)))
        # The byte before the edit is looked at again: a \r there ends a line only while no \n follows.
        first = bisect_right(self._numbers, self.line_of(start - 1)) - 1
        last = bisect_right(self._numbers, self.line_of(end)) - 1
        before = self._offsets[first]
        after = self._offsets[last + 1] if last + 1 < len(self._offsets) else len(self._data)
        old = memoryview(self._data)
        self._data = b"".join((old[:start], new, old[end:]))
        after += len(new) - (end - start)
        touched = self._data[before:after]
        starts = [0, *_ends_of_terminators(touched)]
        if last + 1 < len(self._offsets):
            starts.pop()  # the next block's first line
        self._put(first, last + 1, [before + start for start in starts], shift=len(new) - (end - start))

    def _put(self, first: int, last: int, starts: list[int], *, shift: int = 0) -> None:
        """Have lines with these starts in place of the blocks from `first` to `last`; what follows moves by `shift` bytes."""
        number = self._numbers[first] if first < len(self._numbers) else 0
        gone = sum(map(len, self._starts[first:last]))
        parts = [starts[at : at + BLOCK] for at in range(0, len(starts), BLOCK)]
        offsets = [part[0] for part in parts]
        numbers = list(range(number, number + len(starts), BLOCK))
        more = len(starts) - gone
        self._offsets[first:] = offsets + [offset + shift for offset in self._offsets[last:]]
        self._numbers[first:] = numbers + [later + more for later in self._numbers[last:]]
        self._starts[first:last] = [[start - part[0] for start in part] for part in parts]
        self._lines += more


def _ends_of_terminators(data: bytes) -> list[int]:
    """Offsets just after each line terminator."""
    if b"\r" in data:
        return [found.end() for found in _terminator.finditer(data)]
    return [end + 1 for end in accumulate(map(len, data.split(b"\n")[:-1]), lambda end, length: end + 1 + length)]
