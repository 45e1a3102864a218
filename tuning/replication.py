"""A model with some of its layers repeated: LoRA's `layer_replication`. Repeated layers share the base's weights until they are merged."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from torch import nn

from tuning.errors import ConfigError
from tuning.layers import adapted_layers

Spans = Sequence[tuple[int, int]]


class Replicated(nn.ModuleList):
    """The layers that a model has now. `before`: its own, whose weights they have, and what its config said of them; parts of the list have none."""

    spans: Spans = ()
    before: tuple[nn.ModuleList, dict[str, Any]] | None = None


def replicate(model: nn.Module, spans: Spans) -> None:
    """Let a model have, instead of its layers, those from `start` to before `end` of each span. Raises ConfigError; then nothing has changed."""
    part, name = _layers(model)
    there: nn.ModuleList = getattr(part, name)
    if isinstance(there, Replicated):
        if list(map(tuple, there.spans)) != list(map(tuple, spans)):
            raise ConfigError(f"layer_replication is {spans}, and another adapter's is {there.spans}: a model has one")
        return
    if adapted_layers(model):
        raise ConfigError(
            "layer_replication changes the model's layers, and adapters sit on it: add this adapter first"
        )
    if not spans or not all(len(span) == 2 and 0 <= span[0] < span[1] <= len(there) for span in spans):
        raise ConfigError(f"layer_replication is {spans}; it has to be spans (start, end) of the {len(there)} layers")
    order = [number for start, end in spans for number in range(start, end)]
    config = part.config
    said = {key: getattr(config, key) for key in ("num_hidden_layers", "layer_types") if getattr(config, key, None)}
    layers = Replicated(_twin(there[number], place) for place, number in enumerate(order))
    layers.spans, layers.before = spans, (there, said)
    setattr(part, name, layers)
    if "num_hidden_layers" in said:
        config.num_hidden_layers = len(order)
    if "layer_types" in said:
        config.layer_types = [said["layer_types"][number] for number in order]


def restore(model: nn.Module) -> None:
    """Give a model its own layers back, as they were, where it has repeated ones."""
    if (found := _replicated(model)) is not None:
        part, name, layers = found
        assert layers.before is not None
        own, said = layers.before
        setattr(part, name, own)
        for key, value in said.items():
            setattr(part.config, key, value)


def part_layers(model: nn.Module) -> None:
    """Give repeated layers weights of their own, so that the model can be saved."""
    if (found := _replicated(model)) is None:
        return
    part, name, layers = found
    seen: set[int] = set()
    for module in layers.modules():
        for own, parameter in list(module.named_parameters(recurse=False)):
            if id(parameter) in seen:
                setattr(module, own, nn.Parameter(parameter.detach().clone(), parameter.requires_grad))
            seen.add(id(parameter))
    setattr(part, name, nn.ModuleList(layers))


def within_repeated(model: nn.Module) -> set[int]:
    """The ids of all modules inside of repeated layers."""
    found = _replicated(model)
    return set() if found is None else {id(module) for module in found[2].modules()}


def _layers(model: Any) -> tuple[Any, str]:
    """The part of a model that holds its layers, and their name in it. Raises ConfigError."""
    part = model
    while inner := next(
        (getattr(part, name) for name in ("model", "transformer", "bert") if hasattr(part, name)), None
    ):
        part = inner
    for holder, name in ((part, "layers"), (getattr(part, "encoder", None), "layer"), (part, "h")):
        if isinstance(getattr(holder, name, None), nn.ModuleList) and hasattr(holder, "config"):
            return holder, name
    raise ConfigError(
        f"Could not locate the layers attribute in the model: {type(model).__name__} has no `layers`, `encoder.layer` or `h`, which "
        "layer_replication needs"
    )


def _replicated(model: nn.Module) -> tuple[Any, str, Replicated] | None:
    for part in model.modules():
        for name, child in part.named_children():
            if isinstance(child, Replicated) and child.before is not None:
                return part, name, child
    return None


def _twin(layer: nn.Module, place: int) -> nn.Module:
    """A layer with another's weights, at a place of its own in caches of keys and values."""
    kept: dict[int, Any] = {id(tensor): tensor for tensor in (*layer.parameters(), *layer.buffers())}
    twin = copy.deepcopy(layer, kept)
    for module in twin.modules():
        if hasattr(module, "layer_idx"):
            setattr(module, "layer_idx", place)  # noqa: B010
    return twin
