"""PSOFT: a rotation inside the space of a weight's largest singular vectors (Wu et al. 2025, "Efficient Orthogonal Fine-Tuning with
Principal Subspace Adaptation", https://openreview.net/forum?id=FSHrinMArK).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuning.config import LayerConfig, fraction, one_of, positive
from tuning.errors import ConfigError
from tuning.kinds import Frozen
from tuning.layer_method import Additive, Layer, LayerMethod, as_computed
from tuning.methods.lora import METHOD as LORA
from tuning.registry import LayerFamily
from tuning.rotations import cayley, neumann, skew
from tuning.spectra import singular

ORTHOGONAL, SYMMETRIC = "psoft_init", "pissa_init"
NITER, TERMS = 10, 5


@dataclass(kw_only=True)
class PsoftConfig(LayerConfig):
    """`ab_svd_init`: which factor has the singular values, B or each half ("pissa_init"). `psoft_svd`: all singular vectors computed, or
    the r largest by a random projection from `random_seed` ("lowrank"). `psoft_orth`: R is orthogonal. `psoft_mag_a`, `psoft_mag_b`:
    R's inputs and outputs are scaled too.
    """

    METHOD: ClassVar[str] = "PSOFT"

    r: int = 32
    psoft_alpha: int = 32
    psoft_dropout: float = 0.0
    fan_in_fan_out: bool = False  # read and written for PEFT; a layer's own kind says how its weight lies
    ab_svd_init: str = ORTHOGONAL
    psoft_svd: str = "full"
    psoft_svd_lowrank_niter: int = NITER
    random_seed: int = 0
    psoft_orth: bool = True
    psoft_mag_b: bool = True
    psoft_mag_a: bool = True
    use_cayley_neumann: bool = False
    num_cayley_neumann_terms: int = TERMS
    cayley_neumann_eps: float | None = None
    init_weights: bool = True

    def check(self) -> None:
        super().check()
        positive(r=self.r)
        fraction(psoft_dropout=self.psoft_dropout)
        one_of("ab_svd_init", self.ab_svd_init, (ORTHOGONAL, SYMMETRIC))
        one_of("psoft_svd", self.psoft_svd, ("full", "lowrank"))
        if self.use_cayley_neumann:
            positive(num_cayley_neumann_terms=self.num_cayley_neumann_terms)
            if self.cayley_neumann_eps is not None and not 0 < self.cayley_neumann_eps < 1:
                raise ConfigError(f"`cayley_neumann_eps` must be in (0, 1), and is {self.cayley_neumann_eps}")
        unused = {
            "psoft_svd_lowrank_niter": self.psoft_svd != "lowrank" and self.psoft_svd_lowrank_niter != NITER,
            "num_cayley_neumann_terms": not self.use_cayley_neumann and self.num_cayley_neumann_terms != TERMS,
            "cayley_neumann_eps": not self.use_cayley_neumann and self.cayley_neumann_eps is not None,
        }
        for name in (name for name, ignored in unused.items() if ignored):
            goes_with = "psoft_svd='lowrank'" if "niter" in name else "use_cayley_neumann=True"
            warnings.warn(f"`{name}` is only used when `{goes_with}`. It is ignored", UserWarning, stacklevel=4)


class Turn(nn.Module):
    """R (r, r), and PEFT's names for what it is made of: weight (r · (r - 1) / 2,), what is above the diagonal of a skew-symmetric matrix,
    or R itself (r, r); vector_b, vector_a: (r,), the factors of its outputs and inputs.
    """

    def __init__(self, config: PsoftConfig) -> None:
        super().__init__()
        r = config.r
        self.config = config
        start = torch.zeros(r * (r - 1) // 2) if config.psoft_orth else torch.eye(r)
        self.weight = nn.Parameter(start if config.init_weights else start + 0.1 * torch.randn_like(start))
        self.vector_b = nn.Parameter(torch.ones(r)) if config.psoft_mag_b else None
        self.vector_a = nn.Parameter(torch.ones(r)) if config.psoft_mag_a else None

    def forward(self) -> Tensor:
        found = self._orthogonal() if self.config.psoft_orth else self.weight
        found = found if self.vector_b is None else self.vector_b[:, None] * found
        return found if self.vector_a is None else found * self.vector_a

    def _orthogonal(self) -> Tensor:
        skewed = skew(self.weight[None], self.config.r)
        if not self.config.use_cayley_neumann:
            return cayley(-skewed)[0]
        if (limit := self.config.cayley_neumann_eps) is not None:
            norm = skewed.norm()
            skewed = skewed * torch.where(norm > limit, limit / (norm + 1e-12), torch.ones_like(norm))
        return neumann(skewed, self.config.num_cayley_neumann_terms)[0]


@final
class Psoft(Additive):
    """x ↦ base(x) + s B (R - I) A x: B A is the part of the weight with the r largest singular values, over s. A: (r, in), B: (out, r),
    frozen and not saved: they are computed from the base, in single precision.
    """

    def __init__(self, frozen: Frozen, config: PsoftConfig, shared: None) -> None:
        super().__init__()
        r = config.r
        if r > min(frozen.shape):
            raise ConfigError(f"r is {r}, and '{frozen.name}' is {frozen.shape}: take {min(frozen.shape)} or less")
        self.scaling = config.psoft_alpha / r
        self.psoft_dropout = nn.Dropout(config.psoft_dropout) if config.psoft_dropout else nn.Identity()
        self.psoft_R = Turn(config)
        quick = (config.psoft_svd_lowrank_niter, config.random_seed) if config.psoft_svd == "lowrank" else None
        left, values, right = singular(frozen.weight, r, quick)
        values = values / self.scaling
        on_a, on_b = (values.sqrt(), values.sqrt()) if config.ab_svd_init == SYMMETRIC else (1, values)
        self.register_buffer("_psoft_A_cache", (right.T * on_a).T.contiguous(), persistent=False)
        self.register_buffer("_psoft_B_cache", (left * on_b).contiguous(), persistent=False)

    def change(self) -> Tensor:
        turn = self.psoft_R()
        a, b = self.get_buffer("_psoft_A_cache"), self.get_buffer("_psoft_B_cache")
        return self.scaling * (b @ (turn - torch.eye(len(turn), device=turn.device, dtype=turn.dtype)) @ a)

    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        result = base(x)
        a, b = self.get_buffer("_psoft_A_cache"), self.get_buffer("_psoft_B_cache")
        low = functional.linear(self.psoft_dropout(as_computed(x, a.dtype)), a)
        turned = functional.linear(low, self.psoft_R())
        return result + (self.scaling * functional.linear(turned - low, b)).to(result.dtype)


@final
class PsoftFamily(LayerFamily):
    name = "PSOFT"
    prefix = "psoft_"
    config = PsoftConfig
    targets = LORA.targets
    targets_of = LORA.targets_of

    def layer(self, frozen: Frozen, config: Any, shared: Any) -> LayerMethod:
        return Psoft(frozen, config, shared)


METHOD = PsoftFamily()
