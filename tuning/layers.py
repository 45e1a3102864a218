"""A layer of the base with the adapters that sit on it: stacked, switched, disabled, routed by row. Exists once, for all
methods and all kinds of layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from tuning.errors import AdapterError
from tuning.kind_of import kind_of
from tuning.kinds import BLOCK, DECODER, Affine, Block, Decoder, Frozen, Kind, ParameterKind
from tuning.layer_method import Layer, LayerMethod
from tuning.placement import BufferDict
from tuning.routing import Routing, by_rows


class AdaptedLayer(nn.Module):
    """`base_layer` and the adapters that sit on it, by name. Their parameters lie here, as in PEFT: `lora_A["default"].weight`."""

    weight_before: Affine | None = None  # the base's weights before merging, where asked to keep them
    own_active: tuple[str, ...] | None = None  # where this layer alone was told which adapters to use, or
    own_enabled: bool | None = None  # whether to

    def __init__(self, base_layer: nn.Module, name: str, kind: Kind, routing: Routing) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.adapters: dict[str, LayerMethod] = {}
        self.frozen = Frozen(name=name, module=innermost(base_layer), kind=kind)
        self.merged_adapters: list[str] = []
        self.followed: set[str] = set()  # those of them that are in the weight because a layer that shares it has them
        self.routing = routing
        self.training = base_layer.training

    def forward(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        if "hidden_states" in kwargs and self.frozen.role in (BLOCK, DECODER):
            x = kwargs.pop("hidden_states")  # as models give it to their attention and blocks
        base: Layer = partial(_called, self.base_layer, args, kwargs) if args or kwargs else self.base_layer
        if self.disable_adapters or self.merged_adapters:
            return base(x)
        if self.frozen.kind.by_weight:
            return self._by_weight(x, *args, **kwargs)
        if self.frozen.role == BLOCK:
            return self._of_block(x, *base(x), **kwargs)
        if self.routing.names:
            return self._routed_inputs(base, x) if self.frozen.role == DECODER else self._routed(base, x)
        frozen, below = self.frozen, None
        for _, method in self.methods(self.active):  # the first is the innermost, as in merging
            frozen = frozen if below is None else frozen.under(below.merged)
            base, below = partial(method, base, frozen=frozen), method
        return base(x)

    def _of_block(self, x: Tensor, output: Tensor, *rest: Any, **kwargs: Any) -> tuple[Any, ...]:
        """A block's output (rows, tokens, dimensions) with what adapters add to it, and the rest of what it gives."""
        frozen, before = replace(self.frozen, given=kwargs), output
        for name, rows in self.routing.rows(len(x)).items() if self.routing.names else ():
            if name in self.adapters:
                changed = self.adapters[name](partial(_given, before), x, frozen=frozen)
                output = output.index_copy(0, torch.tensor(rows, device=x.device), changed[rows])
        for _, method in self.methods(() if self.routing.names else self.active):
            output = method(partial(_given, output), x, frozen=frozen)
        return output, *rest

    def _by_weight(self, *args: Any, **kwargs: Any) -> Any:
        """The base's forward with the active adapters in its weights, for this call."""
        if self.routing.names:
            raise AdapterError(
                f"{self._get_name()} does not support mixed adapter batches yet: '{self.frozen.name}' is used by its weight"
            )
        return functional_call(self.base_layer, self.weights_now(), args, kwargs)

    def weights_now(self, start: str = "") -> dict[str, Tensor]:
        """Path below `start` -> the weight or bias with the active adapters in it."""
        before = affine = self.frozen.affine
        inside = isinstance(self.base_layer, nn.MultiheadAttention) and self.base_layer.out_proj
        found = inside.weights_now("out_proj.base_layer.") if isinstance(inside, AdaptedLayer) else {}
        if self.disable_adapters or self.merged_adapters:
            return found
        for _, method in self.methods(self.active):
            affine = method.merged(affine, self.frozen)
        if affine.weight is before.weight:
            return found
        weight, kept, name = affine.weight, self.frozen.kind.parameter(self.frozen.module), "weight"
        if self.frozen.kind.by_weight:
            path = start + "base_layer." * self.depth
            name = next(name for name in self.frozen.module._parameters if getattr(self.frozen.module, name) is kept)
        else:
            path = start
        found[path + name] = weight.reshape(kept.shape).to(kept.dtype)
        if affine.bias is not None and affine.bias is not before.bias and path == start and start:
            found[f"{path}bias"] = affine.bias
        return found

    @property
    def depth(self) -> int:
        """How many adapted layers are between this one and its module: several parameters of a module can each have adapters."""
        inner, depth = self.base_layer, 0
        while isinstance(inner, AdaptedLayer):
            inner, depth = inner.base_layer, depth + 1
        return depth

    def _routed(self, base: Layer, x: Tensor) -> Tensor:
        """Each row through its own adapter. Adapters that this layer lacks, and NO_ADAPTER, leave it as it is."""

        def through(name: str, part: Tensor) -> Tensor:
            return self.adapters[name](base, part, frozen=self.frozen) if name in self.adapters else base(part)

        return by_rows(self.routing, x, through)

    def _routed_inputs(self, base: Layer, x: Tensor) -> Tensor:
        """All rows through the block at once, what it is given changed for each row by its own adapter."""
        for name, rows in self.routing.rows(len(x)).items():
            if name in self.adapters:
                base = partial(self.adapters[name], base, frozen=replace(self.frozen, given={"rows": rows}))
        return base(x)

    def methods(self, names: Sequence[str] | None = None) -> Iterator[tuple[str, LayerMethod]]:
        """(name, method) of the adapters that sit here, in the order of `names` where given."""
        for name in self.adapters if names is None else names:
            if name in self.adapters:
                yield name, self.adapters[name]

    def put(self, name: str, method: LayerMethod) -> None:
        """Let an adapter sit here."""
        method.place(self, name)
        self.adapters[name] = method

    def take(self, name: str) -> None:
        """Take an adapter off."""
        self.adapters.pop(name).leave()

    @property
    def active(self) -> tuple[str, ...]:
        return self.routing.active if self.own_active is None else self.own_active

    # PEFT's names

    @property
    def merged(self) -> bool:
        return bool(self.merged_adapters)

    @property
    def active_adapters(self) -> list[str]:
        """Those that are used; where rows of tokens are trained beside LoRA, those alone that sit here, as in PEFT."""
        return [name for name in self.active if "token_adapter" not in self._modules or name in self.adapters]

    @property
    def active_adapter(self) -> list[str]:
        return list(self.active)

    @property
    def disable_adapters(self) -> bool:
        return not (self.routing.enabled if self.own_enabled is None else self.own_enabled)

    @property
    def in_features(self) -> int:
        module = innermost(self)
        return getattr(module, "in_channels", None) or self.frozen.shape[1]

    @property
    def out_features(self) -> int:
        return self.frozen.shape[0]

    @property
    def adapter_layer_names(self) -> tuple[str, ...]:
        """The dicts of this layer that hold adapters' parameters and modules."""
        return tuple(
            name for name, module in self.named_children() if isinstance(module, nn.ModuleDict | nn.ParameterDict)
        )

    @property
    def other_param_names(self) -> tuple[str, ...]:
        """Its dicts of adapters' other values: buffers and numbers."""
        buffers = tuple(name for name, module in self.named_children() if isinstance(module, BufferDict))
        return buffers + tuple(
            name
            for name, value in self.__dict__.items()
            if isinstance(value, dict) and name[0] != "_" and name != "adapters"
        )

    def _all_available_adapter_names(self) -> list[str]:
        return sorted(self.adapters)

    def _get_available_adapters(self) -> set[str]:
        return set(self.adapters)

    def _get_name(self) -> str:
        """As PEFT's layers print: `lora.Linear`."""
        config = next((self.routing.configs[name] for name in self.adapters if name in self.routing.configs), None)
        base = "ParamWrapper" if isinstance(self.frozen.kind, ParameterKind) else type(innermost(self)).__name__
        return (
            f"{config.METHOD.lower()}.{'Linear' if base == 'Conv1D' else base}"
            if config is not None
            else type(self).__name__
        )

    def extra_repr(self) -> str:
        kind = self.frozen.kind
        return f"parameter_name='{kind.name}'" if isinstance(kind, ParameterKind) else ""

    def get_base_layer(self) -> nn.Module:
        return innermost(self)

    def set_adapter(self, adapter_names: str | Sequence[str], inference_mode: bool = False) -> None:
        """Use these adapters in this layer alone, and train them unless `inference_mode`."""
        names = [adapter_names] if isinstance(adapter_names, str) else list(adapter_names)
        self.own_active, self.routing.differing = tuple(names), True
        for name, method in self.methods():
            method.requires_grad_(name in names and not inference_mode)

    def enable_adapters(self, enabled: bool) -> None:
        """Use adapters in this layer alone, or don't."""
        self.own_enabled, self.routing.differing = enabled, True
        for name, method in self.methods():
            method.requires_grad_(enabled and name in self.active)

    def delete_adapter(self, adapter_name: str) -> None:
        if adapter_name in self.adapters:
            self.take(adapter_name)

    def get_delta_weight(self, adapter: str) -> Tensor:
        """What an adapter changes in the weight, of its shape as the layer keeps it; of DoRA what B A adds, as in PEFT.

        Raises AdapterError where the adapter is merged and its change depends on the weight.
        """
        kind, change = self.frozen.kind, self.adapters[adapter].delta(self.frozen)
        change = change.T if kind.transposed else change
        return change if kind.quantised else change.reshape(kind.parameter(self.frozen.module).shape)

    def scale_layer(self, scale: float) -> None:
        """Make the active adapters' changes so much larger."""
        for _, method in self.methods(self.active):
            if hasattr(method, "scaling"):
                setattr(method, "scaling", getattr(method, "scaling") * scale)  # noqa: B010, B009

    @property
    def weight(self) -> Tensor:
        """The base's, as it stands: some models look at their layers' weights."""
        return self.base_layer.weight  # pyright: ignore[reportReturnType]

    @property
    def bias(self) -> Tensor | None:
        return self.frozen.bias

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name in ("base_layer", "_modules", "frozen"):
                raise
            if name == "parameter_name" and isinstance(self.frozen.kind, ParameterKind):  # PEFT's name for it
                return self.frozen.kind.name
            if (
                name == "original_module" and "token_adapter" in self._modules
            ):  # PEFT's name, where it has trained tokens
                return self.base_layer
            return getattr(self.base_layer, name)  # in_features, num_embeddings, …

    def __getstate__(self) -> dict[str, Any]:
        kind = self.frozen.kind if isinstance(self.frozen.kind, ParameterKind | Block | Decoder) else None
        kept = {key: value for key, value in self.__dict__.items() if key != "frozen"}
        return kept | {"path": self.frozen.name, "kind": kind}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        path, kind = state.pop("path"), state.pop("kind")
        super().__setstate__(state)
        module = innermost(self.base_layer)
        kind = kind or kind_of(module)
        assert kind is not None
        self.frozen = Frozen(name=path, module=module, kind=kind)


def _called(layer: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], x: Tensor) -> Any:
    return layer(x, *args, **kwargs)


def _given(output: Tensor, _: Tensor) -> Tensor:
    return output


def innermost(module: nn.Module) -> nn.Module:
    """The base's own module, below all that is ours."""
    while isinstance(module, AdaptedLayer):
        module = module.base_layer
    return module


def adapted_layers(model: nn.Module) -> Mapping[str, AdaptedLayer]:
    """Path -> layer, of all layers of a model that adapters sit on."""
    return {name: module for name, module in model.named_modules() if isinstance(module, AdaptedLayer)}
