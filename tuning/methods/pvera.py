"""PVeRA: VeRA whose low-dimensional values are drawn from learned normal distributions while it trains ("PVeRA: Probabilistic
Vector-Based Random Matrix Adaptation", 2025, https://arxiv.org/abs/2512.07703).
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
from tuning.methods.vera import METHOD as VERA
from tuning.placement import Placed


@dataclass(kw_only=True)
class PveraConfig(LayerConfig):
    """`sample_at_inference`: draw values in evaluation too, else their means are taken; `generator_seed`: of what each layer draws.
    `projection_prng_key`, `save_projection`: as of VeRA.
    """

    METHOD: ClassVar[str] = "PVERA"

    r: int = 256
    projection_prng_key: int = 0
    save_projection: bool = True
    pvera_dropout: float = 0.0
    d_initial: float = 0.1
    fan_in_fan_out: bool = False  # read and written for PEFT; a layer's own kind says how its weight lies
    bias: str = "none"
    init_weights: bool = True
    sample_at_inference: bool = False
    generator_seed: int | None = None

    def check(self) -> None:
        super().check()
        positive(r=self.r)
        fraction(pvera_dropout=self.pvera_dropout)
        one_of("bias", self.bias, ("none", "all", "pvera_only"))


@final
class Pvera(Additive):
    """x ↦ base(x) + b ⊙ B z, z = μ, or drawn from N(μ, exp(v)), where (μ, v) = d ⊙ A x. A: (2 r, in) and B: (out, r), what a layer needs
    of the shared ones; d: (2 r,) and b: (out,) are trained. Merged, z is μ.
    """

    def __init__(self, frozen: Frozen, config: PveraConfig, shared: Projections) -> None:
        super().__init__()
        self.out, self.into = frozen.shape
        self.shared = (shared,)  # in a tuple: the adapter's, not this layer's own
        self.always = config.sample_at_inference
        seed = config.generator_seed
        self.pvera_generator = None if seed is None else torch.Generator().manual_seed(seed)
        self.pvera_dropout = nn.Dropout(config.pvera_dropout) if config.pvera_dropout else nn.Identity()
        self.pvera_lambda_b = nn.Parameter(torch.ones(self.out))
        self.pvera_lambda_d = nn.Parameter(torch.randn(2 * config.r))
        if config.init_weights:
            nn.init.zeros_(self.pvera_lambda_b)
            nn.init.constant_(self.pvera_lambda_d, config.d_initial)

    def projections(self) -> tuple[Tensor, Tensor]:
        """(A, B)."""
        a, b = self.shared[0].get(self.pvera_lambda_d)
        count = len(self.pvera_lambda_d)
        return a[:count, : self.into], b[: self.out, : count // 2]

    def change(self) -> Tensor:
        """What is added to the weight: (out, in)."""
        a, b = self.projections()
        mean = len(a) // 2
        return (self.pvera_lambda_b[:, None] * b) @ (self.pvera_lambda_d[:mean, None] * a[:mean])

    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        result = base(x)
        a, b = self.projections()
        low = self.pvera_lambda_d * functional.linear(self.pvera_dropout(as_computed(x, a.dtype)), a)
        mean, log_variance = low.chunk(2, dim=-1)
        z = self._drawn(mean, log_variance) if self.training or self.always else mean
        return result + (self.pvera_lambda_b * functional.linear(z, b)).to(result.dtype)

    def _drawn(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        if self.pvera_generator is None:
            noise = torch.randn_like(mean)
        else:  # drawn on the CPU, where the generator is
            noise = torch.randn(mean.shape, dtype=mean.dtype, generator=self.pvera_generator).to(mean.device)
        return mean + noise * (log_variance / 2).exp()


@final
class PveraFamily(ProjectedFamily):
    name = "PVERA"
    prefix = "pvera_lambda_"
    config = PveraConfig
    targets_of: ClassVar[Mapping[str, Sequence[str] | str]] = {**VERA.targets_of, "dinov2": ("query", "value")}

    def layer(self, frozen: Frozen, config: Any, shared: Any) -> LayerMethod:
        return Pvera(frozen, config, shared)

    def shared(self, config: Any, model: nn.Module, layers: Sequence[Frozen], others: Mapping[str, Any]) -> Placed:
        return uniform("pvera", config, 2 * config.r, layers, others)


METHOD = PveraFamily()
