"""What the methods of LyCORIS (Yeh et al. 2023, https://arxiv.org/abs/2309.14859) have in common: LoHa and LoKr."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tuning.config import LayerConfig, fraction, positive
from tuning.kinds import CONV, Frozen


@dataclass(kw_only=True)
class LycorisConfig(LayerConfig):
    """`use_effective_conv2d`: a convolution's change keeps its kernel apart from its rank (FedPara, proposition 3). `rank_dropout`: the share of the change's rows that a training step leaves out. `module_dropout`: how often a training step
    leaves out a layer's whole change.
    """

    rank_pattern: dict[str, int] | None = field(default_factory=dict)
    alpha_pattern: dict[str, int] | None = field(default_factory=dict)
    r: int = 8
    alpha: int = 8
    rank_dropout: float = 0.0
    module_dropout: float = 0.0
    use_effective_conv2d: bool = False
    init_weights: bool | str = True

    def check(self) -> None:
        super().check()
        positive(r=self.r, alpha=self.alpha)
        fraction(rank_dropout=self.rank_dropout, module_dropout=self.module_dropout)


def channels(frozen: Frozen) -> tuple[int, int, tuple[int, ...]]:
    """(out, in, kernel): a convolution's channels, and the kernel's sizes; of another layer its outputs and inputs, and no kernel."""
    if frozen.role != CONV:
        return (*frozen.shape, ())
    module: Any = frozen.module
    return module.out_channels, module.in_channels // module.groups, tuple(module.kernel_size)


def kernel_of(frozen: Frozen, config: LycorisConfig) -> tuple[int, int] | None:
    """A convolution's kernel, as two numbers, where a change is to keep it apart."""
    module: Any = frozen.module
    if frozen.role != CONV or not config.use_effective_conv2d or all(size == 1 for size in module.kernel_size):
        return None
    first, second, *_ = (*module.kernel_size, 1)
    return first, second


def left_out(module_dropout: float) -> bool:
    """Whether this training step leaves out a layer's change."""
    return module_dropout > 0 and torch.rand(1).item() <= module_dropout


def rows_kept(rows: int, like: Tensor, rank_dropout: float, *, scaled: bool) -> Tensor:
    """0 for each row that this training step leaves out, else 1; `scaled`: as much more as others are left out. (rows,)."""
    kept = (torch.rand(rows, device=like.device) > rank_dropout).to(like.dtype)
    return kept / kept.mean().clamp_min(1 / rows) if scaled else kept
