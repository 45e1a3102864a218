"""How LoftQ starts (Li et al. 2023, https://arxiv.org/abs/2310.08659): a layer's weight W becomes Q, W as it is after rounding to NF4 or to
8 bit, and B A takes what is nearest to W - Q. As in PEFT, the scaling is left out of account: take lora_alpha=r.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from corpus.interpreter import missing
from tuning.config import one_of, positive
from tuning.errors import LibraryMissing

BLOCK = 64  # weights that share a scale in NF4


@dataclass
class LoftQConfig:
    """LoftQ (Li et al. 2023, https://arxiv.org/abs/2310.08659): 4 bits are NF4, 8 a scale a row; `loftq_iter` rounds. LoraConfig keeps it as
    a dict, as in PEFT.
    """

    loftq_bits: int = 4
    loftq_iter: int = 1

    def __post_init__(self) -> None:
        one_of("loftq_bits", self.loftq_bits, (4, 8))
        positive(loftq_iter=self.loftq_iter)


def split(weight: Tensor, rank: int, bits: int, rounds: int) -> tuple[Callable[[], Tensor], Tensor, Tensor]:
    """What gives Q (out, in), and A (rank, in) and B (out, rank), B A being nearest to W - Q; in float32 (algorithm 1).

    `rounds` times: Q is W - B A rounded, and B A is what W - Q has of the largest singular values. Raises LibraryMissing.
    """
    weight = weight.detach().float()
    rounded = _rounded(weight, bits)
    a, b = factors(weight - rounded(), rank)
    for _ in range(rounds - 1):
        rounded = _rounded(weight - b @ a, bits)
        a, b = factors(weight - rounded(), rank)
    return rounded, a, b


def factors(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """A (rank, in) and B (out, rank), B A being nearest to a weight (out, in)."""
    left, values, right = torch.linalg.svd(weight, full_matrices=False)
    root = values[:rank].sqrt()
    return root.unsqueeze(1) * right[:rank], left[:, :rank] * root


def _rounded(weight: Tensor, bits: int) -> Callable[[], Tensor]:
    """What gives a weight as it is after rounding; until then it takes `bits` bits a value."""
    try:
        from bitsandbytes import functional
    except ImportError as error:
        raise LibraryMissing(f"LoftQ: {missing('bitsandbytes', extra='quantised')}") from error
    library: Any = functional
    if bits == 4:
        kept, state = library.quantize_4bit(weight, blocksize=BLOCK, compress_statistics=False, quant_type="nf4")
        return partial(library.dequantize_4bit, kept, state)
    kept, scale, _ = library.int8_vectorwise_quant(weight.half())
    return partial(library.int8_vectorwise_dequant, kept, scale)
