"""Texts cut together have the ids that each has alone."""

from hypothesis import given
from hypothesis import strategies as st

from corpus.syntax.tokens import PIECE, tokenize
from tuning.ranking.serving.index.token_ids import ids_of

PIECES = [b"a.b", b"\n", b"\r\n", b"\n\n", b"    ", b"\1", b"9x", "é".encode(), b"word " * 40, b"x" * (PIECE // 2)]


@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=6).map(b"".join), max_size=12))
def test_together_as_alone(texts: list[bytes]) -> None:
    together, alone = ids_of(texts), [tokenize(text).ids() for text in texts]
    assert [ids.tolist() for ids in together] == [ids.tolist() for ids in alone]
    assert all(ids.base is None for ids in together)  # one file that goes frees its own
