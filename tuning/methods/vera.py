"""VeRA: random projections that all layers share, frozen, between vectors that are trained (Kopiczko et al. 2023,
https://arxiv.org/abs/2310.11454).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuning.config import LayerConfig, fraction, one_of, positive
from tuning.kinds import Frozen
from tuning.layer_method import Additive, Layer, LayerMethod, as_computed
from tuning.methods._projections import ProjectedFamily, Projections, uniform
from tuning.methods.lora import METHOD as LORA
from tuning.placement import Placed


@dataclass(kw_only=True)
class VeraConfig(LayerConfig):
    """`projection_prng_key`: the seed of the projections. `save_projection`: save them with the adapter too."""

    METHOD: ClassVar[str] = "VERA"

    r: int = 256
    projection_prng_key: int = 0
    save_projection: bool = True
    vera_dropout: float = 0.0
    d_initial: float = 0.1
    fan_in_fan_out: bool = False  # read and written for PEFT; a layer's own kind says how its weight lies
    bias: str = "none"
    init_weights: bool = True

    def check(self) -> None:
        super().check()
        positive(r=self.r)
        fraction(vera_dropout=self.vera_dropout)
        one_of("bias", self.bias, ("none", "all", "vera_only"))


@final
class Vera(Additive):
    """x ↦ base(x) + b ⊙ B (d ⊙ A x). A: (r, in) and B: (out, r), what a layer needs of the shared ones; d: (r,) and b: (out,) are
    trained.
    """

    def __init__(self, frozen: Frozen, config: VeraConfig, shared: Projections) -> None:
        super().__init__()
        self.out, self.into = frozen.shape
        self.shared = (shared,)  # in a tuple: the adapter's, not this layer's own
        self.vera_dropout = nn.Dropout(config.vera_dropout) if config.vera_dropout else nn.Identity()
        self.vera_lambda_b = nn.Parameter(torch.ones(self.out))
        self.vera_lambda_d = nn.Parameter(torch.randn(config.r))
        if config.init_weights:
            nn.init.zeros_(self.vera_lambda_b)
            nn.init.constant_(self.vera_lambda_d, config.d_initial)

    def projections(self) -> tuple[Tensor, Tensor]:
        """(A, B)."""
        a, b = self.shared[0].get(self.vera_lambda_d)
        r = len(self.vera_lambda_d)
        return a[:r, : self.into], b[: self.out, :r]

    def change(self) -> Tensor:
        """What is added to the weight: (out, in)."""
        a, b = self.projections()
        return (self.vera_lambda_b[:, None] * b) @ (self.vera_lambda_d[:, None] * a)

    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        result = base(x)
        a, b = self.projections()
        low = self.vera_lambda_d * functional.linear(self.vera_dropout(as_computed(x, a.dtype)), a)
        return result + (self.vera_lambda_b * functional.linear(low, b)).to(result.dtype)


@final
class VeraFamily(ProjectedFamily):
    name = "VERA"
    prefix = "vera_lambda_"
    config = VeraConfig
    targets_of: ClassVar[Mapping[str, Sequence[str] | str]] = {**LORA.targets_of, "phi": ("q_proj", "v_proj")}

    def layer(self, frozen: Frozen, config: Any, shared: Any) -> LayerMethod:
        return Vera(frozen, config, shared)

    def shared(self, config: Any, model: nn.Module, layers: Sequence[Frozen], others: Mapping[str, Any]) -> Placed:
        return uniform("vera", config, config.r, layers, others)


METHOD = VeraFamily()
