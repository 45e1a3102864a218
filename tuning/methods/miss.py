"""MiSS: one small matrix shared by all shards of a weight (Kang and Yin 2024, https://arxiv.org/abs/2409.15371), and its variant
Bat, in which each shard's change depends on the shard.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuning.config import LayerConfig, fraction, one_of, positive
from tuning.errors import ConfigError
from tuning.kinds import Affine, Frozen
from tuning.layer_method import Layer, LayerMethod, as_computed
from tuning.methods.lora import METHOD as LORA
from tuning.registry import LayerFamily
from tuning.rotations import solvable

BAT, MINI = "bat", "mini"


@dataclass(kw_only=True)
class MissConfig(LayerConfig):
    """`init_weights`: True (MiSS from zero), False (at random), "bat", or "mini" (the outputs share values too, `mini_r` of them)."""

    METHOD: ClassVar[str] = "MISS"

    r: int = 64
    miss_dropout: float = 0.0
    mini_r: int = 1
    init_weights: bool | str = True
    bias: str = "none"

    def check(self) -> None:
        super().check()
        positive(r=self.r, mini_r=self.mini_r)
        fraction(miss_dropout=self.miss_dropout)
        one_of("init_weights", self.init_weights, (True, False, BAT, MINI))
        one_of("bias", self.bias, ("none", "all", "MiSS_only"))


@final
class Miss(LayerMethod):
    """x ↦ base(x) + (sum of x's pieces of r) · D, x padded with zeros to whole pieces. miss_block: D (r, out), in "mini"
    (r, mini_r), repeated over the outputs.

    "bat": miss_block B (out / r, r, r), and the weight's shard W in row o of shards becomes W + W Bₒ + Bₒ. No dropout there.
    """

    converts = True

    def __init__(self, frozen: Frozen, config: MissConfig, shared: None) -> None:
        super().__init__()
        out, into = frozen.shape
        r, self.how = config.r, config.init_weights
        if r > into:
            raise ConfigError(f"r is {r}, and '{frozen.name}' has {into} inputs: take {into} or less")
        if self.how == BAT and (into % r or out % r):
            raise ConfigError(f"init_weights='bat' needs r to divide {out} and {into}, as '{frozen.name}' is; r is {r}")
        if self.how == MINI and out % config.mini_r:
            raise ConfigError(f"mini_r is {config.mini_r}, which does not divide the {out} outputs of '{frozen.name}'")
        shapes = {BAT: (out // r, r, r), MINI: (r, config.mini_r)}
        self.miss_dropout = nn.Dropout(config.miss_dropout) if config.miss_dropout else nn.Identity()
        self.miss_block = nn.Parameter(torch.zeros(shapes.get(str(self.how), (r, out))))
        if self.how is False:
            nn.init.kaiming_uniform_(self.miss_block, a=math.sqrt(5))

    def matrix(self, out: int) -> Tensor:
        """D: (r, out)."""
        return self.miss_block.repeat(1, out // self.miss_block.shape[1])

    def change(self, weight: Tensor) -> Tensor:
        """What is added to a weight (out, in)."""
        out, into = weight.shape
        block = self.miss_block.to(weight.dtype)
        if self.how == BAT:
            return self._whole(self._shards(weight) @ block.unsqueeze(1) + block.unsqueeze(1))
        r = len(block)
        return self.matrix(out).to(weight.dtype).T.repeat(1, math.ceil(into / r))[:, :into]

    def _shards(self, weight: Tensor) -> Tensor:
        """(out, in) -> (out / r, in / r, r, r)."""
        r = self.miss_block.shape[-1]
        return weight.unflatten(0, (-1, r)).unflatten(2, (-1, r)).transpose(1, 2)

    def _whole(self, shards: Tensor) -> Tensor:
        return shards.transpose(1, 2).flatten(2, 3).flatten(0, 1)

    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        result = base(x)
        x = as_computed(x, self.miss_block.dtype)
        if self.how == BAT:
            changed = functional.linear(x, self.change(frozen.weight.to(self.miss_block.dtype)))
        else:
            r = len(self.miss_block)
            pieces = self.miss_dropout(functional.pad(x, (0, -x.shape[-1] % r))).unflatten(-1, (-1, r))
            changed = pieces.sum(dim=-2) @ self.matrix(result.shape[-1])
        return result + changed.to(result.dtype)

    def factored(self, frozen: Frozen) -> tuple[Tensor, Tensor] | None:
        if self.how == BAT:
            return None
        r, (out, into) = len(self.miss_block), frozen.shape
        sums = torch.eye(r, device=self.miss_block.device).repeat(1, math.ceil(into / r))[:, :into]
        return sums.to(self.miss_block.dtype), self.matrix(out).T

    def merged(self, affine: Affine, frozen: Frozen) -> Affine:
        return affine._replace(weight=affine.weight + self.change(affine.weight))

    def unmerged(self, affine: Affine, frozen: Frozen) -> Affine:
        if self.how != BAT:
            return affine._replace(weight=affine.weight - self.change(affine.weight))
        block = solvable(self.miss_block).to(affine.weight.dtype).unsqueeze(1)
        one = torch.eye(block.shape[-1], device=block.device, dtype=block.dtype)
        return affine._replace(
            weight=self._whole(torch.linalg.solve(one + block, self._shards(affine.weight) - block, left=False))
        )


@final
class MissFamily(LayerFamily):
    name = "MISS"
    prefix = "miss_"
    config = MissConfig
    targets = LORA.targets
    targets_of = LORA.targets_of

    def layer(self, frozen: Frozen, config: Any, shared: Any) -> LayerMethod:
        return Miss(frozen, config, shared)


METHOD = MissFamily()
