"""What of LoRA's options a kind of layer can't have."""

from __future__ import annotations

import warnings

from tuning.errors import ConfigError, PeftWarning
from tuning.kinds import ATTENTION, CONV, EMBEDDING, LINEAR, PARAMETER, Frozen
from tuning.methods._lora_config import LoraConfig


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


def check_rank(r: int, frozen: Frozen) -> None:
    """Warn of a rank that a change of this layer's weight can't have."""
    if frozen.role in (LINEAR, ATTENTION) and r > min(frozen.shape):
        out, into = frozen.shape
        warnings.warn(
            f"r is {r}, and '{frozen.name}' is {out} × {into}: a rank above {min(frozen.shape)} adds nothing",
            stacklevel=2,
        )
