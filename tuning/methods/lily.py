"""Lily: LoRA whose first factors are shared by a few consecutive layers, and whose second factors are shared by all
layers of a kind and mixed by a router (Zhong et al. 2024, https://arxiv.org/abs/2407.09946).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from tuning.config import LayerConfig, positive
from tuning.errors import ConfigError
from tuning.kinds import Frozen
from tuning.layer_method import Layer, LayerMethod, Unmergeable, as_computed
from tuning.methods.lora import METHOD as LORA
from tuning.placement import OfAdapter, Placed
from tuning.registry import LayerFamily


@dataclass(kw_only=True)
class LilyConfig(LayerConfig):
    """`stride_A`: how many layers in a row share an A; `num_B`: how many Bs the layers of a kind share. Layers are of one kind where the
    same name of `target_modules` means them, and their weights have the same shape.
    """

    METHOD: ClassVar[str] = "LILY"

    r: int = 32
    stride_A: int = 1
    num_B: int = 2
    scaling: float = 1.0
    init_weights: bool = True

    def check(self) -> None:
        super().check()
        positive(r=self.r)
        if self.stride_A < 1:
            raise ConfigError("`stride_A` must be at least 1.")
        if self.num_B < 2:
            raise ConfigError("`num_B` must be at least 2 for the router to be trained.")


class Kinds(Placed):
    """Which layers share their factors: `leaders` has by path the layers that A and B are of, `made` their factors."""

    def __init__(self, config: LilyConfig, layers: Sequence[Frozen]) -> None:
        super().__init__()
        self.made: dict[str, tuple[nn.Linear, nn.Linear]] = {}
        self.leaders: dict[str, tuple[str, str]] = {}
        kinds: dict[tuple[str, tuple[int, int]], list[str]] = {}
        for layer in layers:
            kind = kinds.setdefault((_meant_by(config, layer.name), layer.shape), [])
            kind.append(layer.name)
            self.leaders[layer.name] = (kind[(len(kind) - 1) // config.stride_A * config.stride_A], kind[0])


def _meant_by(config: LilyConfig, name: str) -> str:
    """The longest of the names that mean a layer; a pattern is one for all."""
    asked = config.target_modules
    return (
        ""
        if isinstance(asked, str)
        else max((each for each in asked or () if name.endswith(each)), key=len, default="")
    )


@final
class Lily(Unmergeable):
    """x ↦ base(x) + scaling · Σₑ pₑ Bₑᵀ A x, p the router's softmax of A x, averaged over all rows and tokens of the batch. lily_A:
    (r, in); lily_B: (num_B · r, out), its Bₑ (r, out); lily_router: (num_B, r).
    """

    scaling = OfAdapter[float]()

    def __init__(self, frozen: Frozen, config: LilyConfig, shared: Kinds) -> None:
        super().__init__()
        out, into = frozen.shape
        self.scaling, self.count = config.scaling, config.num_B
        a, b = nn.Linear(into, config.r, bias=False), nn.Linear(out, config.num_B * config.r, bias=False)
        router = nn.Linear(config.r, config.num_B, bias=False)
        for linear in (a, router) if config.init_weights else (a, router, b):
            nn.init.kaiming_uniform_(linear.weight, a=math.sqrt(5))
        if config.init_weights:
            nn.init.zeros_(b.weight)
        shared.made[frozen.name] = (a, b)
        of_a, of_b = shared.leaders[frozen.name]
        self.lily_A, self.lily_B, self.lily_router = shared.made[of_a][0], shared.made[of_b][1], router

    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        result = base(x)
        low = self.lily_A(as_computed(x, self.lily_A.weight.dtype))
        shares = self.lily_router(low).softmax(-1).reshape(-1, self.count).mean(0)
        parts = self.lily_B.weight.view(self.count, -1, self.lily_B.weight.shape[1])
        mixed = torch.einsum("e,ero->ro", shares, parts)
        return result + (low @ mixed * self.scaling).to(result.dtype)


@final
class LilyFamily(LayerFamily):
    name = "LILY"
    prefix = "lily_"
    config = LilyConfig
    merges = False
    targets = LORA.targets
    targets_of = LORA.targets_of

    def layer(self, frozen: Frozen, config: Any, shared: Any) -> LayerMethod:
        return Lily(frozen, config, shared)

    def shared(self, config: Any, model: nn.Module, layers: Sequence[Frozen], others: Mapping[str, Any]) -> Placed:
        return Kinds(config, layers)


METHOD = LilyFamily()
