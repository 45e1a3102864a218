"""PEANuT: what is added to a weight is computed from that weight by a small network (Zhong et al. 2024, https://arxiv.org/abs/2410.01870)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, final

from torch import Tensor, nn
from torch.nn import functional

from tuning.config import LayerConfig, one_of, positive
from tuning.errors import ConfigError
from tuning.kinds import Affine, Frozen
from tuning.layer_method import Layer, LayerMethod, as_computed
from tuning.methods.lora import METHOD as LORA
from tuning.registry import LayerFamily


@dataclass(kw_only=True)
class PeanutConfig(LayerConfig):
    """`depth`: hidden layers of the network, so many before and so many after its middle. `act_fn`: one of transformers' `ACT2FN`."""

    METHOD: ClassVar[str] = "PEANUT"

    r: int = 32
    depth: int = 0
    act_fn: str = "relu"
    scaling: float = 1.0
    init_weights: bool = True

    def check(self) -> None:
        from transformers.activations import ACT2FN

        super().check()
        positive(r=self.r)
        if self.depth < 0:
            raise ConfigError(f"depth is {self.depth}; it has to be 0 or more")
        one_of("act_fn", self.act_fn, sorted(ACT2FN))


@final
class Peanut(LayerMethod):
    """x ↦ base(x) + s f(Wᵀ)ᵀ x: f goes over the weight's columns. peanut_A: (r, out), peanut_B: (out, r), which starts as 0; of each hidden
    layer (r, r), those behind the middle with what the ones before it gave added.
    """

    def __init__(self, frozen: Frozen, config: PeanutConfig, shared: None) -> None:
        from transformers.activations import ACT2FN

        super().__init__()
        out, r = frozen.shape[0], config.r
        self.scaling = config.scaling
        self.activation = config.act_fn
        self.function: Any = ACT2FN[config.act_fn]
        self.peanut_A = nn.Linear(out, r, bias=False)
        self.peanut_encoders = nn.ModuleList(nn.Linear(r, r, bias=False) for _ in range(config.depth))
        self.peanut_decoders = nn.ModuleList(nn.Linear(r, r, bias=False) for _ in range(config.depth))
        self.peanut_B = nn.Linear(r, out, bias=False)
        for part in (self.peanut_A, self.peanut_encoders, self.peanut_decoders):
            for weight in part.parameters():
                nn.init.kaiming_uniform_(weight, a=math.sqrt(5))
        if config.init_weights:
            nn.init.zeros_(self.peanut_B.weight)
        else:
            nn.init.kaiming_uniform_(self.peanut_B.weight, a=math.sqrt(5))
        self.before: Affine | None = None  # the layer before merging: its change can't be computed from what it gave

    def change(self, weight: Tensor) -> Tensor:
        """What is added to a weight (out, in)."""
        hidden = self.function(self.peanut_A(as_computed(weight.T, self.peanut_A.weight.dtype)))
        given: list[Tensor] = []
        for encoder in self.peanut_encoders:
            given.append(hidden)
            hidden = self.function(encoder(hidden))
        for decoder in self.peanut_decoders:
            hidden = self.function(decoder(hidden)) + given.pop()
        return self.peanut_B(hidden).T * self.scaling

    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        result = base(x)
        change = self.change(frozen.weight)
        return result + functional.linear(as_computed(x, change.dtype), change).to(result.dtype)

    def merged(self, affine: Affine, frozen: Frozen) -> Affine:
        self.before = affine._replace(weight=affine.weight.detach().clone())
        return affine._replace(weight=affine.weight + self.change(affine.weight).to(affine.weight))

    def unmerged(self, affine: Affine, frozen: Frozen) -> Affine:
        assert self.before is not None, "it was merged"
        before, self.before = self.before, None
        return before


@final
class PeanutFamily(LayerFamily):
    name = "PEANUT"
    prefix = "peanut_"
    config = PeanutConfig
    targets = LORA.targets
    targets_of = LORA.targets_of

    def layer(self, frozen: Frozen, config: Any, shared: Any) -> LayerMethod:
        return Peanut(frozen, config, shared)


METHOD = PeanutFamily()
