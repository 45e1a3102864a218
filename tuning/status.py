"""What is on a model: a line a layer, and all of it in one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tuning.errors import AdapterError, NotOnLayers
from tuning.layers import AdaptedLayer
from tuning.saved import SavedModule
from tuning.tuner import Tuner

IRREGULAR = "irregular"


@dataclass(kw_only=True)
class LayerStatus:
    """`requires_grad` is "irregular" where an adapter's parameters differ in it. `quantization_backend`: None where the base is not quantised."""

    name: str
    module_type: str
    enabled: bool
    active_adapters: list[str]
    merged_adapters: list[str]
    available_adapters: list[str]
    requires_grad: dict[str, bool | str]
    devices: dict[str, list[str]]
    quantization_backend: str | None = None


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
    devices: dict[str, list[str]]
    quantization_backend: str | None


def layer_status(model: nn.Module) -> list[LayerStatus]:
    """The layers that adapters sit on, and modules that are trained whole, in the model's order. Raises AdapterError where there are none."""
    found = [
        _of(name, module) for name, module in model.named_modules() if isinstance(module, AdaptedLayer | SavedModule)
    ]
    if not found:
        raise AdapterError(
            f"No adapter layers found in the model: no adapter sits on a layer of {type(model).__name__}"
        )
    return found


def _of(name: str, module: AdaptedLayer | SavedModule) -> LayerStatus:
    own: dict[str, list[Tensor]]
    if isinstance(module, SavedModule):
        own = {adapter: list(copy.parameters()) for adapter, copy in module.modules_to_save.items()}
    else:
        own = {adapter: list(method.parameters()) or _shared(module, adapter) for adapter, method in module.methods()}
    kind = module.frozen.kind if isinstance(module, AdaptedLayer) else None
    tokens = "token_adapter" in dict(module.named_children())
    plain = "ModulesToSaveWrapper" if kind is None else repr(module).partition("(")[0]
    return LayerStatus(
        name=f"{name}.token_adapter" if tokens else name,
        module_type="TrainableTokensLayer" if tokens else plain,
        enabled=not module.disable_adapters,
        active_adapters=module.active_adapters,
        merged_adapters=list(module.merged_adapters) if isinstance(module, AdaptedLayer) else [],
        available_adapters=sorted(own),
        requires_grad={adapter: _each(tensor.requires_grad for tensor in tensors) for adapter, tensors in own.items()},
        devices={adapter: sorted({tensor.device.type for tensor in tensors}) for adapter, tensors in own.items()},
        quantization_backend=kind.backend if kind is not None and kind.quantised else None,
    )


def _shared(layer: AdaptedLayer, adapter: str) -> list[Tensor]:
    """What a layer has of an adapter whose layers share all that is trained (Uni-LoRA, TinyLoRA)."""
    held: list[Any] = [getattr(layer, name) for name in layer.adapter_layer_names]
    found = [parts[adapter] for parts in held if adapter in parts]
    return [tensor for part in found for tensor in ([part] if isinstance(part, Tensor) else part.parameters())]


def model_status(model: nn.Module, layers: Sequence[LayerStatus], **said: Any) -> ModelStatus:
    """All layers in one; `said`: of the model, what no layer says."""
    names = sorted({name for layer in layers for name in layer.available_adapters})
    merged = {name for layer in layers for name in layer.merged_adapters}
    apart = any(set(layer.available_adapters) & merged - set(layer.merged_adapters) for layer in layers)
    return ModelStatus(
        num_adapter_layers=len(layers),
        enabled=_same([layer.enabled for layer in layers]),
        active_adapters=_same([layer.active_adapters for layer in layers]),
        merged_adapters=IRREGULAR if apart else sorted(merged),
        requires_grad={
            name: _each(layer.requires_grad[name] for layer in layers if name in layer.requires_grad) for name in names
        },
        available_adapters=names,
        devices={name: sorted({place for layer in layers for place in layer.devices.get(name, ())}) for name in names},
        quantization_backend=_same([layer.quantization_backend for layer in layers]),
        **said,
    )


def _each(values: Iterable[bool | str]) -> bool | str:
    found = list(values)
    return found[0] if all(value == found[0] for value in found) else IRREGULAR


def _same(values: Sequence[Any]) -> Any:
    return values[0] if all(value == values[0] for value in values) else IRREGULAR


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """(trainable, all); a 4-bit weight counts as what it stands for."""
    trainable = total = 0
    for parameter in model.parameters():
        state = getattr(parameter, "quant_state", None)
        count = parameter.numel() if state is None else int(torch.Size(state.shape).numel())
        total += count
        trainable += count if parameter.requires_grad else 0
    return trainable, total


def get_layer_status(model: nn.Module) -> list[LayerStatus]:
    """The layers that adapters sit on, of a `PeftModel` or a model that has them injected. Raises AdapterError where none does."""
    return layer_status(_looked_at(model, "get_layer_status"))


def get_model_status(model: nn.Module) -> ModelStatus:
    """All of a model's adapters in one. Raises AdapterError where no adapter sits on a layer."""
    inside = _looked_at(model, "get_model_status")
    trainable, total = count_parameters(model)
    of: Any = model if hasattr(model, "get_base_model") else None  # a PeftModel
    types = {} if of is None else {name: config.METHOD for name, config in of.peft_config.items()}
    config: Any = getattr(model, "config", None)
    named = type(model if of is None else of.get_base_model()).__name__
    return model_status(
        model,
        layer_status(inside),
        base_model_type=named if of is not None or hasattr(config, "to_dict") else "other",
        adapter_model_type="None" if of is None else type(inside).__name__,
        peft_types=types,
        trainable_params=trainable,
        total_params=total,
    )


def _looked_at(model: nn.Module, asked: str) -> nn.Module:
    if not hasattr(model, "get_base_model"):
        return model
    of: Any = model
    if not isinstance(of.base_model, Tuner):
        raise NotOnLayers(
            f"{asked}() got an invalid PeftModel instance: virtual tokens sit on no layer, so they have no status"
        )
    return of.base_model
