"""Keys of the n-grams that end in a name, from token ids. Derives them again for removal; stores none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from corpus.syntax.tokens import U32, U64, mix

CONTEXT = 5  # tokens before a name that predict it: orders 1 to 6
PAD = np.zeros(CONTEXT, np.uint32)  # what stands before a text's first token; no token has the id 0

_STEP = np.uint64(0xD6E8FEB86659FD93)
_NAME = np.uint64(0xC2B2AE3D27D4EB4F)
_TOTAL = np.uint64(0xA0761D6478BD642F)  # tells "names after this context" from "this name after this context"


def gram_keys(texts: Sequence[U32]) -> U64:
    """uint64 [names * (2 * CONTEXT + 1)]: for each name of each text, the name after each context, and each context.

    texts: token ids, uint32 [n] each.
    """
    ids = np.concatenate([part for text in texts for part in (PAD, text)]) if texts else PAD
    at = np.flatnonzero(ids & np.uint32(1))
    names = ids[at].astype(np.uint64)
    keys = np.empty((2 * CONTEXT + 1, len(at)), np.uint64)
    keys[0] = _name_keys(np.uint64(0), names)
    context = np.zeros(len(at), np.uint64)
    for k in range(1, CONTEXT + 1):
        context = _longer(context, ids[at - k])
        keys[2 * k - 1] = mix(context ^ _TOTAL)
        keys[2 * k] = _name_keys(context, names)
    return keys.reshape(-1)


def query_keys(context: U32, names: U32) -> tuple[U64, U64]:
    """Totals uint64 [CONTEXT] and grams uint64 [CONTEXT + 1, n] of `names` after `context` (nearest token last)."""
    wide = names.astype(np.uint64)
    grams = np.empty((CONTEXT + 1, len(names)), np.uint64)
    totals = np.empty(CONTEXT, np.uint64)
    grams[0] = _name_keys(np.uint64(0), wide)
    key = np.zeros(1, np.uint64)
    for k in range(1, CONTEXT + 1):
        key = _longer(key, context[-k:][:1])
        totals[k - 1] = mix(key ^ _TOTAL)[0]
        grams[k] = _name_keys(key[0], wide)
    return totals, grams


def _longer(contexts: U64, tokens: U32) -> U64:
    """The keys of contexts that reach one token further back."""
    return mix(contexts * _STEP + tokens.astype(np.uint64) + np.uint64(1))


def _name_keys(contexts: U64 | np.uint64, names: U64) -> U64:
    return mix(contexts + names * _NAME)
