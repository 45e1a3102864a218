"""LoHa: a change that is the element-wise product of two low-rank matrices, so of rank up to r² (FedPara, Hyeon-Woo et al. 2021,
https://arxiv.org/abs/2108.06098; as an adapter Yeh et al. 2023, https://arxiv.org/abs/2309.14859).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from tuning.config import one_of
from tuning.kinds import CONV, LINEAR, Frozen
from tuning.layer_method import Additive, Layer, LayerMethod, as_computed
from tuning.methods._lycoris import LycorisConfig, kernel_of, left_out, rows_kept
from tuning.methods.lora import METHOD as LORA
from tuning.patterns import value_for
from tuning.registry import LayerFamily


@dataclass(kw_only=True)
class LoHaConfig(LycorisConfig):
    METHOD: ClassVar[str] = "LOHA"

    def check(self) -> None:
        super().check()
        one_of("init_weights", self.init_weights, (True, False))


@final
class LoHa(Additive):
    """x ↦ base(x) + scaling · ((A₁B₁) ⊙ (A₂B₂)) x. A: (out, r), B: (r, in)."""

    def __init__(self, frozen: Frozen, config: LoHaConfig, shared: None) -> None:
        super().__init__()
        out, into = frozen.shape
        module: Any = frozen.module
        self.kernel = kernel_of(frozen, config)
        r = value_for(config.rank_pattern, frozen.name, config.r)
        self.scaling = value_for(config.alpha_pattern, frozen.name, config.alpha) / r
        self.rank_dropout, self.module_dropout = config.rank_dropout, config.module_dropout
        if self.kernel:  # both matrices are tensors (out, in, kernel), of a small core
            into = module.in_channels // module.groups
            shapes = ((r, out), (r, into), (r, out), (r, into))
        else:
            shapes = ((out, r), (r, into), (out, r), (r, into))
        self.hada_w1_a, self.hada_w1_b, self.hada_w2_a, self.hada_w2_b = (
            nn.Parameter(torch.empty(shape)) for shape in shapes
        )
        for factor in (self.hada_w1_a, self.hada_w1_b, self.hada_w2_a):
            nn.init.kaiming_uniform_(factor, a=math.sqrt(5))
        if self.kernel:
            self.hada_t1 = nn.Parameter(torch.empty(r, r, *self.kernel))
            self.hada_t2 = nn.Parameter(torch.empty(r, r, *self.kernel))
            for core in (self.hada_t1, self.hada_t2):
                nn.init.kaiming_uniform_(core, a=math.sqrt(5))
        if config.init_weights:
            nn.init.zeros_(self.hada_w2_b)
        else:
            nn.init.kaiming_uniform_(self.hada_w2_b, a=math.sqrt(5))

    def change(self) -> Tensor:
        """What is added to the weight: (out, in)."""
        if self.kernel:
            parts = (
                torch.einsum("ijkl,jr,ip->prkl", core, b, a)
                for core, a, b in (
                    (self.hada_t1, self.hada_w1_a, self.hada_w1_b),
                    (self.hada_t2, self.hada_w2_a, self.hada_w2_b),
                )
            )
            first, second = parts
            return (first * second).flatten(1) * self.scaling
        product: Any = Hadamard.apply(self.hada_w1_a, self.hada_w1_b, self.hada_w2_a, self.hada_w2_b)
        return product * self.scaling

    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        result = base(x)
        if self.training and left_out(self.module_dropout):
            return result
        change = self.change()
        if self.training and self.rank_dropout:
            change = change * rows_kept(len(change), change, self.rank_dropout, scaled=True).unsqueeze(1)
        added = frozen.kind.apply(frozen.module, as_computed(x, self.hada_w1_a.dtype), change)
        return result + added.to(result.dtype)


@final
class Hadamard(torch.autograd.Function):
    """(A₁B₁) ⊙ (A₂B₂): (out, in). Keeps the factors alone for the backward pass, which computes both products again."""

    @staticmethod
    def forward(ctx: Any, a1: Tensor, b1: Tensor, a2: Tensor, b2: Tensor) -> Tensor:
        ctx.save_for_backward(a1, b1, a2, b2)
        return (a1 @ b1) * (a2 @ b2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        a1, b1, a2, b2 = ctx.saved_tensors
        (gradient,) = gradients
        first, second = gradient * (a2 @ b2), gradient * (a1 @ b1)
        return first @ b1.T, a1.T @ first, second @ b2.T, a2.T @ second


@final
class LoHaFamily(LayerFamily):
    name = "LOHA"
    prefix = "hada_"
    config = LoHaConfig
    roles = frozenset({LINEAR, CONV})
    targets = LORA.targets
    targets_of = LORA.targets_of

    def layer(self, frozen: Frozen, config: Any, shared: Any) -> LayerMethod:
        return LoHa(frozen, config, shared)


METHOD = LoHaFamily()
