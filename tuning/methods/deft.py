"""DEFT: removes a few directions of a layer's output from the weight, and computes them with a new matrix (Kumar et
al. 2025, "Decompositional Efficient Fine-Tuning for Text-to-Image Models", NeurIPS); with `para` it only removes them
(PaRa, Chen et al. 2025, ICLR).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuning.config import LayerConfig, fraction, one_of, positive
from tuning.kinds import Affine, Frozen
from tuning.layer_method import Layer, LayerMethod, as_computed
from tuning.methods.lora import METHOD as LORA
from tuning.registry import LayerFamily
from tuning.rotations import solvable


@dataclass(kw_only=True)
class DeftConfig(LayerConfig):
    """`decomposition_method`: how the directions are read from P, "relu" (as they are) or "qr" (made orthonormal). `alpha`: the new matrix
    is scaled by alpha / r. `para`: nothing is added. `init_scale`: of the new matrix's start, where `init_weights` is off.
    """

    METHOD: ClassVar[str] = "DEFT"

    r: int = 8
    decomposition_method: str = "relu"
    init_scale: float = 1.0
    alpha: int | None = None
    para: bool = False
    fan_in_fan_out: bool = False  # read and written for PEFT; a layer's own kind says how its weight lies
    deft_dropout: float = 0.0
    init_weights: bool = True
    bias: str = "none"

    def check(self) -> None:
        super().check()
        positive(r=self.r)
        fraction(deft_dropout=self.deft_dropout)
        one_of("decomposition_method", self.decomposition_method, ("relu", "qr"))
        one_of("bias", self.bias, ("none", "all", "deft_only"))


@final
class Deft(LayerMethod):
    """W ↦ W - Q Nᵀ W + s Q R. deft_P: P (out, r), which gives Q and N (out, r): P and relu(P), or twice P's orthonormal basis.
    deft_R: R (r, in), which starts so that nothing changes; with `para` there is none.
    """

    def __init__(self, frozen: Frozen, config: DeftConfig, shared: None) -> None:
        super().__init__()
        out, into = frozen.shape
        r = min(config.r, out)  # there are no more directions
        self.how, self.deft_scaling = config.decomposition_method, config.alpha / r if config.alpha else 1.0
        self.deft_dropout = nn.Dropout(config.deft_dropout) if config.deft_dropout else nn.Identity()
        self.deft_P = nn.Parameter(0.02 * torch.randn(out, r))
        self.deft_R = None if config.para else nn.Parameter(0.02 * config.init_scale * torch.randn(r, into))
        self.removed: Tensor | None = None  # Nᵀ W before merging, which can't be computed back
        if self.deft_R is not None and config.init_weights:
            with torch.no_grad():
                weight = frozen.weight.cpu() if frozen.weight.dtype == torch.float64 else frozen.weight.cpu().float()
                self.deft_R.data = self.directions()[1].to(weight).T @ weight / self.deft_scaling

    def directions(self) -> tuple[Tensor, Tensor]:
        """Q, N: (out, r)."""
        if self.how == "relu":
            return self.deft_P, self.deft_P.relu()
        orthonormal = torch.linalg.qr(solvable(self.deft_P))[0].to(self.deft_P.dtype)
        return orthonormal, orthonormal

    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        result = base(x)
        q, n = self.directions()
        product = result if frozen.bias is None else result - frozen.bias
        low = -(as_computed(product, q.dtype) @ n)
        if self.deft_R is not None:
            low = low + self.deft_scaling * functional.linear(self.deft_dropout(as_computed(x, q.dtype)), self.deft_R)
        return result + functional.linear(low, q).to(result.dtype)

    def _change(self, removed: Tensor) -> Tensor:
        low = -removed if self.deft_R is None else self.deft_scaling * self.deft_R.to(removed) - removed
        return self.directions()[0].to(removed) @ low

    def merged(self, affine: Affine, frozen: Frozen) -> Affine:
        self.removed = self.directions()[1].to(affine.weight).T @ affine.weight
        return affine._replace(weight=affine.weight + self._change(self.removed))

    def unmerged(self, affine: Affine, frozen: Frozen) -> Affine:
        assert self.removed is not None, "it was merged"
        removed, self.removed = self.removed, None
        return affine._replace(weight=affine.weight - self._change(removed))


@final
class DeftFamily(LayerFamily):
    name = "DEFT"
    prefix = "deft_"
    config = DeftConfig
    targets = LORA.targets
    targets_of = LORA.targets_of

    def layer(self, frozen: Frozen, config: Any, shared: Any) -> LayerMethod:
        return Deft(frozen, config, shared)


METHOD = DeftFamily()
