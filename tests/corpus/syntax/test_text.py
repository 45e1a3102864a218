"""Where lines start, after any edits: as splitting the text anew says it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.syntax import text
from corpus.syntax.text import SourceText

pieces = st.text(st.sampled_from("ab\r\né"), max_size=12).map(str.encode)
edits = st.lists(st.tuples(st.integers(-2, 60), st.integers(-2, 60), pieces), max_size=12)


def check(source: SourceText) -> None:
    data = source.data
    starts = [0, *(found.end() for found in re.finditer(rb"\r\n|\r|\n", data))]
    assert source.line_count == len(starts)
    assert [source.line_start(line) for line in range(len(starts))] == starts
    for offset in range(len(data) + 1):
        assert source.line_of(offset) == sum(start <= offset for start in starts) - 1
    for line, (start, following) in enumerate(zip(starts, [*starts[1:], None], strict=True)):
        whole = data[start:following]
        assert source.line_end(line) == start + len(re.sub(rb"(\r\n|\r|\n)\Z", b"", whole) if following else whole)


@given(st.integers(1, 5), st.text(st.sampled_from("ab\r\n"), max_size=40).map(str.encode), edits)
def test_lines_after_edits(block: int, data: bytes, changes: list[tuple[int, int, bytes]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "BLOCK", block)
        source = SourceText(data)
        check(source)
        for start, end, new in changes:
            low = max(0, min(start, len(data)))
            high = max(low, min(end, len(data)))
            data = data[:low] + new + data[high:]
            source.replace(start, end, new)
            assert source.data == data
            check(source)


def test_lines_out_of_range_are_the_nearest() -> None:
    source = SourceText(b"a\nb")
    assert (source.line_start(-3), source.line_start(99)) == (0, 2)
    assert (source.line_end(-1), source.line_end(99)) == (1, 3)
    assert (source.line_of(-1), source.line_of(99)) == (0, 1)


def test_a_return_and_a_line_feed_that_meet_are_one_end() -> None:
    source = SourceText(b"a\rX\nb")
    source.replace(2, 3, b"")
    check(source)
    source.replace(2, 2, b"Y")
    check(source)
    assert source.line_count == 3
