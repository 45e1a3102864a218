"""Columns in three encodings against plain Python."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.syntax.text import SourceText
from lsp_server.documents.positions import ENCODINGS, Encoding, to_offset, to_position

texts = st.text(st.sampled_from("ab é漢😀\ud83d\n\r"), max_size=40)
WIDTH = {
    "utf-8": lambda c: len(c.encode("utf-8", "surrogatepass")),
    "utf-16": lambda c: len(c.encode("utf-16-le", "surrogatepass")) // 2,
    "utf-32": lambda c: 1,
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(texts, st.integers(0, 40))
def test_offset_and_position_are_inverse(encoding: Encoding, text: str, count: int) -> None:
    data = text.encode("utf-8", "surrogatepass")
    source = SourceText(data)
    offset = len(text[:count].encode("utf-8", "surrogatepass"))
    line, column = to_position(source, offset, encoding)
    start = source.line_start(line)
    before = data[start:offset].decode("utf-8", "surrogatepass")
    assert column == sum(map(WIDTH[encoding], before))
    assert to_offset(source, line, column, encoding) == min(offset, source.line_end(line))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_beyond_the_end_is_the_end(encoding: Encoding) -> None:
    source = SourceText("é\r\nb".encode())
    assert to_offset(source, 0, 99, encoding) == 2
    assert to_offset(source, 9, 0, encoding) == 5


def test_inside_a_surrogate_pair_is_its_start() -> None:
    assert to_offset(SourceText("a😀b".encode()), 0, 2, "utf-16") == 1
