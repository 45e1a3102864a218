"""How RandLoRA's random bases are drawn (Albert et al. 2025, https://arxiv.org/abs/2502.00987)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """In bfloat16, as PEFT draws them, so that a seed gives the same ones."""
    return nn.init.kaiming_uniform_(torch.empty(shape, dtype=torch.bfloat16), a=math.sqrt(5), generator=generator)


def signs(drawn: Tensor, kept: float) -> Tensor:
    """-1 and 1 with a probability of kept / 2 each, else 0 (Li et al. 2006, "Very sparse random projections")."""
    return (drawn > 1 - kept / 2).float() - (drawn < kept / 2).float()
