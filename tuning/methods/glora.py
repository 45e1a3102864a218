"""GLoRA: learned terms on a layer's weight and bias, scaling and adding (Chavan et al. 2023, https://arxiv.org/abs/2306.07967)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuning.config import LayerConfig, one_of, positive
from tuning.kinds import Affine, Frozen
from tuning.layer_method import Layer, LayerMethod, as_computed
from tuning.methods.lora import METHOD as LORA
from tuning.registry import LayerFamily

LOW_RANK, VECTOR, CONSTANT, NONE = "lora", "vector", "constant", "none"
SMALL = 1e-4  # what was multiplied with less than this is kept: dividing does not give it back


@dataclass(kw_only=True)
class GloraConfig(LayerConfig):
    """Which form each term has: "lora" (of rank `r`), "vector" (a value for each output, of C for each input), "constant" or "none". C, D
    and E are of layers with a bias alone.
    """

    METHOD: ClassVar[str] = "GLORA"

    r: int = 8
    bias: str = NONE
    config_A_B: str = LOW_RANK
    config_C: str = LOW_RANK
    config_D_E: str = CONSTANT
    init_weights: bool = True

    def check(self) -> None:
        super().check()
        positive(r=self.r)
        one_of("bias", self.bias, (NONE, "all", "glora_only"))
        one_of("config_A_B", self.config_A_B, (LOW_RANK, VECTOR, CONSTANT, NONE))
        one_of("config_C", self.config_C, (LOW_RANK, VECTOR, NONE))
        one_of("config_D_E", self.config_D_E, (VECTOR, CONSTANT, NONE))


class Term(nn.Module):
    """A learned matrix or vector: Xd (rows, r) times Xu (r, columns), or X, or nothing but zeros."""

    zeros: Tensor

    def __init__(self, form: str, shape: tuple[int, ...], r: int, identity: bool) -> None:
        super().__init__()
        self.form, rows = form, shape[0]
        if form == LOW_RANK:
            self.Xd, self.Xu = nn.Parameter(torch.zeros(rows, r)), nn.Parameter(torch.empty(r, shape[1]))
            nn.init.kaiming_uniform_(self.Xu, a=math.sqrt(5))
            started = self.Xd
        elif form == NONE:
            self.register_buffer("zeros", torch.zeros(shape))
            return
        else:
            size = (1,) if form == CONSTANT else (rows, 1) if len(shape) == 2 else (rows,)
            started = self.X = nn.Parameter(torch.zeros(size))
        if identity:
            return
        if form == CONSTANT:
            nn.init.normal_(started, std=0.02)
        else:
            nn.init.kaiming_uniform_(started.data.unsqueeze(0) if started.ndim == 1 else started, a=math.sqrt(5))

    def forward(self) -> Tensor:
        if self.form == LOW_RANK:
            return self.Xd @ self.Xu
        return self.zeros if self.form == NONE else self.X


@final
class Glora(LayerMethod):
    """x ↦ (W + W ⊙ A + B) x + b + b ⊙ D + E + W C; without a bias b the first term alone. A, B: as (out, in); C: (in, 1); D, E: as
    (out,).
    """

    def __init__(self, frozen: Frozen, config: GloraConfig, shared: None) -> None:
        super().__init__()
        out, into = frozen.shape
        biased = frozen.bias is not None
        of_weight, c, of_bias = (
            config.config_A_B,
            config.config_C if biased else NONE,
            config.config_D_E if biased else NONE,
        )
        forms = (of_weight, of_weight, c, of_bias, of_bias)
        shapes = ((out, into), (out, into), (into, 1), (out,), (out,))
        for name, form, shape in zip("ABCDE", forms, shapes, strict=True):
            self.add_module(f"glora_{name}", Term(form, shape, config.r, config.init_weights))
        self.before: Affine | None = None  # the layer before merging, where it can't be computed back

    def terms(self, names: str, dtype: torch.dtype) -> list[Tensor]:
        return [self.get_submodule(f"glora_{name}")().to(dtype) for name in names]

    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        result = base(x)
        dtype = next(self.parameters(), frozen.weight).dtype
        (weight, bias), (a, b) = frozen.affine, self.terms("AB", dtype)
        weight, added = weight.to(dtype), None
        if bias is not None:
            c, d, e = self.terms("CDE", dtype)
            added = bias.to(dtype) * d + e + (weight @ c).squeeze(-1)
        return result + functional.linear(as_computed(x, dtype), weight * a + b, added).to(result.dtype)

    def merged(self, affine: Affine, frozen: Frozen) -> Affine:
        weight, bias = affine
        a, b, c, d, e = self.terms("ABCDE", weight.dtype)
        lossy = any(bool(((1 + term).abs() < SMALL).any()) for term in (a, d))
        self.before = Affine(weight.clone(), None if bias is None else bias.clone()) if lossy else None
        return Affine(weight + weight * a + b, None if bias is None else bias + bias * d + e + (weight @ c).squeeze(-1))

    def unmerged(self, affine: Affine, frozen: Frozen) -> Affine:
        if self.before is not None:
            before, self.before = self.before, None
            return before
        a, b, c, d, e = self.terms("ABCDE", affine.weight.dtype)
        weight, bias = (affine.weight - b) / (1 + a), affine.bias
        return Affine(weight, None if bias is None else (bias - e - (weight @ c).squeeze(-1)) / (1 + d))


@final
class GloraFamily(LayerFamily):
    name = "GLORA"
    prefix = "glora_"
    config = GloraConfig
    targets = LORA.targets
    targets_of = LORA.targets_of

    def layer(self, frozen: Frozen, config: Any, shared: Any) -> LayerMethod:
        return Glora(frozen, config, shared)


METHOD = GloraFamily()
