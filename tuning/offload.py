"""Bases that `accelerate` keeps partly elsewhere, on disk or the CPU, and brings in for a forward pass."""

from __future__ import annotations

from torch import nn

from tuning.errors import ConfigError


def check_not_offloaded(model: nn.Module) -> None:
    """Raises ConfigError where weights are not in memory: an adapter reads them, and merging writes them."""
    if not any(hasattr(module, "_hf_hook") for module in model.modules()):
        return
    for name, parameter in model.named_parameters():
        if parameter.is_meta:
            raise ConfigError(
                f"'{name}' is offloaded: it is not in memory, so no adapter can sit on it. Load the base without "
                "device_map, or with one that keeps all layers on a device"
            )
