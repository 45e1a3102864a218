"""Uni-LoRA: LoRA whose values all come from one short vector, each from a position that is drawn once (Li et al. 2025,
https://arxiv.org/abs/2506.00799).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from tuning.config import LayerConfig, fraction, one_of, positive
from tuning.kinds import Frozen
from tuning.layer_method import Additive, Layer, LayerMethod, as_computed
from tuning.methods.lora import METHOD as LORA
from tuning.placement import Placed
from tuning.registry import LayerFamily
from tuning.rotations import solvable


@dataclass(kw_only=True)
class UniLoraConfig(LayerConfig):
    """`theta_d_length`: of the vector. `proj_seed`: of the places, which are saved with `save_indices` only: else they are drawn again."""

    METHOD: ClassVar[str] = "UNILORA"

    r: int = 4
    proj_seed: int = 42
    theta_d_length: int = 256
    unilora_dropout: float = 0.0
    fan_in_fan_out: bool = False  # read and written for PEFT; a layer's own kind says how its weight lies
    bias: str = "none"
    init_theta_d_bound: float = 0.02
    init_weights: bool = True
    save_indices: bool = False

    def check(self) -> None:
        super().check()
        positive(r=self.r, theta_d_length=self.theta_d_length, init_theta_d_bound=self.init_theta_d_bound)
        fraction(unilora_dropout=self.unilora_dropout)
        one_of("bias", self.bias, ("none", "all", "unilora_only"))


class Theta(Placed):
    """unilora_theta_d: (theta_d_length,), trained, the same for all layers; and which of its values each factor has where."""

    def __init__(self, config: UniLoraConfig, layers: Sequence[Frozen]) -> None:
        super().__init__()
        length, bound = config.theta_d_length, config.init_theta_d_bound
        theta = torch.empty(length).uniform_(-bound, bound) if config.init_weights else torch.randn(length)
        self.unilora_theta_d = nn.Parameter(solvable(theta.to(layers[0].device, layers[0].dtype)))
        sizes = [config.r * size for layer in layers for size in reversed(layer.shape)]  # A's values, then B's
        drawn = _drawn(sum(sizes), length, config.proj_seed)
        self.scales = (
            drawn.bincount(minlength=length).float().rsqrt()
        )  # so that each value counts alike: (theta_d_length,)
        parts = iter(drawn.split(sizes))
        self.places = {layer.name: (next(parts), next(parts)) for layer in layers}


@final
class UniLora(Additive):
    """x ↦ base(x) + B A x, A = θ[indices_A] ⊙ scales_A (r, in) and B likewise (out, r)."""

    unilora_indices_A: Tensor
    unilora_indices_B: Tensor
    unilora_scales_A: Tensor
    unilora_scales_B: Tensor

    def __init__(self, frozen: Frozen, config: UniLoraConfig, shared: Theta) -> None:
        super().__init__()
        (out, into), r = frozen.shape, config.r
        self.shared = (shared,)  # in a tuple: the adapter's, not this layer's own
        self.unilora_dropout = nn.Dropout(config.unilora_dropout) if config.unilora_dropout else nn.Identity()
        for factor, flat, shape in zip("AB", shared.places[frozen.name], ((r, into), (out, r)), strict=True):
            places = flat.view(shape).clone()
            self.register_buffer(f"unilora_indices_{factor}", places, persistent=config.save_indices)
            self.register_buffer(f"unilora_scales_{factor}", shared.scales[places], persistent=config.save_indices)

    def factors(self) -> tuple[Tensor, Tensor]:
        """(A, B)."""
        theta = self.shared[0].unilora_theta_d.to(self.unilora_indices_A.device)
        a = theta[self.unilora_indices_A] * self.unilora_scales_A.to(theta.dtype)
        return a, theta[self.unilora_indices_B] * self.unilora_scales_B.to(theta.dtype)

    def change(self) -> Tensor:
        """What is added to the weight: (out, in)."""
        a, b = self.factors()
        return b @ a

    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        result = base(x)
        a, b = self.factors()
        low = functional.linear(self.unilora_dropout(as_computed(x, a.dtype)), a)
        return result + functional.linear(low, b).to(result.dtype)


def _drawn(count: int, length: int, seed: int) -> Tensor:
    """(count,): numbers below `length`, each as often as any other, or once more. PEFT's draw, so that its checkpoints mean the same."""
    generator = np.random.default_rng(seed)
    often, more = divmod(count, length)
    found = np.repeat(np.arange(length), often)
    if more:
        found = np.concatenate([found, generator.choice(length, size=more, replace=False)])
    generator.shuffle(found)
    return torch.from_numpy(found).long()


@final
class UniLoraFamily(LayerFamily):
    name = "UNILORA"
    prefix = "unilora_"
    config = UniLoraConfig
    targets = LORA.targets
    targets_of = LORA.targets_of

    def layer(self, frozen: Frozen, config: Any, shared: Any) -> LayerMethod:
        return UniLora(frozen, config, shared)

    def shared(self, config: Any, model: nn.Module, layers: Sequence[Frozen], others: Mapping[str, Any]) -> Placed:
        return Theta(config, layers)


METHOD = UniLoraFamily()
