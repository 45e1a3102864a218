"""A document's bytes and where its lines start, kept right through edits. Knows nothing of LSP or of languages.

Lines end in \\n, \\r\\n or \\r and in nothing else (LSP 3.17, "Text Documents"): not in form feeds or U+2028.
"""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.typing import NDArray

_CR, _LF = 13, 10


@final
class SourceText:
    """UTF-8 bytes of one document. All positions are byte offsets; lines count from 0 and there is at least one."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._starts: NDArray[np.int64] = np.concatenate(([0], _ends_of_terminators(data, 0, len(data))))

    @property
    def data(self) -> bytes:
        return self._data

    @property
    def line_count(self) -> int:
        return len(self._starts)

    def line_start(self, line: int) -> int:
        """Offset of a line's first byte; a line before the first or beyond the last is clamped to it."""
        return int(self._starts[max(0, min(line, len(self._starts) - 1))])

    def line_end(self, line: int) -> int:
        """Offset just before a line's terminator; of the last line, the text's end."""
        line = max(0, line)
        if line + 1 >= len(self._starts):
            return len(self._data)
        following = int(self._starts[line + 1])
        return following - (2 if self._data[max(0, following - 2) : following] == b"\r\n" else 1)

    def line_of(self, offset: int) -> int:
        """The line that holds the byte at `offset`, clamped to the text."""
        offset = max(0, min(offset, len(self._data)))
        return int(np.searchsorted(self._starts, offset, side="right")) - 1

    def replace(self, start: int, end: int, new: bytes) -> None:
        """Put `new` in place of the bytes from `start` to `end`, both clamped to the text."""
        start = max(0, min(start, len(self._data)))
        end = max(start, min(end, len(self._data)))
        old = memoryview(self._data)
        self._data = b"".join((old[:start], new, old[end:]))
        # The byte before the edit is looked at again: a \r there ends a line only while no \n follows.
        first = int(np.searchsorted(self._starts, max(start, 1), side="left"))
        last = int(np.searchsorted(self._starts, end, side="right"))
        between = _ends_of_terminators(self._data, max(0, start - 1), start + len(new))
        shift = len(new) - (end - start)
        last = max(first, last)
        if len(between) == last - first:
            self._starts[first:last] = between
            self._starts[last:] += shift
        else:
            self._starts = np.concatenate((self._starts[:first], between, self._starts[last:] + shift))


def _ends_of_terminators(data: bytes, start: int, end: int) -> NDArray[np.int64]:
    """Offsets just after each line terminator whose last byte lies in `start` to `end`."""
    codes = np.frombuffer(data, np.uint8, count=min(end + 1, len(data)) - start, offset=start)
    here = codes[: end - start]
    ends = here == _LF
    returns = here == _CR
    if returns.any():
        following = np.zeros(len(here), np.bool_)
        following[: len(codes) - 1] = codes[1:] == _LF
        ends |= returns & ~following
    return np.flatnonzero(ends).astype(np.int64) + (start + 1)
