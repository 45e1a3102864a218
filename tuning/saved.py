"""Modules that are trained whole beside an adapter (`modules_to_save`): a copy for each adapter, the original kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from torch import nn

from tuning.errors import NoModule, TargetError, nearest
from tuning.layers import AdaptedLayer
from tuning.routing import Routing, by_rows


class SavedModule(nn.Module):
    """`original_module`, and a copy of it in `modules_to_save` for each adapter that trains it; the active one's is used.

    State-dict keys are PEFT's: `modules_to_save.default.weight`.
    """

    def __init__(self, original: nn.Module, routing: Routing) -> None:
        super().__init__()
        self.original_module = original
        self.modules_to_save = nn.ModuleDict()
        self.routing = routing
        self.own_active: tuple[str, ...] | None = None  # where this one alone was told whose copy to use

        self.own_enabled: bool | None = None

    @property
    def active(self) -> str:
        """Whose copy is used: the first's of the merged or else the active adapters that has one; "" for the original."""
        names = self.routing.merged or (self.routing.active if self.own_active is None else self.own_active)
        return next((name for name in names if name in self.modules_to_save), "")

    @property
    def active_adapters(self) -> list[str]:
        return [self.active] if self.active else list(self.routing.active)[:1]

    adapter_layer_names = ("modules_to_save",)  # what holds adapters' parameters, as PEFT says it
    other_param_names = ()

    @property
    def _adapters(self) -> set[str]:
        return set(self.modules_to_save)

    def adapter_state_dict_load_map(self, adapter: str) -> dict[str, str]:
        """A checkpoint's key -> the key here, of an adapter's copy."""
        return {key: f"modules_to_save.{adapter}.{key}" for key in self.modules_to_save[adapter].state_dict()}

    def enable_adapters(self, enabled: bool) -> None:
        """Use adapters' copies here alone, or the original."""
        self.own_enabled, self.routing.differing = enabled, True

    @property
    def active_adapter(self) -> list[str]:
        return self.active_adapters

    @property
    def disable_adapters(self) -> bool:
        return not (self.routing.enabled if self.own_enabled is None else self.own_enabled)

    def set_adapter(self, adapter_names: str | Sequence[str], inference_mode: bool = False) -> None:
        """Use this adapter's copy here alone, and train it unless `inference_mode`."""
        self.own_active = (adapter_names,) if isinstance(adapter_names, str) else tuple(adapter_names)
        self.routing.differing = True
        for name, copy in self.modules_to_save.items():
            copy.requires_grad_(name == self.active and not inference_mode)

    @property
    def current(self) -> nn.Module:
        return self.original_module if self.disable_adapters else self.copy_of(self.active)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self.disable_adapters or not self.routing.names:
            return self.current(*args, **kwargs)
        x, args = args[0], args[1:]
        return by_rows(self.routing, x, lambda name, part: self.copy_of(name)(part, *args, **kwargs))

    def copy_of(self, name: str) -> nn.Module:
        return self.modules_to_save[name] if name in self.modules_to_save else self.original_module  # noqa: SIM401

    def add(self, adapter: str) -> None:
        copy = deepcopy(self.original_module)
        copy.requires_grad_(True)
        self.modules_to_save[adapter] = copy

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name in ("original_module", "modules_to_save", "_modules"):
                raise
            return getattr(self.current, name)


def saved_modules(model: nn.Module) -> Mapping[str, SavedModule]:
    return {name: module for name, module in model.named_modules() if isinstance(module, SavedModule)}


def add_saved(model: nn.Module, adapter: str, wanted: Sequence[str], routing: Routing) -> None:
    """Give the adapter its own copy of every module whose path is or ends with a wanted name.

    Raises TargetError, and then nothing has changed.
    """
    found = {
        name: module
        for name, module in model.named_modules()
        if any(name == kept or name.endswith(f".{kept}") for kept in wanted)
    }
    for name, module in found.items():
        if isinstance(module, AdaptedLayer):
            raise TargetError(
                f"'{name}' is in modules_to_save, and an adapter sits on it. Leave it out of one of the two."
            )
        if isinstance(module, nn.ModuleDict | nn.ModuleList | nn.ParameterDict | nn.ParameterList):
            raise NoModule(
                f"modules_to_save cannot be applied to modules of type {type(module).__name__}, as '{name}' is, which compute nothing: name what is in it"
            )
    if not found:
        ends = {name.rsplit(".", 1)[-1] for name, _ in model.named_modules()}
        hints = "".join(nearest(name, ends) for name in wanted)
        raise TargetError(f"modules_to_save {list(wanted)} name no module{hints}")
    for name, module in found.items():
        if not isinstance(module, SavedModule):
            module = SavedModule(module, routing)
            model.set_submodule(name, module)
        module.add(adapter)


def tie_saved(model: nn.Module, adapter: str, embedding: str, heads: Sequence[str], routing: Routing) -> None:
    """Give tied heads copies of their own that have the weight of the adapter's copy of the embedding."""
    source = saved_modules(model).get(embedding)
    if source is None or adapter not in source.modules_to_save or not heads:
        return
    add_saved(model, adapter, heads, routing)
    for head in heads:
        copied: nn.Module = saved_modules(model)[head].modules_to_save[adapter]
        copied.weight = source.modules_to_save[adapter].get_parameter("weight")


def delete_saved(model: nn.Module, adapter: str) -> None:
    """Take an adapter's copies away; modules that no adapter trains any more are in their places again."""
    for path, module in saved_modules(model).items():
        if adapter in module.modules_to_save:
            del module.modules_to_save[adapter]
        if not module.modules_to_save:
            model.set_submodule(path, module.original_module)


def without_saved(model: nn.Module, names: Sequence[str]) -> None:
    """Put each module back in its place: the copy of the first of some adapters that has one, or else the original."""
    for path, module in saved_modules(model).items():
        name = next((name for name in names if name in module.modules_to_save), "")
        model.set_submodule(path, module.copy_of(name))
