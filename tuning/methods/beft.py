"""BEFT: a bias is added to the outputs of value projections, and nothing else is trained (Huang et al. 2025,
https://arxiv.org/abs/2509.15974).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from tuning.config import LayerConfig
from tuning.kinds import Affine, Frozen
from tuning.layer_method import Layer, LayerMethod
from tuning.registry import LayerFamily

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class BeftConfig(LayerConfig):
    METHOD: ClassVar[str] = "BEFT"

    init_weights: bool = True


@final
class Beft(LayerMethod):
    """x ↦ base(x) + b. beft_bias: b (1, out). It can be merged where the layer has a bias."""

    def __init__(self, frozen: Frozen, config: BeftConfig, shared: None) -> None:
        super().__init__()
        out = frozen.shape[0]
        if frozen.bias is None:
            log.warning("'%s' has no bias, so a BEFT adapter on it can't be merged", frozen.name)
        self.beft_bias = nn.Parameter(torch.zeros(1, out) if config.init_weights else torch.randn(1, out))

    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        result = base(x)
        return (result + self.beft_bias[0]).to(result.dtype)

    def merged(self, affine: Affine, frozen: Frozen) -> Affine:
        return self._with(affine, self.beft_bias[0])

    def unmerged(self, affine: Affine, frozen: Frozen) -> Affine:
        return self._with(affine, -self.beft_bias[0])

    def _with(self, affine: Affine, added: Tensor) -> Affine:
        return affine._replace(
            bias=added.to(affine.weight) if affine.bias is None else affine.bias + added.to(affine.bias)
        )


@final
class BeftFamily(LayerFamily):
    name = "BEFT"
    prefix = "beft_"
    config = BeftConfig
    targets: ClassVar[Sequence[Sequence[str]]] = (("v_proj",), ("value",), ("value_proj",), ("v",))
    targets_of: ClassVar[Mapping[str, Sequence[str] | str]] = {}

    def layer(self, frozen: Frozen, config: Any, shared: Any) -> LayerMethod:
        return Beft(frozen, config, shared)


METHOD = BeftFamily()
