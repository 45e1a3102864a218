"""LoRA on one layer, with DoRA's directions where they were asked for."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuning.errors import ConfigError
from tuning.initialising import initialise
from tuning.invocation import after_invocation
from tuning.kinds import CONV, EMBEDDING, Affine, Frozen
from tuning.layers import Layer, LayerMethod, as_computed
from tuning.methods._lora_checks import check_goes, check_rank
from tuning.methods._lora_config import LoraConfig
from tuning.methods._low_rank import FORMS
from tuning.patterns import value_for
from tuning.placement import OfAdapter


@final
class Lora(LayerMethod):
    """x ↦ base(x) + scaling · B A x. A: (r, in), B: (out, r); of an embedding A: (r, tokens), B: (dimensions, r)."""

    lora_A: nn.Linear  # of layers that are multiplied; of an embedding the two below
    lora_B: nn.Linear
    lora_embedding_A: nn.Parameter
    lora_embedding_B: nn.Parameter
    lora_start_A: Tensor  # (r, in), (out, r): the part of the base's weight that A and B began as, where they did
    lora_start_B: Tensor

    r = OfAdapter[int]()
    lora_alpha = OfAdapter[float]()
    scaling = OfAdapter[float]()
    use_rslora = OfAdapter[bool]()
    use_dora = OfAdapter[bool]()
    lora_bias = OfAdapter[bool]()

    def __init__(self, frozen: Frozen, config: LoraConfig, shared: None) -> None:
        super().__init__()
        self.form, self.frozen_role = FORMS[frozen.role], frozen.role
        self.r = value_for(config.rank_pattern, frozen.name, config.r)
        self.lora_alpha = value_for(config.alpha_pattern, frozen.name, config.lora_alpha)
        self.use_rslora, self.use_dora = config.use_rslora, config.use_dora
        self.scaling = self.lora_alpha / (math.sqrt(self.r) if config.use_rslora else self.r)
        self.lora_dropout = nn.Dropout(config.lora_dropout) if config.lora_dropout else nn.Identity()
        self.lora_bias = config.lora_bias and frozen.role != EMBEDDING
        self.invoked_by = config.alora_invocation_tokens
        check_goes(config, frozen)
        check_rank(self.r, frozen)
        for name, factor in zip(self.form.names, self.form.make(frozen, self.r, self.lora_bias), strict=True):
            setattr(self, name, factor)
        if initialise_factors(self, config.init_lora_weights, frozen):
            for name, factor in zip(("lora_start_A", "lora_start_B"), self.factors, strict=True):
                self.register_buffer(name, factor.detach().clone(), persistent=False)
        if self.use_dora:
            norm = self._norm(_float(frozen.weight).to(self.factors[0]), frozen)
            if frozen.role == CONV:
                norm = self.form.along(norm, frozen).unsqueeze(0)  # as PEFT has it: (1, out, 1, …)
            self.lora_magnitude_vector = Magnitude(norm)

    @property
    def factors(self) -> tuple[Tensor, Tensor]:
        """(A, B)."""
        first, second = self.form.names
        a, b = getattr(self, first), getattr(self, second)
        return (a, b) if isinstance(a, Tensor) else (a.weight, b.weight)  # FSDP has a view in a parameter's place

    def change(self, frozen: Frozen) -> Tensor:
        """What is added to the weight: (out, in); of an embedding (tokens, dimensions)."""
        change = self.form.change(*self.factors, frozen)
        if "lora_start_A" in self._buffers:
            change = change - self.form.change(self.lora_start_A, self.lora_start_B, frozen)
        return change * self.scaling

    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        result = base(x)
        if frozen.role != EMBEDDING:
            x = as_computed(x, self.factors[0].dtype)
        dropped = x if frozen.role == EMBEDDING else self.lora_dropout(x)
        added = self._directed(result, x, dropped, frozen) if self.use_dora else self._low(dropped, frozen)
        if self.invoked_by is not None:
            added = after_invocation(added, self.owner, self.adapter)
        return result + added.to(result.dtype)

    def _low(self, x: Tensor, frozen: Frozen) -> Tensor:
        """What is added to the layer's output."""
        a, b = (getattr(self, name) for name in self.form.names)
        low = self.form.low(x, a, b, self.scaling, frozen)
        if "lora_start_A" in self._buffers:
            start = functional.linear(x, self.lora_start_A.to(x.dtype)) * self.scaling
            low = low - functional.linear(start, self.lora_start_B.to(x.dtype))
        return low

    def _directed(self, result: Tensor, x: Tensor, dropped: Tensor, frozen: Frozen) -> Tensor:
        """DoRA: the rows of W + BA brought to the learned magnitudes; section 4.3: the norm takes no gradient."""
        ratio = self.form.along(self._ratio(frozen.weight, frozen), frozen)
        if dropped is x:
            bias = frozen.bias
            plain = result if bias is None else result - self.form.along(bias, frozen)
        else:
            plain = frozen.kind.apply(frozen.module, dropped, frozen.weight.to(dropped.dtype))
        return (ratio - 1) * plain + ratio * self._low(dropped, frozen)

    def _norm(self, weight: Tensor, frozen: Frozen) -> Tensor:
        """The norm of each row of W + BA: (out,); of an embedding of each column: (dimensions,)."""
        change = self.form.for_norm(*self.factors, frozen) * self.scaling
        if "lora_start_A" in self._buffers:
            change = change - self.form.for_norm(self.lora_start_A, self.lora_start_B, frozen) * self.scaling
        whole = weight + change.detach().to(weight.dtype)
        return whole.norm(p=2, dim=0 if frozen.role == EMBEDDING else 1)

    def _ratio(self, weight: Tensor, frozen: Frozen) -> Tensor:
        """What each row is multiplied with; a row of zeros, which has no direction, with 1."""
        magnitude = self.lora_magnitude_vector.weight.flatten()
        norm = self._norm(weight.to(magnitude.dtype), frozen)
        none = norm == 0
        return torch.where(none, torch.ones_like(norm), magnitude / norm.masked_fill(none, 1.0))

    def merged(self, affine: Affine, frozen: Frozen) -> Affine:
        if self.invoked_by is not None:
            raise ConfigError("aLoRA does not support merging: what it adds depends on the tokens")
        bias = affine.bias
        if self.lora_bias:
            added = self.lora_B.bias * self.scaling
            bias = added if bias is None else bias + added
        whole = affine.weight + self.change(frozen).to(affine.weight.dtype)
        if self.use_dora:
            self.ratio_when_merged = self._ratio(affine.weight, frozen).to(affine.weight.dtype)
            whole = whole * self._over_rows(self.ratio_when_merged, frozen)
        return Affine(whole, bias)

    def _over_rows(self, ratio: Tensor, frozen: Frozen) -> Tensor:
        return ratio if frozen.role == EMBEDDING else ratio.unsqueeze(1)

    def unmerged(self, affine: Affine, frozen: Frozen) -> Affine:
        bias = affine.bias
        if bias is not None and self.lora_bias:
            bias = bias - self.lora_B.bias * self.scaling
        whole = affine.weight
        if self.use_dora:
            whole = whole / self._over_rows(self.ratio_when_merged, frozen)
        return Affine(whole - self.change(frozen).to(whole.dtype), bias)


def initialise_factors(method: Lora, how: bool | str, frozen: Frozen) -> bool:
    """Fill A and B; returns whether they are a part of the base's weight."""
    if frozen.role == EMBEDDING:
        if how is False:
            nn.init.normal_(method.lora_embedding_A)
        return False
    return initialise(method.lora_A, method.lora_B, method.scaling, how, frozen, method.r)


class Magnitude(nn.Module):
    """DoRA's magnitudes, under PEFT's name `lora_magnitude_vector.weight`."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone())


def _float(weight: Tensor) -> Tensor:
    return weight.float() if weight.dtype in (torch.float16, torch.bfloat16) else weight
