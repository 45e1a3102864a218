"""HRA: a layer's input reflected at r learned hyperplanes in turn (Householder reflections; Yuan et al. 2024,
https://arxiv.org/abs/2405.17484).
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from tuning.config import LayerConfig, one_of, positive
from tuning.errors import ConfigError
from tuning.kinds import CONV, LINEAR, Affine, Frozen
from tuning.layer_method import Layer, LayerMethod, as_computed
from tuning.methods.lora import METHOD as LORA
from tuning.registry import LayerFamily
from tuning.rotations import solvable

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class HRAConfig(LayerConfig):
    """`apply_GS`: the hyperplanes made orthogonal (Gram and Schmidt). An odd r, or that, can't start as the identity."""

    METHOD: ClassVar[str] = "HRA"

    r: int = 8
    apply_GS: bool = False
    init_weights: bool = True
    bias: str = "none"

    def check(self) -> None:
        super().check()
        positive(r=self.r)
        one_of("bias", self.bias, ("none", "all", "hra_only"))
        if self.init_weights and self.r % 2 and not self.apply_GS:
            log.warning(
                "HRA: an odd number of reflections (r = %d) is never the identity, so it starts at random", self.r
            )


@final
class HRA(LayerMethod):
    """x ↦ base(x Hᵀ), H = H₁ … Hᵣ with Hᵢ = I - 2 uᵢuᵢᵀ / ‖uᵢ‖². hra_u: (in, r). Equal pairs of columns cancel out."""

    def __init__(self, frozen: Frozen, config: HRAConfig, shared: None) -> None:
        super().__init__()
        into, r = frozen.shape[1], config.r
        self.orthogonal = config.apply_GS
        if self.orthogonal and r > into:
            raise ConfigError(f"r is {r}, and '{frozen.name}' has {into} inputs: no more directions can be orthogonal")
        pairs = config.init_weights and r % 2 == 0 and not self.orthogonal
        columns = torch.empty(into, r // 2 if pairs else r)
        nn.init.kaiming_uniform_(columns, a=math.sqrt(5))
        self.hra_u = nn.Parameter(columns.repeat_interleave(2, dim=1) if pairs else columns)

    def factors(self) -> tuple[Tensor, Tensor]:
        """K, U (in, r), with H = I - K Uᵀ: all r reflections as two thin matrices (Schreiber and Van Loan 1989)."""
        u = solvable(self.hra_u)
        if self.orthogonal:
            q, _ = torch.linalg.qr(u)
            return 2 * q, q
        u = u / u.norm(dim=0)
        half = torch.eye(u.shape[1], device=u.device, dtype=u.dtype) / 2
        with torch.autocast(u.device.type, enabled=False):  # in bfloat16 H would not be orthogonal
            return torch.linalg.solve_triangular((u.T @ u).triu(1) + half, u, upper=True, left=False), u

    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        if frozen.role == CONV:
            return self.by_weights(base, x, frozen)
        k, u = self.factors()
        wide = as_computed(x, u.dtype)
        return base((wide - (wide @ u) @ k.T).to(x.dtype))

    def merged(self, affine: Affine, frozen: Frozen) -> Affine:
        """W H."""
        k, u = (factor.to(affine.weight.dtype) for factor in self.factors())
        return affine._replace(weight=affine.weight - (affine.weight @ k) @ u.T)

    def unmerged(self, affine: Affine, frozen: Frozen) -> Affine:
        """W Hᵀ: H is orthogonal."""
        k, u = (factor.to(affine.weight.dtype) for factor in self.factors())
        return affine._replace(weight=affine.weight - (affine.weight @ u) @ k.T)


@final
class HRAFamily(LayerFamily):
    name = "HRA"
    prefix = "hra_"
    config = HRAConfig
    roles = frozenset({LINEAR, CONV})
    targets = LORA.targets
    targets_of = LORA.targets_of

    def layer(self, frozen: Frozen, config: Any, shared: Any) -> LayerMethod:
        return HRA(frozen, config, shared)


METHOD = HRAFamily()
