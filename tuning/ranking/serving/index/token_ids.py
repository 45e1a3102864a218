"""Token ids of many texts at once: cutting a small file alone costs far more than its bytes do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from corpus.syntax.tokens import PIECE, SEPARATOR, U32, hash_names, tokenize

_SEPARATOR_HASH = hash_names([SEPARATOR.decode()])[0]


def ids_of(texts: Sequence[bytes]) -> list[U32]:
    """`tokenize(text).ids()` of each text, uint32 [n] each."""
    found: list[U32] = []
    together: list[bytes] = []
    size = 0
    for text in texts:
        if together and size + len(text) + 1 > PIECE:  # a longer one would be cut where these alone are not
            found += _cut(together)
            together, size = [], 0
        together.append(text)
        size += len(text) + 1
    return found + _cut(together)


def _cut(texts: Sequence[bytes]) -> list[U32]:
    """Of texts that fit one piece together, or of one text of any length."""
    if len(texts) < 2:
        return [tokenize(text).ids() for text in texts]
    tokens = tokenize(SEPARATOR.join([*texts, b""]))
    ids = tokens.ids()
    # A text may hold the separator too: the last of its own and the one behind it ends it.
    own = np.fromiter((text.count(SEPARATOR) for text in texts), np.int64, len(texts))
    ends = np.flatnonzero(tokens.hashes == _SEPARATOR_HASH)[np.cumsum(own + 1) - 1].tolist()
    return [ids[start:end].copy() for start, end in zip([0, *(end + 1 for end in ends)], ends, strict=False)]
