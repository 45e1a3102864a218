"""Methods that take part in each call of a model, beside its layers: what comes in and goes out passes through them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from tuning.inputs import by_name
from tuning.registry import LayerFamily
from tuning.switching import Switching


class SeenCalls(Switching):
    """A model whose calls methods see (`LayerFamily.sees_calls`), by hooks that are there while such an adapter is."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self._hooks = self.routing.hooks

    @property
    def is_seen(self) -> bool:
        """Whether an adapter's method sees the calls: then a part of the model can't be called alone."""
        return bool(self._hooks)

    def see_calls(self, wanted: bool) -> None:
        """Put the hooks on the model where an adapter needs them; take them off where none does, or they are not `wanted`."""
        wanted = wanted and any(self.family(name).sees_calls for name in self.peft_config)
        if wanted and not self._hooks:
            before = self.model.register_forward_pre_hook(self._before, with_kwargs=True)
            self._hooks += [before, self.model.register_forward_hook(self._after, with_kwargs=True)]
        while self._hooks and not wanted:
            self._hooks.pop().remove()

    def _used(self) -> Iterator[tuple[LayerFamily, dict[str, Any]]]:
        """The methods that see this call, with what their adapters' layers share."""
        found: dict[str, dict[str, Any]] = {}
        for name in dict.fromkeys(self.routing.names or self.routing.active):
            if self.routing.enabled and name in self.in_common and self.family(name).sees_calls:
                found.setdefault(self.peft_config[name].METHOD, {})[name] = self.in_common[name]
        for used in found.values():
            yield self.family(next(iter(used))), used

    def _before(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for family, used in self._used():
            args, kwargs = (), family.before_call(model, used, by_name(model.forward, args, kwargs))
        return args, kwargs

    def _after(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        for family, used in self._used():
            output = family.after_call(model, used, by_name(model.forward, args, kwargs), output)
        return output
