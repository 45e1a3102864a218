"""GraLoRA: a weight cut into k × k blocks, each with a LoRA of its own of rank r / k (Jung et al. 2025,
https://arxiv.org/abs/2505.20355).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from tuning.config import LayerConfig, fraction, one_of, positive
from tuning.errors import ConfigError
from tuning.kinds import Frozen
from tuning.layer_method import Additive, Layer, LayerMethod, as_computed
from tuning.methods.lora import METHOD as LORA
from tuning.registry import LayerFamily


@dataclass(kw_only=True)
class GraloraConfig(LayerConfig):
    """`r`: the rank of a row of blocks, `gralora_k` of them; `hybrid_r`: of a plain LoRA beside them, 0: none."""

    METHOD: ClassVar[str] = "GRALORA"

    r: int = 32
    hybrid_r: int = 0
    alpha: int = 64
    gralora_dropout: float = 0.0
    gralora_k: int = 2
    fan_in_fan_out: bool = False  # read and written for PEFT; a layer's own kind says how its weight lies
    bias: str = "none"
    init_weights: bool = True

    def check(self) -> None:
        super().check()
        positive(r=self.r, gralora_k=self.gralora_k)
        fraction(gralora_dropout=self.gralora_dropout)
        one_of("bias", self.bias, ("none", "all", "gralora_only"))
        if self.r % self.gralora_k:
            raise ConfigError(f"r should be divisible by gralora_k, but got {self.r} and {self.gralora_k}")
        if self.hybrid_r < 0:
            raise ConfigError(f"hybrid_r is {self.hybrid_r}; it has to be 0 or more")


@final
class Gralora(Additive):
    """x ↦ base(x) + scaling · ΔW x, ΔW's block (o, i) = B[o, rows of i]ᵀ A[i, columns of o]ᵀ. gralora_A: (k, in / k, r), gralora_B:
    (k, r, out / k); each cuts r into k parts. gralora_A_general (hybrid_r, in) and gralora_B_general (out, hybrid_r): the LoRA beside.
    """

    def __init__(self, frozen: Frozen, config: GraloraConfig, shared: None) -> None:
        super().__init__()
        (out, into), k, r = frozen.shape, config.gralora_k, config.r
        if out % k or into % k:
            raise ConfigError(
                f"gralora_k is {k}, and '{frozen.name}' has {into} in_features and {out} out_features: both should be divisible by gralora_k"
            )
        self.k, self.into, self.hybrid = k, into, config.hybrid_r > 0
        self.scaling = config.alpha / (r + config.hybrid_r)
        self.gralora_dropout = nn.Dropout(config.gralora_dropout) if config.gralora_dropout else nn.Identity()
        parts = [_pair(r, into // k, out // k, config.init_weights) for _ in range(k)]
        self.gralora_A = nn.Parameter(torch.stack([a for a, _ in parts]).mT.contiguous())
        self.gralora_B = nn.Parameter(torch.stack([b for _, b in parts]).mT.contiguous())
        if self.hybrid:
            self.gralora_A_general = nn.Linear(into, config.hybrid_r, bias=False)
            self.gralora_B_general = nn.Linear(config.hybrid_r, out, bias=False)
            a, b = _pair(config.hybrid_r, into, out, config.init_weights)
            self.gralora_A_general.weight.data, self.gralora_B_general.weight.data = a, b

    def _by_blocks(self, x: Tensor) -> Tensor:
        """ΔW x of the blocks, unscaled. x: (…, in)."""
        low = torch.einsum("...ni,nir->...nr", x.unflatten(-1, (self.k, -1)), self.gralora_A)
        exchanged = (
            low.unflatten(-1, (self.k, -1)).transpose(-3, -2).flatten(-2)
        )  # part j of each row of blocks to row j
        return torch.einsum("...nr,nro->...no", exchanged, self.gralora_B).flatten(-2)

    def change(self) -> Tensor:
        """What is added to the weight: (out, in)."""
        a = self.gralora_A
        change = self._by_blocks(torch.eye(self.into, dtype=a.dtype, device=a.device)).T
        if self.hybrid:
            change = change + self.gralora_B_general.weight @ self.gralora_A_general.weight
        return change * self.scaling

    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        result = base(x)
        x = as_computed(x, self.gralora_A.dtype)
        added = self._by_blocks(self.gralora_dropout(x))
        if self.hybrid:
            added = added + self.gralora_B_general(self.gralora_A_general(self.gralora_dropout(x)))
        return result + (added * self.scaling).to(result.dtype)


def _pair(r: int, into: int, out: int, identity: bool) -> tuple[Tensor, Tensor]:
    """A (r, in) by Kaiming's uniform rule and B (out, r) of zeros, or by that rule too."""
    a, b = torch.empty(r, into), torch.zeros(out, r)
    nn.init.kaiming_uniform_(a, a=math.sqrt(5))
    if not identity:
        nn.init.kaiming_uniform_(b, a=math.sqrt(5))
    return a, b


@final
class GraloraFamily(LayerFamily):
    name = "GRALORA"
    prefix = "gralora_"
    config = GraloraConfig
    targets = LORA.targets
    targets_of = LORA.targets_of

    def layer(self, frozen: Frozen, config: Any, shared: Any) -> LayerMethod:
        return Gralora(frozen, config, shared)


METHOD = GraloraFamily()
