"""Modules that are trained whole beside an adapter (`modules_to_save`): a copy for each adapter, the original kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from torch import Tensor, nn

from tuning.errors import TargetError, nearest
from tuning.layers import AdaptedLayer, Routing, by_rows


class SavedModule(nn.Module):
    """`original_module`, and a copy of it in `modules_to_save` for each adapter that trains it; the active one's is used.

    State-dict keys are PEFT's: `modules_to_save.default.weight`.
    """

    def __init__(self, original: nn.Module, routing: Routing) -> None:
        super().__init__()
        self.original_module = original
        self.modules_to_save = nn.ModuleDict()
        self.routing = routing

    @property
    def active(self) -> str:
        """Whose copy is used: the first's of the active adapters that has one; "" for the original."""
        return next((name for name in self.routing.active if name in self.modules_to_save), "")

    @property
    def current(self) -> nn.Module:
        return self._of(self.active) if self.routing.enabled else self.original_module

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        if not self.routing.names:
            return self.current(x, *args, **kwargs)
        return by_rows(self.routing, x, lambda name, part: self._of(name)(part, *args, **kwargs))

    def _of(self, name: str) -> nn.Module:
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


def without_saved(model: nn.Module, *, current: bool) -> None:
    """Put each module back in its place: the active adapter's copy (`current`), or the original."""
    for path, module in saved_modules(model).items():
        model.set_submodule(path, module.current if current else module.original_module)
