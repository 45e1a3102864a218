"""Reading the text before a cursor: what is kept between readings changes nothing."""

from hypothesis import example, given
from hypothesis import strategies as st

from corpus.syntax.language import languages
from corpus.syntax.lexical import CodeReader, code

PYTHON = languages()["python"]
PIECES = st.lists(
    st.sampled_from(["x = 1\n", '"""', '"', "'", "#", "\n", "f'{", "}", "(a,", ")", "    return x\n", "\\"])
)


@example([["f'{", "\\", "\n", "x = 1\n"], []])
@given(st.lists(PIECES, min_size=1, max_size=6))
def test_a_reader_says_what_a_fresh_reading_says(texts: list[list[str]]) -> None:
    read = CodeReader()
    data = b""
    for pieces in texts:
        data += "".join(pieces).encode()
        assert read(data, PYTHON) == code(data, PYTHON)
        assert read(data[: len(data) // 2], PYTHON) == code(data[: len(data) // 2], PYTHON)
