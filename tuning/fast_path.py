"""torch's encoder layers read their layers' weights where they can, past the adapters on these: that is switched off while there are any."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from tuning.layers import AdaptedLayer

BEFORE = "_activation_before_adapters"


def no_fast_path(modules: Iterable[nn.Module]) -> None:
    """Of a model's modules, let encoder layers with adapters in them call their layers, and others do what they did before."""
    for module in modules:
        if not isinstance(module, nn.TransformerEncoderLayer):
            continue
        layer: Any = module
        adapted = any(isinstance(inner, AdaptedLayer) for inner in module.modules())
        if adapted and BEFORE not in layer.__dict__:
            layer.__dict__[BEFORE] = layer.activation_relu_or_gelu
            layer.activation_relu_or_gelu = 0  # what torch takes for an activation that its fast path lacks
        elif not adapted and BEFORE in layer.__dict__:
            layer.activation_relu_or_gelu = layer.__dict__.pop(BEFORE)
