"""DeLoRA: LoRA with the strength of the change apart from its directions (Bini et al. 2025, https://arxiv.org/abs/2503.18225)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuning.config import LayerConfig, fraction, one_of, positive
from tuning.kinds import Frozen
from tuning.layer_method import Additive, Layer, LayerMethod, as_computed
from tuning.methods.lora import METHOD as LORA
from tuning.patterns import value_for
from tuning.registry import LayerFamily

SHORTEST = 1e-4  # a shorter row of A, or column of B, is divided by this and not by its norm


@dataclass(kw_only=True)
class DeloraConfig(LayerConfig):
    """`delora_lambda`: the strength at the start, the largest norm of the change beside the weight's own columns."""

    METHOD: ClassVar[str] = "DELORA"

    r: int = 8
    delora_lambda: float = 15
    module_dropout: float = 0.0
    bias: str = "none"
    init_weights: bool = True
    rank_pattern: dict[str, int] | None = field(default_factory=dict)
    lambda_pattern: dict[str, float] | None = field(default_factory=dict)

    def check(self) -> None:
        super().check()
        positive(r=self.r, **{f"rank_pattern['{key}']": rank for key, rank in (self.rank_pattern or {}).items()})
        fraction(module_dropout=self.module_dropout)
        one_of("bias", self.bias, ("none", "all", "delora_only"))


@final
class Delora(Additive):
    """x ↦ base(x) + B Ξ A (w ⊙ x), Ξᵢ = λ / (r ‖aᵢ‖ ‖bᵢ‖). delora_A: (r, in), its rows aᵢ; delora_B: (out, r), its columns bᵢ;
    delora_lambda: (1,). delora_w_norm, w: (in,), the norms of the columns of the weight as it was when the adapter was made.
    """

    delora_w_norm: Tensor

    def __init__(self, frozen: Frozen, config: DeloraConfig, shared: None) -> None:
        super().__init__()
        out, into = frozen.shape
        r = value_for(config.rank_pattern, frozen.name, config.r)
        self.delora_A, self.delora_B = nn.Parameter(torch.empty(r, into)), nn.Parameter(torch.zeros(out, r))
        strength = float(value_for(config.lambda_pattern, frozen.name, config.delora_lambda))
        self.delora_lambda = nn.Parameter(torch.full((1,), strength))
        self.delora_dropout = nn.Dropout(config.module_dropout) if config.module_dropout else nn.Identity()
        nn.init.kaiming_uniform_(self.delora_A, a=math.sqrt(5))
        if not config.init_weights:
            nn.init.kaiming_uniform_(self.delora_B, a=math.sqrt(5))
        self.register_buffer("delora_w_norm", frozen.weight.detach().norm(dim=0))

    def strengths(self) -> Tensor:
        """Ξ's diagonal: (r,)."""
        a, b = self.delora_A.norm(dim=1).clamp(min=SHORTEST), self.delora_B.norm(dim=0).clamp(min=SHORTEST)
        return self.delora_lambda / len(self.delora_A) / (a * b)

    def change(self) -> Tensor:
        """What is added to the weight: (out, in)."""
        return (self.delora_B * self.strengths()) @ (self.delora_A * self.delora_w_norm.to(self.delora_A.dtype))

    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        result, norms = base(x), self.delora_w_norm.to(self.delora_A.dtype)
        low = functional.linear(self.delora_dropout(as_computed(x, norms.dtype)) * norms, self.delora_A)
        return result + functional.linear(low * self.strengths(), self.delora_B).to(result.dtype)


@final
class DeloraFamily(LayerFamily):
    name = "DELORA"
    prefix = "delora_"
    config = DeloraConfig
    targets = LORA.targets
    targets_of = LORA.targets_of

    def layer(self, frozen: Frozen, config: Any, shared: Any) -> LayerMethod:
        return Delora(frozen, config, shared)


METHOD = DeloraFamily()
