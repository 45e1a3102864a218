"""RoAd: a layer's outputs turned and scaled in pairs (Liao and Monz 2024, https://arxiv.org/abs/2409.00119)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from tuning.config import LayerConfig, one_of
from tuning.errors import ConfigError
from tuning.kinds import Affine, Frozen
from tuning.layer_method import Layer, LayerMethod, as_computed
from tuning.methods.lora import METHOD as LORA
from tuning.registry import LayerFamily

SHARE = {"road_1": 0.5, "road_2": 1, "road_4": 2}  # angles and scales for each output


@dataclass(kw_only=True)
class RoadConfig(LayerConfig):
    """`variant`: angles and scales for each pair of outputs ("road_1"), each output ("road_2"), each value of a pair's matrix ("road_4").

    `group_size`: outputs are paired within groups of it, the first of one half with the first of the other, and so on.
    """

    METHOD: ClassVar[str] = "ROAD"

    variant: str = "road_1"
    group_size: int = 64
    init_weights: bool = True

    def check(self) -> None:
        super().check()
        one_of("variant", self.variant, tuple(SHARE))
        if self.group_size <= 0 or self.group_size % 2:
            raise ConfigError(f"The group_size must be divisible by 2, and above 0; it is {self.group_size}")


@final
class Road(LayerMethod):
    """x ↦ R base(x). Of each pair of outputs R is [[α₁ cos θ₁, -α₂ sin θ₂], [α₃ sin θ₃, α₄ cos θ₄]]. road_theta, road_alpha:
    (out · SHARE[variant],).
    """

    def __init__(self, frozen: Frozen, config: RoadConfig, shared: None) -> None:
        super().__init__()
        out = frozen.shape[0]
        self.variant, self.size = config.variant, config.group_size
        if out % self.size:
            raise ConfigError(
                f"group_size is {self.size}, which does not divide the {out} outputs of '{frozen.name}': they must be divisible by it"
            )
        count = int(out * SHARE[config.variant])
        self.road_theta, self.road_alpha = nn.Parameter(torch.zeros(count)), nn.Parameter(torch.ones(count))
        if not config.init_weights:
            nn.init.normal_(self.road_theta, mean=0.0, std=0.5)
            nn.init.normal_(self.road_alpha, mean=1.0, std=0.5)

    def columns(self) -> tuple[Tensor, Tensor]:
        """What each output, and what the other one of its pair, is multiplied with: (out,) each. The sign is `_turned`'s."""
        theta, alpha = self.road_theta, self.road_alpha
        if self.variant == "road_4":
            (first, second), (one, two) = (each.view(-1, 2, self.size).unbind(1) for each in (theta, alpha))
            return (one * first.cos()).flatten(), (two * second.sin()).flatten()
        if self.variant == "road_1":
            theta, alpha = (
                each.view(-1, 1, self.size // 2).expand(-1, 2, -1).flatten()
                for each in (self.road_theta, self.road_alpha)
            )
        return alpha * theta.cos(), alpha * theta.sin()

    def _turned(self, x: Tensor) -> Tensor:
        """x (…, out) with each pair (a, b) as (-b, a)."""
        first, second = x.unflatten(-1, (-1, 2, self.size // 2)).unbind(-2)
        return torch.stack((-second, first), dim=-2).flatten(-3)

    def rotated(self, x: Tensor) -> Tensor:
        """R x for each x (…, out)."""
        same, other = (column.to(x.dtype) for column in self.columns())
        return same * x + other * self._turned(x)

    def rotated_back(self, x: Tensor) -> Tensor:
        """R⁻¹ x, by the inverse of each 2 × 2 matrix."""
        same, other = (column.to(x.dtype) for column in self.columns())
        pairs = (-1, 2, self.size // 2)
        determinant = same.view(pairs).prod(1, keepdim=True) + other.view(pairs).prod(1, keepdim=True)
        across = same.view(pairs).flip(1).flatten()
        return (across * x - other * self._turned(x)) / determinant.expand(-1, 2, -1).flatten()

    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        result = base(x)
        return self.rotated(as_computed(result, self.road_theta.dtype)).to(result.dtype)

    def merged(self, affine: Affine, frozen: Frozen) -> Affine:
        """R W and R b."""
        return Affine(self.rotated(affine.weight.T).T, None if affine.bias is None else self.rotated(affine.bias))

    def unmerged(self, affine: Affine, frozen: Frozen) -> Affine:
        bias = None if affine.bias is None else self.rotated_back(affine.bias)
        return Affine(self.rotated_back(affine.weight.T).T, bias)


@final
class RoadFamily(LayerFamily):
    name = "ROAD"
    prefix = "road_"
    config = RoadConfig
    targets = LORA.targets
    targets_of = LORA.targets_of

    def layer(self, frozen: Frozen, config: Any, shared: Any) -> LayerMethod:
        return Road(frozen, config, shared)


METHOD = RoadFamily()
