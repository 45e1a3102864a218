"""Reading the text before a cursor: what is kept between readings changes nothing."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from corpus.syntax.language import Language, languages
from corpus.syntax.lexical import CodeReader, code

PIECES = st.lists(
    st.sampled_from(
        [
            "x = 1\n",
            '"""',
            '"',
            "'",
            "#",
            "\n",
            "f'{",
            "}",
            "(a,",
            ")",
            "    return x\n",
            "\\",
            "`",
            "${",
            "/*",
            "*/",
            "//",
        ]
    )
)


@pytest.mark.parametrize("language", languages().values(), ids=lambda language: language.id)
@example(texts=[["f'{", "\\", "\n", "x = 1\n"], []])
@given(texts=st.lists(PIECES, min_size=1, max_size=6))
def test_a_reader_says_what_a_fresh_reading_says(language: Language, texts: list[list[str]]) -> None:
    read = CodeReader()
    data = b""
    for pieces in texts:
        data += "".join(pieces).encode()
        assert read(data, language) == code(data, language)
        assert read(data[: len(data) // 2], language) == code(data[: len(data) // 2], language)
