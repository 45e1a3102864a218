"""Positions in three encodings, compared with a plain reference that walks over the characters."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.syntax.text import SourceText
from lsp_server.documents.positions import ENCODINGS, Encoding, column_to_byte, to_offset, to_position, units
from lsp_server.documents.texts import encoded

characters = st.sampled_from(["a", " ", "\n", "\r\n", "\r", "é", "漢", "😀", "\ud800", "\udc00", "\u2028", "\x0c", "ʼ"])
texts = st.lists(characters, max_size=25).map(lambda parts: "".join(parts))
encodings = st.sampled_from(ENCODINGS)


def width(character: str, encoding: Encoding) -> int:
    if encoding == "utf-32":
        return 1
    return len(encoded(character)) if encoding == "utf-8" else 1 + (ord(character) > 0xFFFF)


def reference(text: str, line: int, column: int, encoding: Encoding) -> int:
    """The byte offset, one character at a time."""
    lines = re.split("\r\n|\r|\n", text)
    if line >= len(lines):
        return len(encoded(text))
    starts = [0, *(found.end() for found in re.finditer("\r\n|\r|\n", text))]
    inside = ""
    for character in lines[line]:
        column -= width(character, encoding)
        if column < 0:
            break
        inside += character
    return len(encoded(text[: starts[line]] + inside))


def check_position(text: str, line: int, column: int, encoding: Encoding) -> int:
    found = to_offset(SourceText(encoded(text)), line, column, encoding)
    assert reference(text, line, column, encoding) == found
    return found


@given(texts, st.integers(0, 30), st.integers(0, 40), encodings)
def test_offsets_equal_the_reference(text: str, line: int, column: int, encoding: Encoding) -> None:
    check_position(text, line, column, encoding)


@given(texts, st.data(), encodings)
def test_every_characters_start_goes_there_and_back(text: str, data: st.DataObject, encoding: Encoding) -> None:
    at = data.draw(st.integers(0, len(text)))
    if text[at - 1 : at + 1] == "\r\n":  # between the two is no position
        return
    source = SourceText(encoded(text))
    offset = len(encoded(text[:at]))
    line, column = to_position(source, offset, encoding)
    before = encoded(text[:at])[source.line_start(line) :].decode("utf-8", "surrogatepass")
    assert column == sum(width(character, encoding) for character in before)
    assert to_offset(source, line, column, encoding) == offset


@given(texts.map(lambda text: re.sub("[\r\n]", "", text)), encodings)
def test_units_count_what_the_encoding_counts(text: str, encoding: Encoding) -> None:
    assert sum(width(character, encoding) for character in text) == units(encoded(text), encoding)


@pytest.mark.parametrize(("encoding", "column"), [("utf-8", 6), ("utf-16", 4), ("utf-32", 3)])
def test_columns_after_a_character_outside_the_basic_plane(encoding: Encoding, column: int) -> None:
    assert check_position("a😀.b", 0, column, encoding) == 6


def test_inside_a_character_means_its_start() -> None:
    assert column_to_byte("a😀b".encode(), 2, "utf-16") == 1
    assert column_to_byte("aéb".encode(), 2, "utf-8") == 1
    assert check_position("a😀b", 0, 2, "utf-16") == 1


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_beyond_the_end_is_the_end_in_every_encoding(encoding: Encoding) -> None:
    assert check_position("é\r\nb", 0, 99, encoding) == 2
    assert check_position("é\r\nb", 9, 0, encoding) == 5


def test_beyond_the_line_is_its_end_and_beyond_the_text_is_the_texts_end() -> None:
    assert check_position("ab\r\ncd", 0, 99, "utf-16") == 2
    assert check_position("ab\r\ncd", 9, 1, "utf-16") == 6
    assert to_position(SourceText(b"ab\ncd"), 99, "utf-16") == (1, 2)
    assert to_position(SourceText(b"ab\ncd"), -1, "utf-16") == (0, 0)


def test_form_feeds_and_unicode_line_separators_end_no_line() -> None:
    assert check_position("a\u2028b\x0cc\nd", 1, 1, "utf-16") == len("a\u2028b\x0cc\nd".encode())
