"""HiRA: a weight multiplied, value by value, with one plus a matrix of low rank, so that the change has a high rank (Huang et al. 2025,
https://openreview.net/forum?id=TwJrTz9cRS).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuning.config import LayerConfig, fraction, one_of, positive
from tuning.errors import ConfigError
from tuning.kinds import CONV, EMBEDDING, LINEAR, Affine, Frozen
from tuning.layer_method import Layer, LayerMethod, as_computed
from tuning.methods.lora import METHOD as LORA
from tuning.patterns import value_for
from tuning.registry import LayerFamily

SMALL = 1e-4  # a weight that was multiplied with less than this is kept: dividing does not give it back


@dataclass(kw_only=True)
class HiraConfig(LayerConfig):
    """`init_weights`: True (Kaiming's uniform rule for A), "gaussian", or False (both factors random, for tests)."""

    METHOD: ClassVar[str] = "HIRA"

    r: int = 32
    hira_dropout: float = 0.0
    fan_in_fan_out: bool = False  # read and written for PEFT; a layer's own kind says how its weight lies
    init_weights: bool | str | None = True
    rank_pattern: dict[str, int] | None = field(default_factory=dict)

    def check(self) -> None:
        super().check()
        positive(r=self.r, **{f"rank_pattern['{key}']": rank for key, rank in (self.rank_pattern or {}).items()})
        fraction(hira_dropout=self.hira_dropout)
        how = self.init_weights
        one_of("init_weights", how.lower() if isinstance(how, str) else how, (True, False, None, "gaussian"))


@final
class Hira(LayerMethod):
    """x ↦ base(x) + (W ⊙ B A) x. A: (r, in), B: (out, r); of a convolution A: (r, in, kernel), B: (out, r, 1 …); of an embedding
    hira_embedding_A (r, tokens) and hira_embedding_B (dimensions, r).
    """

    def __init__(self, frozen: Frozen, config: HiraConfig, shared: None) -> None:
        super().__init__()
        out, into = frozen.shape
        r = value_for(config.rank_pattern, frozen.name, config.r)
        self.role = frozen.role
        self.hira_dropout = nn.Dropout(config.hira_dropout) if config.hira_dropout else nn.Identity()
        self.before: Affine | None = None  # the layer before merging, where it can't be computed back
        if frozen.role == EMBEDDING:
            self.hira_embedding_A, self.hira_embedding_B = _pair((r, into), (out, r))
            if config.init_weights is not False:
                nn.init.zeros_(self.hira_embedding_A)
                nn.init.normal_(self.hira_embedding_B)
            return
        module: Any = frozen.module
        if frozen.role == CONV and module.groups > 1:
            raise ConfigError(
                f"'{frozen.name}' has {module.groups} groups, and HIRA has no factors for these: leave it out (exclude_modules)"
            )
        kernel = tuple(module.kernel_size) if frozen.role == CONV else ()
        into = module.in_channels if frozen.role == CONV else into
        self.hira_A, self.hira_B = _pair((r, into, *kernel), (out, r, *[1] * len(kernel)))
        if config.init_weights:
            if isinstance(config.init_weights, str) and not kernel:
                nn.init.normal_(self.hira_A, std=1 / r)
            else:
                nn.init.kaiming_uniform_(self.hira_A, a=math.sqrt(5))
            nn.init.zeros_(self.hira_B)

    def product(self) -> Tensor:
        """B A, of the weight's shape (out, in); of an embedding (tokens, dimensions)."""
        if self.role == EMBEDDING:
            return (self.hira_embedding_B @ self.hira_embedding_A).T
        return self.hira_B.flatten(1) @ self.hira_A.flatten(1)

    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        result = base(x)
        if self.role == EMBEDDING:
            rows = functional.embedding(x, self.hira_embedding_A.T) @ self.hira_embedding_B.T
            return result + (result * rows).to(result.dtype)
        product = self.product()
        x = self.hira_dropout(as_computed(x, product.dtype))
        changed = frozen.kind.apply(frozen.module, x, frozen.weight.to(product.dtype) * product)
        return result + changed.to(result.dtype)

    def merged(self, affine: Affine, frozen: Frozen) -> Affine:
        """W ⊙ (1 + B A)."""
        factors = 1 + self.product()
        lossy = bool((factors.abs() < SMALL).any())
        self.before = affine._replace(weight=affine.weight.clone()) if lossy else None
        return affine._replace(weight=affine.weight * factors.to(affine.weight.dtype))

    def unmerged(self, affine: Affine, frozen: Frozen) -> Affine:
        if self.before is not None:
            before, self.before = self.before, None
            return before
        return affine._replace(weight=affine.weight / (1 + self.product()).to(affine.weight.dtype))


def _pair(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[nn.Parameter, nn.Parameter]:
    return nn.Parameter(torch.randn(first)), nn.Parameter(torch.randn(second))


@final
class HiraFamily(LayerFamily):
    name = "HIRA"
    prefix = "hira_"
    config = HiraConfig
    roles = frozenset({LINEAR, EMBEDDING, CONV})
    targets = LORA.targets
    targets_of = LORA.targets_of

    def layer(self, frozen: Frozen, config: Any, shared: Any) -> LayerMethod:
        return Hira(frozen, config, shared)

    def before_load(
        self, config: Any, methods: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        """Give layers the ranks that a checkpoint has: PEFT 0.21 writes `r` for layers that `rank_pattern` gives another."""
        for start, method in methods.items():
            axes = {name: 0 if name.endswith("_A") else 1 for name, _ in method.named_parameters()}
            method.take_ranks(start, tensors, axes)
        return tensors


METHOD = HiraFamily()
