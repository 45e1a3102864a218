"""LSP positions to byte offsets and back, in the three encodings of LSP 3.17 ("Position").

Works on UTF-8 bytes (lone surrogates encoded with `surrogatepass`), so no line is decoded to be counted.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from corpus.syntax.text import SourceText

Encoding = Literal["utf-8", "utf-16", "utf-32"]
ENCODINGS: tuple[Encoding, ...] = ("utf-8", "utf-16", "utf-32")


def to_offset(text: SourceText, line: int, character: int, encoding: Encoding) -> int:
    """The byte offset of a position. Beyond a line's end means its end; beyond the last line, the text's end."""
    if line >= text.line_count:
        return len(text.data)
    start, end = text.line_start(line), text.line_end(line)
    return start + column_to_byte(bytes(text.data[start:end]), character, encoding)


def to_position(text: SourceText, offset: int, encoding: Encoding) -> tuple[int, int]:
    """The line and column of a byte offset, clamped to the text."""
    offset = max(0, min(offset, len(text.data)))
    line = text.line_of(offset)
    start = text.line_start(line)
    return line, units(bytes(text.data[start:offset]), encoding)


def units(data: bytes, encoding: Encoding) -> int:
    """Code units of the encoding in UTF-8 `data`."""
    if encoding == "utf-8" or data.isascii():
        return len(data)
    codes = np.frombuffer(data, np.uint8)
    characters = int(np.count_nonzero((codes & 0xC0) != 0x80))
    return characters + (int(np.count_nonzero(codes >= 0xF0)) if encoding == "utf-16" else 0)


def column_to_byte(line: bytes, column: int, encoding: Encoding) -> int:
    """The byte offset in `line` of a column; one inside a character means that character's start."""
    if column <= 0:
        return 0
    if line.isascii():
        return min(column, len(line))
    codes = np.frombuffer(line, np.uint8)
    starts = np.flatnonzero((codes & 0xC0) != 0x80)  # one a character
    if encoding == "utf-8":
        width = np.diff(np.append(starts, len(line)))
    elif encoding == "utf-16":
        width = 1 + (codes[starts] >= 0xF0)
    else:
        width = np.ones(len(starts), np.int64)
    ends = np.cumsum(width)
    whole = int(np.searchsorted(ends, column, side="right"))  # characters that end at or before the column
    return int(starts[whole]) if whole < len(starts) else len(line)
