"""RandLoRA: a change of full rank from random bases that all layers share, frozen, each scaled by what is trained (Albert et al. 2025,
https://arxiv.org/abs/2502.00987).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuning.config import LayerConfig, fraction, one_of, positive
from tuning.kinds import Frozen
from tuning.layer_method import Additive, Layer, LayerMethod, as_computed
from tuning.methods._projections import ProjectedFamily, Projections, largest, of_others
from tuning.methods._random_bases import signs, uniform
from tuning.placement import Placed


@dataclass(kw_only=True)
class RandLoraConfig(LayerConfig):
    """`r`: the rank of each base; a layer has as many as make full rank. `sparse`: bases of -1, 0 and 1, two thirds of it zeros;
    `very_sparse`: all but one in the root of the layer's dimension. `projection_prng_key`, `save_projection`: as of VeRA.
    """

    METHOD: ClassVar[str] = "RANDLORA"

    r: int = 32
    projection_prng_key: int = 0
    save_projection: bool = True
    sparse: bool = False
    very_sparse: bool = False
    randlora_dropout: float = 0.0
    fan_in_fan_out: bool = False  # read and written for PEFT; a layer's own kind says how its weight lies
    randlora_alpha: int = 640
    bias: str = "none"
    init_weights: bool = True

    def check(self) -> None:
        super().check()
        positive(r=self.r, randlora_alpha=self.randlora_alpha)
        fraction(randlora_dropout=self.randlora_dropout)
        one_of("bias", self.bias, ("none", "all", "randlora_only"))


@final
class RandLora(Additive):
    """x ↦ base(x) + scaling · Σₙ Bₙ Λₙ A Γₙ x; where out is below in, the change is the transpose of such a sum.

    With small = min(out, in) and large = max(out, in): A: (r, small) and Bₙ: (large, r) are shared; Λₙ: (r,) and Γₙ: (small,),
    diagonals, are trained: `randlora_lambda` (r, bases) and `randlora_gamma` (bases, small).

    As PEFT has it, the columns of the Bs are ordered by base and then by rank, the rows of A by rank and then by base; as both are
    random, any pairing of them does.
    """

    def __init__(self, frozen: Frozen, config: RandLoraConfig, shared: Projections) -> None:
        super().__init__()
        self.out, self.into = frozen.shape
        self.small, self.large = sorted(frozen.shape)
        self.bases = math.ceil(self.small / config.r)
        self.scaling = config.randlora_alpha / config.r
        self.shared = (shared,)  # in a tuple: the adapter's, not this layer's own
        self.randlora_dropout = nn.Dropout(config.randlora_dropout) if config.randlora_dropout else nn.Identity()
        self.randlora_lambda = nn.Parameter(torch.randn(config.r, self.bases))
        self.randlora_gamma = nn.Parameter(torch.ones(self.bases, self.small) / self.large)
        if config.init_weights:
            nn.init.zeros_(self.randlora_lambda)
            nn.init.constant_(self.randlora_gamma, 1 / max(self.randlora_gamma.shape))

    def parts(self) -> tuple[Tensor, Tensor]:
        """What x goes through first, (r · bases, in), and then, (out, r · bases)."""
        a, b = self.shared[0].get(self.randlora_lambda)
        scaled: Any = Scaled.apply(
            a[: len(self.randlora_lambda), 0, : self.small], self.randlora_lambda, self.randlora_gamma
        )
        first, then = scaled.flatten(0, 1), b[: self.large, : self.bases, : len(self.randlora_lambda)].flatten(1)
        return (first, then) if self.into == self.small else (then.T, first.T)

    def change(self) -> Tensor:
        """What is added to the weight: (out, in)."""
        first, then = self.parts()
        return then @ first * self.scaling

    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        result = base(x)
        first, then = self.parts()
        x = self.randlora_dropout(as_computed(x, first.dtype))
        added = functional.linear(functional.linear(x, first), then) * self.scaling
        return result + added.to(result.dtype)


@final
class Scaled(torch.autograd.Function):
    """A, scaled for each base: (r, bases, small) from A (r, small), Λ (r, bases), Γ (bases, small). As large as the layer's weight, so
    the backward pass is not given it.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, lambdas: Tensor, gammas: Tensor) -> Tensor:
        ctx.save_for_backward(a, lambdas, gammas)
        return a[:, None] * lambdas[:, :, None] * gammas[None]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, Tensor]:
        a, lambdas, gammas = ctx.saved_tensors
        through = gradients[0] * a[:, None]
        return None, torch.einsum("knj,nj->kn", through, gammas), torch.einsum("knj,kn->nj", through, lambdas)


@final
class RandLoraFamily(ProjectedFamily):
    name = "RANDLORA"
    prefix = "randlora_"
    config = RandLoraConfig

    def layer(self, frozen: Frozen, config: Any, shared: Any) -> LayerMethod:
        return RandLora(frozen, config, shared)

    def shared(self, config: Any, model: nn.Module, layers: Sequence[Frozen], others: Mapping[str, Any]) -> Placed:
        """randlora_A: (r, 1, small), randlora_B: (large, bases, r), from the config's seed, each with a standard deviation of 1; or those
        there are.
        """
        small, large = sorted(largest(layers))
        bases = math.ceil(small / config.r)
        if (found := of_others(config, ((2, small), (0, large), (0, config.r), (1, bases)), others)) is not None:
            return found
        generator = torch.Generator().manual_seed(config.projection_prng_key)
        if config.sparse or config.very_sparse:
            kept = 1 / (math.sqrt(small) if config.very_sparse else 3)
            a = signs(torch.rand((config.r, 1, small), generator=generator), kept)
            b = signs(torch.rand((large, bases, config.r), generator=generator), kept)
        else:
            a = uniform((config.r, 1, small), generator)
            b = torch.cat([uniform((large, 1, config.r), generator) for _ in range(bases)], dim=1)
        return Projections(
            "randlora", a / a.std(), b / b.std(), layers, key=config.projection_prng_key, saved=config.save_projection
        )


METHOD = RandLoraFamily()
