"""PEFT's classes of adapted layers, for `isinstance`: `peft.tuners.lora.LoraLayer`, `peft.tuners.lora.Linear`.

There is one class of adapted layers here. A layer is a `LoraLayer` while an adapter sits on it whose parameters are named `lora_…`, and a
`lora.Linear` if its base is linear besides.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NoReturn

from torch import nn

from tuning.errors import ConfigError
from tuning.kinds import EMBEDDING, LINEAR
from tuning.layers import AdaptedLayer
from tuning.methods._tokens import TokenAdapter
from tuning.registry import LayerFamily, method_named

BASES: dict[str, Callable[[AdaptedLayer], bool]] = {
    "Linear": lambda layer: layer.frozen.role == LINEAR and not layer.frozen.kind.quantised,
    "Embedding": lambda layer: layer.frozen.role == EMBEDDING,
    "Conv1d": lambda layer: isinstance(layer.base_layer, nn.Conv1d),
    "Conv2d": lambda layer: isinstance(layer.base_layer, nn.Conv2d),
    "Conv3d": lambda layer: isinstance(layer.base_layer, nn.Conv3d),
    "MultiheadAttention": lambda layer: isinstance(layer.base_layer, nn.MultiheadAttention),
    "Linear8bitLt": lambda layer: type(layer.base_layer).__name__ == "Linear8bitLt",
    "Linear4bit": lambda layer: type(layer.base_layer).__name__ == "Linear4bit",
    "ParamWrapper": lambda layer: layer.frozen.kind.role == "parameter",
}


class _OfLayers(type):
    prefix: str
    fits: Callable[[AdaptedLayer], bool] | None

    def __instancecheck__(cls, instance: Any) -> bool:
        if isinstance(instance, TokenAdapter):
            return cls.__name__ == "TrainableTokensLayer"
        if not isinstance(instance, AdaptedLayer) or (cls.fits is not None and not cls.fits(instance)):
            return False
        return any(_prefix(instance, name) == cls.prefix for name in instance.adapters)


def _prefix(layer: AdaptedLayer, adapter: str) -> str:
    config = layer.routing.configs.get(adapter)
    family = method_named(config.METHOD) if config is not None else None
    return family.prefix if isinstance(family, LayerFamily) else ""


@cache
def layer_class(prefix: str, name: str) -> type:
    """The class that layers with such parameters are instances of; of a kind of base where `name` is one of `BASES`."""
    fits = BASES.get(name) and staticmethod(BASES[name])
    return _OfLayers(name, (), {"prefix": prefix, "fits": fits, "update_layer": update_layer})


def update_layer(layer: Any, *args: Any, **kwargs: Any) -> NoReturn:
    """PEFT's layers put an adapter on with it, and some libraries wrap it; here the tuner does it."""
    raise ConfigError("layers have no update_layer here: an adapter is put on by the model's add_adapter")


class _OfTokens(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, AdaptedLayer) and hasattr(instance, "token_adapter")


class TrainableTokensWrapper(metaclass=_OfTokens):
    """A layer with rows that are trained beside LoRA, for `isinstance`."""
