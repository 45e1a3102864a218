"""Super-tuning: trains only the largest weights of a layer (https://arxiv.org/abs/2607.09287); with a rank, also a
low-rank change beside them ("Supra").
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuning.config import LayerConfig, fraction, positive
from tuning.errors import ConfigError
from tuning.kinds import Frozen
from tuning.layer_method import Additive, Layer, LayerMethod, as_computed
from tuning.methods.lora import METHOD as LORA
from tuning.registry import LayerFamily

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class SupertuningConfig(LayerConfig):
    """`sparsity`: the share of a layer's weights that are not trained. `select_top`: the largest are, or else the smallest. `r`: the rank
    of the change beside them; `lora_alpha` (left open, 2 r) and `lora_dropout` are its.
    """

    METHOD: ClassVar[str] = "SUPERTUNING"

    sparsity: float = 0.99
    select_top: bool = True
    r: int | None = None
    lora_alpha: float | None = None
    lora_dropout: float = 0.0
    init_weights: bool = True
    save_precomputed_indices: bool = True

    def check(self) -> None:
        super().check()
        fraction(sparsity=self.sparsity, lora_dropout=self.lora_dropout)
        if self.r is not None:
            positive(r=self.r)
            self.lora_alpha = 2 * self.r if self.lora_alpha is None else self.lora_alpha
        elif self.lora_alpha is not None:
            raise ConfigError(f"lora_alpha is {self.lora_alpha} and r is None: give r, the rank that alpha scales")
        if not self.save_precomputed_indices:
            log.warning("which weights are trained is not saved: whoever loads the adapter needs the very same base")


@final
class Supertuning(Additive):
    """W ↦ W + values at indices (+ α / r B A). supertuning_indices: places in the flattened weight (out · in,); supertuning_values: as
    many, 0 at the start; supertuning_lora_A: (r, in), supertuning_lora_B: (out, r).
    """

    converts = False  # a sparse change has no low rank

    def __init__(self, frozen: Frozen, config: SupertuningConfig, shared: None) -> None:
        super().__init__()
        out, into = self.size = frozen.shape
        count = int(out * into * (1 - config.sparsity))
        if not count:
            raise ConfigError(
                f"sparsity is {config.sparsity}, which leaves no trainable entries of the {out * into} of '{frozen.name}': lower it"
            )
        places = frozen.weight.detach().abs().flatten().topk(count, largest=config.select_top).indices
        self.register_buffer("supertuning_indices", places.int(), persistent=config.save_precomputed_indices)
        self.supertuning_values = nn.Parameter(torch.zeros(count) if config.init_weights else torch.randn(count))
        self.low = config.r is not None
        if config.r is not None:
            self.low_scaling = float(config.lora_alpha or 0) / config.r
            self.supertuning_lora_A = nn.Linear(into, config.r, bias=False)
            self.supertuning_lora_B = nn.Linear(config.r, out, bias=False)
            self.supertuning_lora_dropout = nn.Dropout(config.lora_dropout) if config.lora_dropout else nn.Identity()
            nn.init.kaiming_uniform_(self.supertuning_lora_A.weight, a=math.sqrt(5))
            if config.init_weights:
                nn.init.zeros_(self.supertuning_lora_B.weight)
            else:
                nn.init.kaiming_uniform_(self.supertuning_lora_B.weight, a=math.sqrt(5))

    def sparse(self) -> Tensor:
        """The trained weights' change: (out, in)."""
        values = self.supertuning_values
        places = self.get_buffer("supertuning_indices").long()
        return values.new_zeros(self.size).flatten().scatter_add(0, places, values).view(self.size)

    def change(self) -> Tensor:
        if not self.low:
            return self.sparse()
        return self.sparse() + self.low_scaling * (self.supertuning_lora_B.weight @ self.supertuning_lora_A.weight)

    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        result = base(x)
        x = as_computed(x, self.supertuning_values.dtype)
        added = functional.linear(x, self.sparse())
        if self.low:
            low = self.supertuning_lora_A(self.supertuning_lora_dropout(x))
            added = added + self.low_scaling * self.supertuning_lora_B(low)
        return result + added.to(result.dtype)


@final
class SupertuningFamily(LayerFamily):
    name = "SUPERTUNING"
    prefix = "supertuning_"
    config = SupertuningConfig
    targets = LORA.targets
    targets_of = LORA.targets_of

    def layer(self, frozen: Frozen, config: Any, shared: Any) -> LayerMethod:
        return Supertuning(frozen, config, shared)


METHOD = SupertuningFamily()
