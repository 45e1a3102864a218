"""LoRA: a low-rank change beside each weight (Hu et al. 2021, https://arxiv.org/abs/2106.09685), with rank-stabilised scaling
(Kalajdzievski 2023) and weight-decomposed directions (DoRA, Liu et al. 2024).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuning.errors import ConfigError, PeftWarning
from tuning.initialising import initialise
from tuning.invocation import after_invocation
from tuning.kinds import ATTENTION, CONV, EMBEDDING, LINEAR, PARAMETER, Affine, Frozen
from tuning.layers import Layer, LayerMethod, as_computed
from tuning.methods import _tying
from tuning.methods._lora_config import LoraConfig
from tuning.methods._low_rank import FORMS, check_rank
from tuning.patterns import value_for
from tuning.placement import OfAdapter
from tuning.registry import LayerFamily


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


def check_goes(config: LoraConfig, frozen: Frozen) -> None:
    """Raises ConfigError where an option can't be had on this kind of layer."""
    asked = {
        "lora_dropout != 0": config.lora_dropout, "fan_in_fan_out": config.fan_in_fan_out,
        "lora_bias=True": config.lora_bias, "use_dora=True": config.use_dora,
    }  # fmt: skip
    if frozen.role == PARAMETER and (wrong := [option for option, value in asked.items() if value]):
        raise ConfigError(f"'{frozen.name}' is a parameter: lora.ParamWrapper does not work with {wrong[0]}.")
    if frozen.role == ATTENTION and config.use_dora:
        raise ConfigError("MultiheadAttention does not support DoRA (yet), please set use_dora to False")
    if config.alora_invocation_tokens is not None and (frozen.role != LINEAR or config.use_dora):
        raise ConfigError(f"aLoRA goes with linear layers and without DoRA; '{frozen.name}' is {frozen.role}")
    if config.lora_bias and frozen.role == EMBEDDING:
        raise ConfigError(f"lora_bias=True is not supported for Embedding layers, and '{frozen.name}' is one.")
    if config.lora_bias and frozen.role in (LINEAR, CONV) and frozen.bias is None:
        warnings.warn(
            f"`lora_bias=True` was passed but the targeted layer of type {type(frozen.module).__name__} has no bias. This means that "
            "merging LoRA weights won't be possible.", PeftWarning, stacklevel=2,
        )  # fmt: skip


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


def _difference(
    config: LoraConfig, tensors: Mapping[str, Tensor], start: Mapping[str, Tensor]
) -> tuple[Mapping[str, Tensor], LoraConfig]:
    """B A - B₀ A₀ as a plain LoRA of twice the rank: [B, -B₀] [A; A₀]. Raises ConfigError."""
    patterns = {"rank_pattern": config.rank_pattern, "alpha_pattern": config.alpha_pattern}
    if config.use_rslora and any(patterns.values()):
        raise ConfigError(
            "Passing `path_initial_model_for_weight_conversion` to `save_pretrained` is not supported when using `rank_pattern` or `alpha_pattern` at the same time as `use_rslora=True`."
        )
    if str(config.init_lora_weights).lower().partition("_")[0] not in ("pissa", "olora", "corda"):
        warnings.warn(
            "`path_initial_model_for_weight_conversion` only works for converting a PiSSA/CorDA/OLoRA adapter to a LoRA adapter",
            stacklevel=4,
        )
    found = dict(tensors)
    for key, before in start.items():
        if ".lora_A." in key and key in found:
            found[key] = torch.cat([found[key], before.to(found[key])])
        elif ".lora_B." in key and key in found:
            found[key] = torch.cat([found[key], -before.to(found[key])], dim=1)
    more = math.sqrt(2) if config.use_rslora else 2
    doubled = {name: {key: 2 * value for key, value in (pattern or {}).items()} for name, pattern in patterns.items()}
    return found, replace(
        config, r=2 * config.r, lora_alpha=more * config.lora_alpha, init_lora_weights=True, **doubled
    )


@final
class LoraFamily(LayerFamily):
    name = "LORA"
    prefix = "lora_"
    config = LoraConfig
    roles = frozenset({LINEAR, EMBEDDING, CONV, ATTENTION, PARAMETER})
    targets = (
        ("q_proj", "v_proj"),
        ("query", "value"),
        ("query_proj", "value_proj"),
        ("c_attn",),
        ("query_key_value",),
        ("Wqkv",),
        ("qkv_proj",),
        ("q", "v"),
    )
    targets_of: ClassVar[Mapping[str, Sequence[str] | str]] = {  # PEFT's own for these, which are others
        "blip-2": ("q", "v", "q_proj", "v_proj"),
        "btlm": ("c_proj", "c_attn"),
        "deberta": ("in_proj",),
        "gemma4": r".*language_model\..*\.(q_proj|v_proj)",
        "nemotron_h": ("q_proj", "k_proj", "v_proj", "o_proj"),
        "phi": ("q_proj", "v_proj", "fc1", "fc2"),
        "rwkv": ("key", "value", "receptance", "output"),
        "rwkv7": ("r_proj", "k_proj", "v_proj", "o_proj", "key", "value"),
    }
    saved_as: ClassVar[Mapping[str, str]] = {"lora_magnitude_vector.weight": "lora_magnitude_vector"}

    def prepare(self, config: Any, model: nn.Module) -> None:
        _tying.prepare(config, model)

    def beside(
        self, config: Any, model: nn.Module, made: Mapping[str, LayerMethod]
    ) -> Sequence[tuple[Frozen, LayerMethod]]:
        return _tying.beside(config, model, made)

    def before_load(
        self, config: Any, methods: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        return _tying.before_load(config, methods, tensors)

    def layer(self, frozen: Frozen, config: Any, shared: Any) -> LayerMethod:
        return Lora(frozen, config, shared)

    def difference(
        self, config: Any, tensors: Mapping[str, Tensor], start: Mapping[str, Tensor]
    ) -> tuple[Mapping[str, Tensor], Any]:
        return _difference(config, tensors, start)


METHOD = LoraFamily()
