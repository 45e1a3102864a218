"""Converts LSP positions to byte offsets and back, in the three encodings of LSP 3.18 ("Position").

Works on UTF-8 bytes (lone surrogates are encoded with `surrogatepass`), so lines need not be decoded.
"""

from __future__ import annotations

from typing import Literal

from corpus.syntax.text import SourceText

Encoding = Literal["utf-8", "utf-16", "utf-32"]
ENCODINGS: tuple[Encoding, ...] = ("utf-8", "utf-16", "utf-32")

STEP = 2048  # bytes of a line that are counted at once
_INSIDE = bytes(range(0x80, 0xC0))  # UTF-8 continuation bytes
_NO_PAIR = bytes(range(0xF0))  # bytes that do not start a character of four bytes, which UTF-16 encodes as two units


def to_offset(text: SourceText, line: int, character: int, encoding: Encoding) -> int:
    """Return the byte offset of a position.

    A column after the end of its line means the end of the line. A line after the last one means the end of the text.
    """
    if line >= text.line_count:
        return len(text.data)
    start, end = text.line_start(line), text.line_end(line)
    return start + column_to_byte(text.data[start:end], character, encoding)


def to_position(text: SourceText, offset: int, encoding: Encoding) -> tuple[int, int]:
    """Return the line and column of a byte offset. The offset is clamped to the text."""
    offset = max(0, min(offset, len(text.data)))
    line = text.line_of(offset)
    start = text.line_start(line)
    return line, units(text.data[start:offset], encoding)


def units(data: bytes, encoding: Encoding) -> int:
    """Return the number of code units of `encoding` in the UTF-8 bytes `data`."""
    if encoding == "utf-8" or data.isascii():
        return len(data)
    characters = len(data.translate(None, _INSIDE))
    return characters + (len(data.translate(None, _NO_PAIR)) if encoding == "utf-16" else 0)


def column_to_byte(line: bytes, column: int, encoding: Encoding) -> int:
    """Return the byte offset of a column in `line`. A column inside a character means the start of the character."""
    if column <= 0:
        return 0
    if line.isascii():
        return min(column, len(line))
    if encoding == "utf-8":
        return _start_of_character(line, min(column, len(line)))
    at = 0
    while at < len(line):
        following = _start_of_character(line, min(at + STEP, len(line)))
        counted = units(line[at:following], encoding)
        if counted > column:
            return at + _within(line[at:following], column, encoding)
        at, column = following, column - counted
    return at


def _start_of_character(line: bytes, at: int) -> int:
    while at < len(line) and 0x80 <= line[at] < 0xC0:
        at -= 1
    return at


def _within(part: bytes, column: int, encoding: Encoding) -> int:
    """Like `column_to_byte`, but reads one character at a time."""
    at = 0
    while True:
        first = part[at]
        column -= 2 if first >= 0xF0 and encoding == "utf-16" else 1
        if column < 0:
            return at
        at += 1 if first < 0x80 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4
