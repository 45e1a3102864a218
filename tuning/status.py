"""What is on a model: a line a layer, and all of it in one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tuning.layers import adapted_layers


@dataclass(kw_only=True)
class LayerStatus:
    name: str
    module_type: str
    enabled: bool
    active_adapters: list[str]
    merged_adapters: list[str]
    available_adapters: list[str]
    requires_grad: dict[str, bool]
    devices: dict[str, list[str]] = field(default_factory=dict)


@dataclass(kw_only=True)
class ModelStatus:
    """A field is "irregular" where layers differ in it."""

    base_model_type: str
    adapter_model_type: str
    peft_types: dict[str, str]
    trainable_params: int
    total_params: int
    num_adapter_layers: int
    enabled: bool | str
    active_adapters: list[str] | str
    merged_adapters: list[str] | str
    requires_grad: dict[str, bool | str]
    available_adapters: list[str]


def layer_status(model: Any) -> list[LayerStatus]:
    """The layers that adapters sit on, in the model's order."""
    return [
        LayerStatus(
            name=name,
            module_type=type(layer.base_layer).__name__,
            enabled=layer.routing.enabled,
            active_adapters=[name for name in layer.routing.active if name in layer.adapters],
            merged_adapters=list(layer.merged),
            available_adapters=sorted(layer.adapters),
            requires_grad={
                name: any(parameter.requires_grad for parameter in method.parameters())
                for name, method in layer.methods()
            },
            devices={
                name: sorted({str(parameter.device) for parameter in method.parameters()})
                for name, method in layer.methods()
            },
        )
        for name, layer in adapted_layers(model.get_base_model()).items()
    ]


def model_status(model: Any) -> ModelStatus:
    layers = layer_status(model)
    trainable, total = model.get_nb_trainable_parameters()
    names = sorted({name for layer in layers for name in layer.available_adapters})
    grads = {name: [layer.requires_grad[name] for layer in layers if name in layer.requires_grad] for name in names}
    return ModelStatus(
        base_model_type=type(model.get_base_model()).__name__,
        adapter_model_type=type(model.base_model).__name__,
        peft_types={name: config.METHOD for name, config in model.peft_config.items()},
        trainable_params=trainable,
        total_params=total,
        num_adapter_layers=len(layers),
        enabled=_same([layer.enabled for layer in layers], True),
        active_adapters=_same([_in_order(layer.active_adapters, model) for layer in layers], []),
        merged_adapters=_same([layer.merged_adapters for layer in layers], []),
        requires_grad={name: _same(values, False) for name, values in grads.items()},
        available_adapters=names,
    )


def _in_order(names: list[str], model: Any) -> list[str]:
    return names or list(model.active_adapters)


def _same(values: list[Any], empty: Any) -> Any:
    if not values:
        return empty
    return values[0] if all(value == values[0] for value in values) else "irregular"
