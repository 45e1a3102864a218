"""TinyLoRA: a small matrix between the largest singular vectors of a weight. It is a mixture of fixed random matrices,
so only a handful of values are trained ("Learning to Reason in 13 Parameters", 2026,
https://arxiv.org/abs/2602.04118).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuning.config import LayerConfig, fraction, one_of, positive
from tuning.errors import ConfigError
from tuning.kinds import EMBEDDING, LINEAR, Frozen
from tuning.layer_method import Additive, Layer, LayerMethod, as_computed
from tuning.methods.lora import METHOD as LORA
from tuning.placement import Placed
from tuning.registry import LayerFamily
from tuning.rotations import solvable

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class TinyLoraConfig(LayerConfig):
    """`u`: values that are trained; `weight_tying`: from 0, each layer has its own, to 1, all share one vector. `projection_seed`: of the
    random matrices, which are saved with `save_projection`. `init_weights`: True (zero), "uniform", or False (as "uniform").
    """

    METHOD: ClassVar[str] = "TINYLORA"

    r: int = 2
    u: int = 64
    weight_tying: float = 0.0
    projection_seed: int = 42
    save_projection: bool = True
    init_v_bound: float = 0.02
    tinylora_dropout: float = 0.0
    fan_in_fan_out: bool = False  # read and written for PEFT; a layer's own kind says how its weight lies
    bias: str = "none"
    init_weights: bool | str = True

    def check(self) -> None:
        super().check()
        positive(r=self.r, u=self.u)
        fraction(tinylora_dropout=self.tinylora_dropout)
        one_of("bias", self.bias, ("none", "all", "tinylora_only"))
        one_of("init_weights", self.init_weights, (True, False, "uniform"))
        if not 0 <= self.weight_tying <= 1:
            raise ConfigError(f"weight_tying is {self.weight_tying}; it has to be from 0 to 1")


class Vectors(Placed):
    """tinylora_v: a vector (u,) for each group of layers, and which layer is the how manyth, and of which group."""

    def __init__(self, config: TinyLoraConfig, layers: Sequence[Frozen]) -> None:
        super().__init__()
        groups = max(1, round(len(layers) * (1 - config.weight_tying)))
        size = max(1, len(layers) // groups)
        self.places = {layer.name: (at, str(min(at // size, groups - 1))) for at, layer in enumerate(layers)}
        found: dict[str, nn.Parameter] = {}
        for layer in layers:
            if (group := self.places[layer.name][1]) not in found:
                vector = torch.zeros(config.u, dtype=layer.dtype)
                if config.init_weights is not True:
                    vector.uniform_(-config.init_v_bound, config.init_v_bound)
                found[group] = nn.Parameter(solvable(vector.to(layer.device)))
        self.tinylora_v = nn.ParameterDict(found)


@final
class TinyLora(Additive):
    """x ↦ base(x) + B R A x, R = Σᵢ vᵢ Pᵢ (r, r). A = √Σ Vᵀ (r, in) and B = U √Σ (out, r), of the weight's r largest singular values,
    P (u, r, r): frozen. Of an embedding the change is B R A too, B (tokens, r) and A (r, dimensions).
    """

    tinylora_A: Tensor
    tinylora_B: Tensor
    tinylora_P: Tensor

    def __init__(self, frozen: Frozen, config: TinyLoraConfig, shared: Vectors) -> None:
        super().__init__()
        self.shared = (shared,)  # in a tuple: the adapter's, not this layer's own
        at, self.group = shared.places[frozen.name]
        self.tinylora_dropout = nn.Dropout(config.tinylora_dropout) if config.tinylora_dropout else nn.Identity()
        left, values, right = torch.linalg.svd(frozen.weight.detach().float(), full_matrices=False)
        r = min(config.r, len(values))
        root = values[:r].to(frozen.dtype).sqrt()
        self.register_buffer("tinylora_A", root.unsqueeze(1) * right[:r].to(frozen.dtype))
        self.register_buffer("tinylora_B", left[:, :r].to(frozen.dtype) * root)
        generator = torch.Generator().manual_seed(config.projection_seed + at)
        drawn = torch.normal(0.0, r**-0.5, (config.u, r, r), generator=generator)
        self.register_buffer("tinylora_P", drawn, persistent=config.save_projection)

    def small(self) -> Tensor:
        """R: (r, r)."""
        v, p = self.shared[0].tinylora_v[self.group], self.tinylora_P
        return torch.einsum("i,ijk->jk", v.to(p), p)

    def change(self) -> Tensor:
        """What is added to the weight: (out, in)."""
        return self.tinylora_B @ self.small() @ self.tinylora_A

    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        result = base(x)
        if frozen.role == EMBEDDING:
            rows = self.tinylora_dropout(functional.embedding(x, self.tinylora_B))
            return result + (rows @ self.small() @ self.tinylora_A).to(result.dtype)
        low = functional.linear(self.tinylora_dropout(as_computed(x, self.tinylora_A.dtype)), self.tinylora_A)
        return result + functional.linear(functional.linear(low, self.small()), self.tinylora_B).to(result.dtype)


@torch.no_grad()
def init_tinylora_v(tuner: Any, config: TinyLoraConfig, adapter_name: str) -> None:
    """Draw an adapter's vectors anew, as PEFT's private function `_init_tinylora_v` does."""
    for vector in tuner.in_common[adapter_name].tinylora_v.values():
        vector.uniform_(-config.init_v_bound, config.init_v_bound)


@final
class TinyLoraFamily(LayerFamily):
    name = "TINYLORA"
    prefix = "tinylora_"
    config = TinyLoraConfig
    roles = frozenset({LINEAR, EMBEDDING})
    targets = LORA.targets
    targets_of = LORA.targets_of
    functions: ClassVar[Mapping[str, Callable[..., Any]]] = {"_init_tinylora_v": init_tinylora_v}

    def layer(self, frozen: Frozen, config: Any, shared: Any) -> LayerMethod:
        return TinyLora(frozen, config, shared)

    def shared(self, config: Any, model: nn.Module, layers: Sequence[Frozen], others: Mapping[str, Any]) -> Placed:
        if not config.save_projection:
            log.warning(
                "TinyLoRA's random matrices are not saved: whoever loads it draws them again from projection_seed"
            )
        return Vectors(config, layers)


METHOD = TinyLoraFamily()
