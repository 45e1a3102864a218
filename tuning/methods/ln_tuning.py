"""LN tuning: the normalisations are trained, nothing else (Zhao et al. 2023, "Tuning LayerNorm in Attention", https://arxiv.org/abs/2312.11420)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor
from torch.func import functional_call

from tuning.config import LayerConfig
from tuning.kinds import LINEAR, NORM, Affine, Frozen
from tuning.layer_method import Layer, LayerMethod
from tuning.registry import LayerFamily


@dataclass(kw_only=True)
class LNTuningConfig(LayerConfig):
    METHOD: ClassVar[str] = "LN_TUNING"


@final
class LNTuning(LayerMethod):
    """x ↦ norm(x), with a trained copy of the layer's weight (dimensions,) and bias (dimensions,). It takes the layer's place: of
    several such adapters that are active the outer one holds.
    """

    def __init__(self, frozen: Frozen, config: LNTuningConfig, shared: None) -> None:
        super().__init__()
        self.ln_tuning_layers = deepcopy(frozen.module)
        self.before: Affine | None = None  # the layer before merging

    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        trained = self.ln_tuning_layers
        parameters = dict(trained.named_parameters())
        if all(parameter.dtype == frozen.dtype for parameter in parameters.values()):
            return trained(x)
        # held in single precision for the optimiser's sake, computed as the base does
        return functional_call(trained, {key: value.to(frozen.dtype) for key, value in parameters.items()}, (x,))

    def merged(self, affine: Affine, frozen: Frozen) -> Affine:
        self.before = _copied(affine)
        return _copied(Affine(self.ln_tuning_layers.get_parameter("weight"), _bias(self.ln_tuning_layers)))

    def unmerged(self, affine: Affine, frozen: Frozen) -> Affine:
        assert self.before is not None
        before, self.before = self.before, None
        return before


def _bias(module: torch.nn.Module) -> Tensor | None:
    return getattr(module, "bias", None)


def _copied(affine: Affine) -> Affine:
    weight, bias = affine
    return Affine(weight.detach().clone(), None if bias is None else bias.detach().clone())


LLAMA = ("input_layernorm", "post_attention_layernorm", "norm")
GEMMA = (*LLAMA, "pre_feedforward_layernorm", "post_feedforward_layernorm")


@final
class LNTuningFamily(LayerFamily):
    name = "LN_TUNING"
    prefix = "ln_tuning_"
    config = LNTuningConfig
    roles = frozenset({NORM, LINEAR})
    on_quantised = False
    targets = (
        GEMMA,
        LLAMA,
        ("ln_1", "ln_2", "ln_f"),
        ("ln_1", "ln_f"),
        ("input_layernorm", "post_attention_layernorm", "ln_f"),
        ("self_attn_layer_norm", "encoder_attn_layer_norm", "final_layer_norm"),
        ("self_attn_layer_norm", "final_layer_norm"),
        ("layer_norm", "final_layer_norm"),
        ("input_layernorm", "final_layernorm"),
        ("LayerNorm",),
    )
    targets_of: ClassVar[Mapping[str, Sequence[str] | str]] = {  # PEFT's own for these, which are fewer
        **dict.fromkeys(("qwen2", "qwen3"), ("post_attention_layernorm",)),
        "falcon": ("input_layernorm", "post_attention_layernorm", "ln_f"),
    }

    def layer(self, frozen: Frozen, config: Any, shared: Any) -> LayerMethod:
        return LNTuning(frozen, config, shared)


METHOD = LNTuningFamily()
