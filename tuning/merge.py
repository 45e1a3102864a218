"""Adapters merged into the base's weights, and taken out again. The only place where base weights change."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from tuning.errors import AdapterError
from tuning.kinds import Affine
from tuning.layers import AdaptedLayer, LayerMethod, adapted_layers


@torch.no_grad()
def merge(layer: AdaptedLayer, names: Sequence[str], *, safe: bool = False, keep: bool = False) -> None:
    """Put adapters into a layer's weights, in this order. Raises AdapterError, with `safe` also where a weight is no number.

    `keep` holds the base's own weight, so that `unmerge` gives it back bit for bit.
    """
    for name, method in layer.methods([name for name in names if name not in layer.merged]):
        affine = _read(layer)
        if keep and layer.kept is None:
            layer.kept = layer.frozen.module.get_parameter("weight").detach().clone()
        merged = method.merged(affine, layer.frozen)
        if safe and not all(torch.isfinite(part).all() for part in merged if part is not None):
            raise AdapterError(f"adapter '{name}' on '{layer.frozen.name}' has weights that are no numbers; not merged")
        _write(layer, merged, affine)
        layer.merged.append(name)


@torch.no_grad()
def unmerge(layer: AdaptedLayer) -> None:
    """Take all merged adapters out of a layer's weights, the last one first."""
    while layer.merged:
        name = layer.merged.pop()
        method = layer.adapters[name]
        assert isinstance(method, LayerMethod)
        affine = _read(layer)
        _write(layer, method.unmerged(affine, layer.frozen), affine)
    if layer.kept is not None:
        layer.frozen.module.get_parameter("weight").data = layer.kept
        layer.kept = None


def _read(layer: AdaptedLayer) -> Affine:
    """The layer's weights in a precision that sums can be made in."""
    weight, bias = layer.frozen.weight, layer.frozen.bias
    if weight.dtype in (torch.float16, torch.bfloat16):
        weight, bias = weight.float(), bias.float() if bias is not None else None
    return Affine(weight, bias)


def _write(layer: AdaptedLayer, new: Affine, old: Affine) -> None:
    if new.weight is not old.weight:
        layer.frozen.kind.write(layer.frozen.module, new.weight)
    if new.bias is not None and new.bias is not old.bias:
        kept = layer.frozen.bias
        if kept is None:
            raise AdapterError(f"'{layer.frozen.name}' has no bias that the adapter's could be merged into")
        kept.data = new.bias.to(kept.dtype)


@torch.no_grad()
def take_residual(layer: AdaptedLayer, method: LayerMethod) -> None:
    """Write what a new adapter left of the base's weight, where it took a part of it."""
    if method.residual is not None:
        layer.frozen.kind.write(layer.frozen.module, method.residual)
        method.residual = None


def untie(model: nn.Module, layers: Sequence[AdaptedLayer]) -> None:
    """Give layers whose weight another module shares one of their own, so that merging changes only them."""
    owners: dict[int, int] = {}
    for module in model.modules():
        for parameter in module._parameters.values():
            if parameter is not None:
                owners[id(parameter)] = owners.get(id(parameter), 0) + 1
    for layer in layers:
        module = layer.frozen.module
        weight = module.get_parameter("weight")
        if owners.get(id(weight), 0) > 1 and not layer.frozen.kind.quantised:
            module.weight = nn.Parameter(weight.detach().clone(), requires_grad=weight.requires_grad)
            config = getattr(model, "config", None)
            if getattr(config, "tie_word_embeddings", False):
                config.tie_word_embeddings = False  # or saving and loading would tie them again


def merge_all(model: nn.Module, names: Sequence[str], *, safe: bool = False, keep: bool = False) -> None:
    """Merge adapters into every layer that has them; the model's tied weights are untied first."""
    layers = [layer for layer in adapted_layers(model).values() if any(name in layer.adapters for name in names)]
    untie(model, layers)
    for layer in layers:
        merge(layer, names, safe=safe, keep=keep)


def without_adapters(model: nn.Module) -> None:
    """Put each layer's base back in its place, as it stands."""
    for path, layer in adapted_layers(model).items():
        parent, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent), name, layer.base_layer)
