"""Adapters in a model that stays what it is: PEFT's functions for those who do not want a `PeftModel` around it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from tuning import checkpoint, hub
from tuning.config import LayerConfig, PeftConfig
from tuning.errors import ConfigError
from tuning.state import INJECTED
from tuning.targets import outer
from tuning.tuners import tuner_class


def inject_adapter_in_model(
    peft_config: PeftConfig,
    model: nn.Module,
    adapter_name: str = "default",
    low_cpu_mem_usage: bool = False,
    state_dict: Mapping[str, Tensor] | None = None,
) -> nn.Module:
    """The same model, with the layers that the config means (or that a checkpoint has tensors for) adapted in place.

    Raises ConfigError, TargetError.
    """
    if not isinstance(peft_config, LayerConfig):
        raise ConfigError(f"{peft_config.METHOD} adapts no layers, so it can't be put into a model: use get_peft_model")
    if state_dict is not None:
        peft_config.target_modules = _layers_of(model, state_dict)
    tuner = model.__dict__.get(INJECTED) or tuner_class(peft_config.METHOD)(model)
    tuner.add(adapter_name, peft_config, empty=low_cpu_mem_usage)
    model.__dict__[INJECTED] = tuner  # not a submodule: the model is one of its own
    model.__dict__["peft_config"] = tuner.peft_config
    tuner.freeze(adapter_name)
    tuner.set_adapter([adapter_name], inference_mode=peft_config.inference_mode)
    return model


def _layers_of(model: nn.Module, keys: Iterable[str]) -> set[str]:
    """The layers that a checkpoint's keys lie in."""
    modules = {path for path, _ in outer(model) if path}
    found: set[str] = set()
    for key in keys:
        parts = key.removeprefix(checkpoint.PREFIX).split(".")
        paths = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
        if (layer := next((path for path in paths if path in modules), None)) is not None:
            found.add(layer)
    return found


def get_peft_config(config_dict: Mapping[str, Any]) -> PeftConfig:
    """A config from a dict whose `peft_type` says of which method. Raises ConfigError."""
    if not config_dict.get("peft_type"):
        raise ConfigError(
            f"the dict has no peft_type, which says whose config it is (there is: {', '.join(config_dict)})"
        )
    return PeftConfig.from_peft_type(**config_dict)


def load_peft_weights(
    model_id: str | os.PathLike[str], device: str | None = None, subfolder: str | None = None, **kwargs: Any
) -> dict[str, Tensor]:
    """The tensors in an adapter's folder by a checkpoint's keys, on the device that is named or else on the CPU.

    Raises CheckpointError.
    """
    tensors = checkpoint.read(hub.resolved(model_id, subfolder, **kwargs))
    return tensors if device is None else {key: tensor.to(device) for key, tensor in tensors.items()}
