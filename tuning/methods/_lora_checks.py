"""What of LoRA's options a kind of layer can't have."""

from __future__ import annotations

import warnings

from tuning.errors import ConfigError, PeftWarning
from tuning.kinds import ATTENTION, CONV, EMBEDDING, LINEAR, PARAMETER, Frozen
from tuning.methods._lora_config import VARIANTS, LoraConfig


def check_goes(config: LoraConfig, frozen: Frozen) -> None:
    """Raises ConfigError where an option can't be had on this kind of layer."""
    asked = {
        "lora_dropout != 0": config.lora_dropout, "fan_in_fan_out": config.fan_in_fan_out,
        "lora_bias=True": config.lora_bias, "use_dora=True": config.use_dora,
    }  # fmt: skip
    if frozen.role == PARAMETER and (wrong := [option for option, value in asked.items() if value]):
        raise ConfigError(f"'{frozen.name}' is a parameter: lora.ParamWrapper does not work with {wrong[0]}.")
    if frozen.role == ATTENTION and config.use_dora:
        raise ConfigError(
            f"'{frozen.name}' is a MultiheadAttention, which does not support DoRA: leave use_dora out, or this layer"
        )
    used = [name for name in VARIANTS if name != "use_dora" and getattr(config, name) is not None]
    if used and frozen.role != LINEAR:
        raise ConfigError(f"{used[0]} goes with linear layers, and '{frozen.name}' is {frozen.role}")
    if config.loftq_config and (frozen.role != LINEAR or frozen.kind.quantised):
        raise ConfigError(
            f"LoftQ rounds linear layers, and '{frozen.name}' is {'quantised already' if frozen.kind.quantised else frozen.role}. Give the "
            "base as it was before quantisation, or take another init_lora_weights and replace_lora_weights_loftq"
        )
    if config.lora_bias and frozen.role == EMBEDDING:
        raise ConfigError(
            f"lora_bias=True is not supported for Embedding layers, which have no bias, and '{frozen.name}' is one"
        )
    if config.lora_bias and frozen.role in (LINEAR, CONV) and frozen.bias is None:
        warnings.warn(
            f"'{frozen.name}' has no bias that lora_bias=True could be merged into: this adapter can be used, and not merged", PeftWarning, stacklevel=2,
        )  # fmt: skip


def check_rank(r: int, frozen: Frozen) -> None:
    """Warn of a rank that a change of this layer's weight can't have."""
    if frozen.role in (LINEAR, ATTENTION) and r > min(frozen.shape):
        out, into = frozen.shape
        warnings.warn(
            f"r is {r}, and '{frozen.name}' is {out} × {into}: a rank above {min(frozen.shape)} adds nothing",
            stacklevel=2,
        )
