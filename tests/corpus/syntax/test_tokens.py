"""Texts that are cut together give the tokens that each has by itself."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st

from corpus.syntax.tokens import PIECE, cut, tokenize

NAME = re.compile(rb"(?<![0-9A-Za-z_$\x80-\xff])[A-Za-z_$\x80-\xff][0-9A-Za-z_$\x80-\xff]*")


def check_cut(*texts: bytes) -> None:
    found = cut(texts)
    for text, own, names in zip(texts, found.tokens, found.names, strict=True):
        assert found.hashes[own].tolist() == tokenize(text).hashes.tolist()
        places = zip(names.first.tolist(), names.last.tolist(), strict=True)
        expected = [match.span() for match in NAME.finditer(text)]
        assert list(places) == expected
        inner = [(start, before) for (start, _), before in zip(expected, names.before.tolist(), strict=True) if start]
        assert all(text[start - 1] == before for start, before in inner)


@given(st.lists(st.binary(max_size=20) | st.text(alphabet="a1. \n\1\r\u00e9", max_size=20).map(str.encode), min_size=1))
@example([b"a\n", b"\n\nb", b"", b"c", b"\1", b"\1d"])
def test_texts_together(texts: list[bytes]) -> None:
    check_cut(*texts)


def test_texts_longer_than_a_piece() -> None:
    lines = b"".join(b"name_%d = value(%d)\n\n" % (i, i) for i in range(PIECE // 10))
    check_cut(lines)
    check_cut(b"a", lines, b"b", lines[: PIECE - 1], b"c")


def test_a_word_longer_than_a_piece_is_no_error() -> None:
    found = cut([b"a" * (PIECE + 5), b"b"])
    assert [len(found.hashes[own]) for own in found.tokens] == [1, 1]
