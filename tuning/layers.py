"""A layer of the base with the adapters that sit on it: stacked, switched, disabled, routed by row. Exists once, for all
methods and all kinds of layer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tuning.kinds import Affine, Frozen, Kind

Layer = Callable[[Tensor], Tensor]


class LayerMethod(nn.Module, ABC):
    """One adapter on one layer. Its parameters have PEFT's names, without the adapter's.

    A subclass is made as `Method(frozen, config, shared)`: the layer it sits on, what was asked, and what all layers of this
    adapter have in common (see `tuning.registry`). It must be the identity at its start unless its config says otherwise.
    """

    # (out, in): what the base's weight is to become at the start, where a part of it moved into the adapter
    residual: Tensor | None = None
    tied = False  # whether its parameters are those of the same adapter on another layer, whose weight this layer's is
    saved = True  # whether a checkpoint has its parameters
    follows_ties = False  # whether merging it changes layers that share a weight alike

    @abstractmethod
    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        """The layer's output for x (…, in) (an embedding: token ids); `base` is the layer below, adapters and all."""

    @abstractmethod
    def merged(self, affine: Affine, frozen: Frozen) -> Affine:
        """The layer with this adapter in it: what `forward` computes, as weights."""

    @abstractmethod
    def unmerged(self, affine: Affine, frozen: Frozen) -> Affine:
        """The inverse of `merged`."""


class Additive(LayerMethod):
    """A method that adds `change()` to its layer's weight, and nothing to its bias."""

    @abstractmethod
    def change(self) -> Tensor:
        """Of the weight's shape."""

    def merged(self, affine: Affine, frozen: Frozen) -> Affine:
        return affine._replace(weight=affine.weight + self.change().to(affine.weight))

    def unmerged(self, affine: Affine, frozen: Frozen) -> Affine:
        return affine._replace(weight=affine.weight - self.change().to(affine.weight))


@dataclass(kw_only=True)
class Routing:
    """Which adapters are used. One for a whole model, so that switching them touches no layer."""

    active: tuple[str, ...] = ()  # stacked in this order
    enabled: bool = True
    names: Sequence[str] = ()  # which each row of the batch uses; empty: all rows use the active ones
    offsets: dict[str, list[int]] = field(default_factory=dict)

    def set(self, names: Sequence[str]) -> None:
        self.names = names
        self.offsets = {}
        for row, name in enumerate(names):
            self.offsets.setdefault(name, []).append(row)


def by_rows(routing: Routing, x: Tensor, through: Callable[[str, Tensor], Tensor]) -> Tensor:
    """Each adapter's rows of x (rows, …) through it, back in their order."""
    parts = [(rows, through(name, x[rows])) for name, rows in routing.offsets.items()]
    out = parts[0][1].new_empty((len(x), *parts[0][1].shape[1:]))
    for rows, part in parts:
        out[rows] = part
    return out


NO_ADAPTER = "__base__"  # PEFT's name for rows that use none


class AdaptedLayer(nn.Module):
    """`base_layer` and the `adapters` that sit on it, by name.

    In its state dict an adapter's parameter has PEFT's name: `lora_A.default.weight`, not `adapters.default.lora_A.weight`.
    """

    def __init__(self, base_layer: nn.Module, name: str, kind: Kind, routing: Routing) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.adapters = nn.ModuleDict()
        self.frozen = Frozen(name=name, module=base_layer, kind=kind)
        self.merged: list[str] = []
        self.followed: set[str] = set()  # those of them that are in the weight because a layer that shares it has them
        self.kept: Affine | None = None  # the base's weights before merging, where asked to keep them
        self.routing = routing
        self.register_state_dict_post_hook(_with_names_of_peft)
        self.register_load_state_dict_pre_hook(_with_own_names)
        self.train(base_layer.training)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        base: Layer = partial(self.base_layer, **kwargs) if kwargs else self.base_layer
        if not self.routing.enabled or self.merged:
            return base(x, *args)
        if self.routing.names:
            return self._routed(base, x)
        frozen, below = self.frozen, None
        for _, method in self.methods(self.routing.active):  # the first is the innermost, as in merging
            frozen = frozen if below is None else frozen.under(below.merged)
            base, below = partial(method, base, frozen=frozen), method
        return base(x)

    def _routed(self, base: Layer, x: Tensor) -> Tensor:
        """Each row through its own adapter. Adapters that this layer lacks, and NO_ADAPTER, leave it as it is."""

        def through(name: str, part: Tensor) -> Tensor:
            return self.adapters[name](base, part, frozen=self.frozen) if name in self.adapters else base(part)

        return by_rows(self.routing, x, through)

    def methods(self, names: Sequence[str] | None = None) -> Iterator[tuple[str, LayerMethod]]:
        """(name, method) of the adapters that sit here, in the order of `names` where given."""
        for name in self.adapters if names is None else names:
            if name in self.adapters:
                method = self.adapters[name]
                assert isinstance(method, LayerMethod)
                yield name, method

    @property
    def weight(self) -> Tensor:
        """The base's, as it stands: some models look at their layers' weights."""
        return self.base_layer.get_parameter("weight")

    @property
    def bias(self) -> Tensor | None:
        return self.frozen.bias

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name in ("base_layer", "_modules"):
                raise
            return getattr(self.base_layer, name)  # in_features, num_embeddings, …

    def __deepcopy__(self, memo: dict[int, Any]) -> AdaptedLayer:
        from copy import deepcopy

        new = self.__class__.__new__(self.__class__)
        memo[id(self)] = new
        new.__dict__ = deepcopy({key: value for key, value in self.__dict__.items() if key != "frozen"}, memo)
        new.frozen = Frozen(name=self.frozen.name, module=new.base_layer, kind=self.frozen.kind)
        return new


def peft_name(name: str, adapter: str) -> str:
    """`lora_A.weight` of the adapter `default` -> `lora_A.default.weight`."""
    if name.startswith("token_adapter."):
        return f"{name}.{adapter}"
    first, dot, rest = name.partition(".")
    return f"{first}.{adapter}{dot}{rest}"


def _with_names_of_peft(module: nn.Module, state: dict[str, Tensor], prefix: str, _: object) -> None:
    start = f"{prefix}adapters."
    for key in [key for key in state if key.startswith(start)]:
        adapter, _, name = key.removeprefix(start).partition(".")
        state[prefix + peft_name(name, adapter)] = state.pop(key)


def _with_own_names(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    assert isinstance(module, AdaptedLayer)
    for adapter, method in module.methods():
        for name in method.state_dict():
            if (value := state.pop(prefix + peft_name(name, adapter), None)) is not None:
                state[f"{prefix}adapters.{adapter}.{name}"] = value


def adapted_layers(model: nn.Module) -> Mapping[str, AdaptedLayer]:
    """Path -> layer, of all layers of a model that adapters sit on."""
    return {name: module for name, module in model.named_modules() if isinstance(module, AdaptedLayer)}


def as_computed(x: Tensor, dtype: torch.dtype) -> Tensor:
    """x in the precision that an adapter computes in, unless autocast decides that."""
    return x if x.dtype == dtype or torch.is_autocast_enabled(x.device.type) else x.to(dtype)
