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

from tuning.errors import ConfigError
from tuning.initialising import takes_part
from tuning.kinds import ATTENTION, CONV, EMBEDDING, LINEAR, PARAMETER, Frozen
from tuning.layer_method import LayerMethod
from tuning.merge import replace as replace_weight
from tuning.methods import _kasa, _monteclora, _tying
from tuning.methods._lora_config import LoraConfig
from tuning.methods._lora_layer import Lora
from tuning.registry import LayerFamily
from tuning.replication import replicate


def _difference(
    config: LoraConfig, tensors: Mapping[str, Tensor], start: Mapping[str, Tensor]
) -> tuple[Mapping[str, Tensor], LoraConfig]:
    """B A - B₀ A₀ as a plain LoRA of twice the rank: [B, -B₀] [A; A₀]. Raises ConfigError."""
    patterns = {"rank_pattern": config.rank_pattern, "alpha_pattern": config.alpha_pattern}
    if config.use_rslora and any(patterns.values()):
        raise ConfigError(
            "Passing `path_initial_model_for_weight_conversion` to `save_pretrained` gives a LoRA of twice the rank, whose scaling use_rslora with a rank_pattern or "
            "alpha_pattern can't express: save the adapter without it, and load it on the same base"
        )
    if not takes_part(config.init_lora_weights):
        warnings.warn(
            f"the adapter did not start as a part of the base (init_lora_weights={config.init_lora_weights!r}): "
            "path_initial_model_for_weight_conversion takes its start off all the same",
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
        config,
        r=2 * config.r,
        lora_alpha=more * config.lora_alpha,
        init_lora_weights=True,
        corda_config=None,
        **doubled,
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
        if config.layer_replication:
            replicate(model, config.layer_replication)
        _tying.prepare(config, model)

    def beside(
        self, config: Any, model: nn.Module, made: Mapping[str, LayerMethod]
    ) -> Sequence[tuple[Frozen, LayerMethod]]:
        return _tying.beside(config, model, made)

    def added(self, config: Any, methods: Mapping[Frozen, LayerMethod]) -> None:
        for frozen, method in methods.items():
            if isinstance(method, Lora) and method.rounded is not None:
                replace_weight(frozen, method.rounded())
                method.rounded = None

    def before_load(
        self, config: Any, methods: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        return _tying.before_load(config, methods, tensors)

    def regularisation(self, config: Any, methods: Sequence[Any]) -> Tensor | None:
        if config.monteclora_config is not None:
            return _monteclora.regularisation(methods)
        return None if config.kasa_config is None else _kasa.regularisation(config.kasa_config, methods)

    def layer(self, frozen: Frozen, config: Any, shared: Any) -> LayerMethod:
        return Lora(frozen, config, shared)

    def difference(
        self, config: Any, tensors: Mapping[str, Tensor], start: Mapping[str, Tensor]
    ) -> tuple[Mapping[str, Tensor], Any]:
        return _difference(config, tensors, start)


METHOD = LoraFamily()
