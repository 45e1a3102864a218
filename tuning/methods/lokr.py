"""LoKr: a change that is the Kronecker product of two small matrices, each whole or of low rank (Yeh et al. 2023,
https://arxiv.org/abs/2309.14859; earlier Edalati et al. 2022, "KronA", https://arxiv.org/abs/2212.10650).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuning.config import one_of
from tuning.errors import ConfigError
from tuning.kinds import CONV, LINEAR, Frozen
from tuning.layer_method import Additive, Layer, LayerMethod, as_computed
from tuning.methods._lycoris import LycorisConfig, channels, kernel_of, left_out, rows_kept
from tuning.methods.lora import METHOD as LORA
from tuning.patterns import value_for
from tuning.registry import LayerFamily


@dataclass(kw_only=True)
class LoKrConfig(LycorisConfig):
    """`decompose_factor`: the size of the first matrix, -1: as near the root of the layer's as divides it. `decompose_both`: the first
    matrix is of low rank too, where that is smaller.
    """

    METHOD: ClassVar[str] = "LOKR"

    decompose_both: bool = False
    decompose_factor: int = -1
    rank_dropout_scale: bool = False

    def check(self) -> None:
        super().check()
        one_of("init_weights", self.init_weights, (True, False, "lycoris"))
        if self.decompose_factor != -1 and self.decompose_factor < 1:
            raise ConfigError(f"decompose_factor is {self.decompose_factor}; it has to be -1, or 1 or more")


@final
class LoKr(Additive):
    """x ↦ base(x) + scaling · (W₁ ⊗ W₂) x. W₁: (a, c), W₂: (b, d), with out = a · b and in = c · d; a matrix of rank r is the product of
    its `_a` and `_b`.
    """

    def __init__(self, frozen: Frozen, config: LoKrConfig, shared: None) -> None:
        super().__init__()
        self.out = frozen.shape[0]
        out, into, kernel = channels(frozen)
        self.kernel = kernel_of(frozen, config)
        r = value_for(config.rank_pattern, frozen.name, config.r)
        self.scaling = value_for(config.alpha_pattern, frozen.name, config.alpha) / r
        self.rank_dropout, self.module_dropout = config.rank_dropout, config.module_dropout
        self.rank_dropout_scale = config.rank_dropout_scale
        (a, b), (c, d) = split(out, config.decompose_factor), split(into, config.decompose_factor)
        self.whole_w1 = not config.decompose_both or r >= max(a, c) / 2
        self.whole_w2 = r >= max(b, d) / 2
        if self.whole_w1:
            self.lokr_w1 = nn.Parameter(torch.empty(a, c))
        else:
            self.lokr_w1_a, self.lokr_w1_b = nn.Parameter(torch.empty(a, r)), nn.Parameter(torch.empty(r, c))
        if self.whole_w2:
            self.lokr_w2 = nn.Parameter(torch.empty(b, d, *kernel))
        elif self.kernel:
            self.lokr_t2 = nn.Parameter(torch.empty(r, r, *self.kernel))
            self.lokr_w2_a, self.lokr_w2_b = nn.Parameter(torch.empty(r, b)), nn.Parameter(torch.empty(r, d))
        else:
            self.lokr_w2_a = nn.Parameter(torch.empty(b, r))
            self.lokr_w2_b = nn.Parameter(torch.empty(r, d * math.prod(kernel)))
        self._initialise(config.init_weights)

    def _initialise(self, how: bool | str) -> None:
        """One factor at zero: of W₁, with "lycoris" of W₂, with False none; random ones in PEFT's order."""
        zero: Tensor | None = None
        if how == "lycoris":
            zero = self.lokr_w2 if self.whole_w2 else self.lokr_w2_b
        elif how:
            zero = self.lokr_w1 if self.whole_w1 else self.lokr_w1_a
        for factor in self.parameters():
            if factor is zero:
                nn.init.zeros_(factor)
            else:
                nn.init.kaiming_uniform_(factor, a=math.sqrt(5))

    @property
    def factors(self) -> tuple[Tensor, Tensor]:
        """(W₁, W₂)."""
        w1 = self.lokr_w1 if self.whole_w1 else self.lokr_w1_a @ self.lokr_w1_b
        if self.whole_w2:
            return w1, self.lokr_w2
        if self.kernel:
            return w1, torch.einsum("ijkl,ip,jr->prkl", self.lokr_t2, self.lokr_w2_a, self.lokr_w2_b)
        return w1, self.lokr_w2_a @ self.lokr_w2_b

    def change(self) -> Tensor:
        """What is added to the weight: (out, in)."""
        w1, w2 = self.factors
        if w2.ndim == 4:
            w1 = w1[..., None, None]
        return torch.kron(w1, w2.contiguous()).reshape(self.out, -1) * self.scaling

    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        result = base(x)
        if self.training and left_out(self.module_dropout):
            return result
        dtype = next(self.parameters()).dtype
        if frozen.role == CONV:
            change = self.change()
            if self.training and self.rank_dropout:
                kept = rows_kept(len(change), change, self.rank_dropout, scaled=self.rank_dropout_scale)
                change = change * kept.unsqueeze(1)
            return result + frozen.kind.apply(frozen.module, as_computed(x, dtype), change).to(result.dtype)
        w1, w2 = self.factors
        # (W₁ ⊗ W₂) x is W₁ X W₂ᵀ for x written as X (c, d): no matrix as large as the weight is ever made
        grid = as_computed(x, dtype).unflatten(-1, (w1.shape[1], w2.shape[1]))
        added = (w1 @ functional.linear(grid, w2)).flatten(-2) * self.scaling
        if self.training and self.rank_dropout:
            added = added * rows_kept(added.shape[-1], added, self.rank_dropout, scaled=self.rank_dropout_scale)
        return result + added.to(result.dtype)


def split(dimension: int, wanted: int) -> tuple[int, int]:
    """(m, n) with m · n = dimension: m as wanted where that divides it; else the largest divisor that is neither above what is wanted
    nor above n.
    """
    if wanted > 0 and dimension % wanted == 0:
        return wanted, dimension // wanted
    most = math.isqrt(dimension) if wanted == -1 else min(math.isqrt(dimension), wanted)
    m = next(m for m in range(most, 0, -1) if dimension % m == 0)
    return m, dimension // m


@final
class LoKrFamily(LayerFamily):
    name = "LOKR"
    prefix = "lokr_"
    config = LoKrConfig
    roles = frozenset({LINEAR, CONV})
    targets = LORA.targets
    targets_of = LORA.targets_of

    def layer(self, frozen: Frozen, config: Any, shared: Any) -> LayerMethod:
        return LoKr(frozen, config, shared)


METHOD = LoKrFamily()
