"""Adapters merged into the base's weights, and taken out again. The only place where base weights change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tuning.errors import AdapterError
from tuning.kinds import Affine, Frozen
from tuning.layers import AdaptedLayer, adapted_layers
from tuning.replication import within_repeated


@torch.no_grad()
def merge(
    layer: AdaptedLayer,
    names: Sequence[str],
    *,
    safe: bool = False,
    keep: bool = False,
    done: set[tuple[int, str]] | None = None,
) -> None:
    """Put adapters into a layer's weights, in this order. Raises AdapterError, with `safe` also where a weight is no number.

    `keep` holds the base's own weights, so that `unmerge` gives them back bit for bit. `done`: which adapters are in which weight
    by now, by the layer that this one is tied to.
    """
    done = set() if done is None else done
    weight = id(layer.frozen.kind.parameter(layer.frozen.module))
    new = [name for name in names if name in layer.adapters and name not in layer.merged_adapters]
    if new and keep and layer.merged_adapters and layer.weight_before is None:
        raise AdapterError(
            f"{', '.join(layer.merged_adapters)} is merged, its base not kept: unmerge it before merging with keep_base"
        )
    for name, method in layer.methods(new):
        if method.tied and (weight, name) in done:
            layer.merged_adapters.append(name)
            layer.followed.add(name)
            continue
        done.add((weight, name))
        affine = layer.frozen.summable
        merged = method.merged(affine, layer.frozen)
        if safe and not all(torch.isfinite(part).all() for part in merged if part is not None):
            raise AdapterError(
                f"NaNs detected in the merged weights. The adapter {name} seems to be broken: it makes '{layer.frozen.name}' hold values that are not "
                "finite, and is not merged"
            )
        if merged.bias is not None and layer.frozen.bias is None:
            raise AdapterError(f"'{layer.frozen.name}' has no bias that the adapter's could be merged into; not merged")
        if keep and layer.weight_before is None:
            bias = layer.frozen.bias
            layer.weight_before = Affine(
                layer.frozen.kind.held(layer.frozen.module), None if bias is None else bias.data
            )
        _write(layer, merged, affine)
        layer.merged_adapters.append(name)


@torch.no_grad()
def unmerge(layer: AdaptedLayer, left: Sequence[str] = ()) -> None:
    """Take merged adapters out of a layer's weights, the last one first, until those that are `left`."""
    if layer.weight_before is not None and not left:
        layer.frozen.kind.put_back(layer.frozen.module, layer.weight_before.weight)
        if layer.weight_before.bias is not None and (bias := layer.frozen.bias) is not None:
            bias.data = layer.weight_before.bias
        layer.weight_before = None
        layer.merged_adapters.clear()
    while len(layer.merged_adapters) > len(left):
        name = layer.merged_adapters.pop()
        if name in layer.followed:
            layer.followed.remove(name)
            continue
        affine = layer.frozen.summable
        _write(layer, layer.adapters[name].unmerged(affine, layer.frozen), affine)


def _write(layer: AdaptedLayer, new: Affine, old: Affine) -> None:
    if new.weight is not old.weight:
        layer.frozen.kind.write(layer.frozen.module, new.weight)
    kept = layer.frozen.bias
    if new.bias is not None and kept is not None and new.bias is not old.bias:
        kept.data = new.bias.to(kept.dtype)


@torch.no_grad()
def replace(frozen: Frozen, weight: Tensor) -> None:
    """Let a layer of the base have another weight (out, in) from here on."""
    frozen.kind.write(frozen.module, weight)


def untie(model: nn.Module, layers: Sequence[AdaptedLayer], names: Sequence[str]) -> None:
    """Give layers whose weight another module shares one of their own, so that merging changes only them.

    Not where all that share it have adapters that follow the tie: merging changes the weight for all of them.
    """
    owners: Counter[int] = Counter(
        id(parameter) for module in model.modules() for parameter in module.parameters(recurse=False)
    )
    following = Counter(
        id(layer.frozen.kind.parameter(layer.frozen.module))
        for layer in layers
        if all(method.follows_ties for _, method in layer.methods(names))
    )
    repeated = within_repeated(model)
    for layer in layers:
        module = layer.frozen.module
        weight = layer.frozen.kind.parameter(module)
        if owners[id(weight)] > max(1, following[id(weight)]) and not layer.frozen.kind.quantised:
            for other in adapted_layers(model).values():
                if other.frozen.kind.parameter(other.frozen.module) is weight:
                    other.followed.clear()  # from here on each has its own
            name = next(name for name, own in module.named_parameters(recurse=False) if own is weight)
            setattr(module, name, nn.Parameter(weight.detach().clone(), requires_grad=weight.requires_grad))
            if id(module) not in repeated:
                mark_untied(model)


def mark_untied(model: nn.Module) -> None:
    """Let a model's config, and its text's, say that head and embedding are not tied: saving and loading would tie them again."""
    config: Any = getattr(model, "config", None)
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    for each in (config, text):
        if getattr(each, "tie_word_embeddings", False):
            each.tie_word_embeddings = False


def merge_all(model: nn.Module, names: Sequence[str] | None, *, safe: bool = False, keep: bool = False) -> None:
    """Merge adapters (None: each layer's active ones) into every layer that has them, or into none; tied weights are untied first."""
    wanted = {layer: layer.active if names is None else names for layer in adapted_layers(model).values()}
    layers = [layer for layer, names in wanted.items() if any(name in layer.adapters for name in names)]
    untie(model, layers, list(dict.fromkeys(name for layer in layers for name in wanted[layer])))
    before = [(layer, list(layer.merged_adapters)) for layer in layers]
    done: set[tuple[int, str]] = set()
    try:
        for layer in layers:
            merge(layer, wanted[layer], safe=safe, keep=keep, done=done)
    except BaseException:
        for layer, merged in before:
            unmerge(layer, merged)
        raise


def without_adapters(model: nn.Module) -> None:
    """Put each layer's base back in its place, as it stands."""
    for path, layer in reversed(list(adapted_layers(model).items())):  # inner ones first
        model.set_submodule(path, layer.base_layer)
