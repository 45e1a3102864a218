"""Weights in fewer bits: how each linear layer is stored, and the arithmetic of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SEVEN_BITS = 63  # with eight, pairs of products overflow 16 bits where a processor has AVX2 without VNNI
EIGHT_BITS = 127
BLOCK = 32


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """How each linear layer is stored: a name in `llama_graph.LINEAR` for the head, for parts of layers, and for what is left."""

    head: str
    others: str
    parts: Mapping[str, str] = field(default_factory=dict[str, str])  # of "qkv", "o", "gate_up", "down"

    def of(self, part: str) -> str:
        return self.parts.get(part, self.others)

    @property
    def is_quantised(self) -> bool:
        return self != FLOAT32


FLOAT32 = Scheme(head="float32", others="float32")
# Queries, keys and values in eight bits by block, the rest in seven by channel (docs/decisions has the figures).
SERVED = Scheme(head="dynamic", others="dynamic", parts={"qkv": "blocks", "down": "rows"})


def per_channel(weight: Floats) -> tuple[NDArray[np.int8], Floats]:
    """int8 [out, in] of seven bits, and what each row is multiplied by, float32 [out]."""
    scales = np.abs(weight).max(axis=1) / SEVEN_BITS
    scales[scales == 0] = 1.0
    return np.rint(weight / scales[:, None]).astype(np.int8), scales.astype(np.float32)


def in_blocks(weight: Floats) -> tuple[NDArray[np.int8], Floats]:
    """int8 [out, in / BLOCK, BLOCK], and what each block is multiplied by, float32 [out, in / BLOCK]. `in` is a multiple of BLOCK."""
    blocks = weight.reshape(len(weight), -1, BLOCK)
    scales = np.abs(blocks).max(axis=2) / EIGHT_BITS
    scales[scales == 0] = 1.0
    return np.rint(blocks / scales[..., None]).astype(np.int8), scales.astype(np.float32)


def block_values(values: NDArray[np.int8], scales: NDArray[np.floating]) -> Floats:
    """What `in_blocks` was given: int8 [n, blocks, BLOCK] and [n, blocks] to float32 [n, in]."""
    return (values * scales[..., None].astype(np.float32)).reshape(len(values), -1)
