"""BD-LoRA: one of LoRA's factors is block-diagonal, so that devices that share a layer's weight out compute it without each other
(Wang et al. 2025, https://arxiv.org/abs/2510.23346).
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from tuning.errors import ConfigError
from tuning.kinds import Frozen
from tuning.methods._lora_options import BdLoraConfig
from tuning.methods._lora_variant import Factors, Summed


class Blocks(nn.Module):
    """x ↦ (W₁ x₁, …, Wₙ xₙ), x cut into n pieces. weight: (out, in / n), the blocks one below the other."""

    bias = None

    def __init__(self, in_features: int, out_features: int, nblocks: int) -> None:
        super().__init__()
        if in_features % nblocks or out_features % nblocks:
            raise ConfigError(
                f"a factor of {out_features} × {in_features} is not divisible by nblocks, which is {nblocks}"
            )
        self.in_features, self.out_features, self.nblocks = in_features, out_features, nblocks
        self.weight = nn.Parameter(torch.empty(out_features, in_features // nblocks))

    def forward(self, x: Tensor) -> Tensor:
        blocks = self.weight.unflatten(0, (self.nblocks, -1))
        return torch.einsum("...bi,boi->...bo", x.unflatten(-1, (self.nblocks, -1)), blocks).flatten(-2)

    def weight_as_blockdiagonal_matrix(self) -> Tensor:
        """(out, in)."""
        return torch.block_diag(*self.weight.chunk(self.nblocks))


@final
class BdLora(Summed):
    """x ↦ base(x) + scaling · B A x, A or B block-diagonal."""

    def __init__(self, lora: Factors, config: BdLoraConfig, frozen: Frozen) -> None:
        first = any(part in frozen.name for part in config.target_modules_bd_a or ())
        then = any(part in frozen.name for part in config.target_modules_bd_b or ())
        if first and then:
            raise ConfigError(
                f"target_modules_bd_a and target_modules_bd_b both mean '{frozen.name}': one factor is in blocks"
            )
        if config.match_strict and not (first or then):
            raise ConfigError(
                f"neither target_modules_bd_a nor target_modules_bd_b means '{frozen.name}'. Name it in one of them, or allow plain LoRA "
                "there with match_strict=False"
            )
        out, into = frozen.shape
        r = len(lora.factors[0])
        if first:
            lora.lora_A = Blocks(into, r, config.nblocks)
            nn.init.kaiming_uniform_(lora.lora_A.weight)
        elif then:
            lora.lora_B = Blocks(r, out, config.nblocks)
            nn.init.zeros_(lora.lora_B.weight)

    def change(self, lora: Factors, frozen: Frozen) -> Tensor:
        a, b = (
            part.weight_as_blockdiagonal_matrix() if isinstance(part, Blocks) else part.weight
            for part in (lora.lora_A, lora.lora_B)
        )
        return b @ a * lora.scaling

    def added(self, lora: Factors, result: Tensor, x: Tensor, frozen: Frozen) -> Tensor:
        return lora.low(lora.lora_dropout(x), frozen)
