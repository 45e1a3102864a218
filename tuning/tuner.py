"""Adapters of one model: put on, switched, taken off. What PEFT calls a tuner; it holds the model as `.model`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tuning.config import LayerConfig
from tuning.errors import AdapterError, check_adapters
from tuning.kinds import Frozen
from tuning.layers import NO_ADAPTER, AdaptedLayer, LayerMethod, Routing, adapted_layers
from tuning.merge import merge_all, take_residual, unmerge, without_adapters
from tuning.registry import LayerFamily, method_named
from tuning.saved import add_saved, delete_saved, saved_modules, tie_saved, without_saved
from tuning.targets import embedding_path, find, resolved, tied_paths


class Tuner(nn.Module):
    """The model with layers adapted in place, by any mix of methods.

    What all layers of an adapter have in common (VeRA's projections) is saved under its own names here: `vera_A.default`.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.peft_config: dict[str, LayerConfig] = {}
        self.shared = nn.ModuleDict()
        self.active_adapters: list[str] = []
        self.routing = Routing()
        self._look()
        self.register_state_dict_post_hook(_shared_with_names_of_peft)
        self.register_load_state_dict_pre_hook(_shared_with_own_names)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        out = self.model(*args, **kwargs)
        if getattr(out, "loss", None) is not None and (penalty := self.penalty()) is not None:
            out.loss = out.loss + penalty.to(out.loss)  # in the loss's precision, as in PEFT
        return out

    def penalty(self) -> Tensor | None:
        """What the active adapters add to a loss, or None where they add nothing."""
        found: Tensor | None = None
        for name in self.active_adapters:
            penalty = self.family(name).penalty
            if penalty is not None and (added := penalty(self.peft_config[name], self.methods(name))) is not None:
                found = added if found is None else found + added
        return found

    def learning(self) -> dict[str, Tensor]:
        """What the active adapters need to go on training, beside parameters and buffers."""
        return {
            f"{name}/{key}": tensor
            for name in self.active_adapters
            for key, tensor in self.family(name).learning(self._by_path(name)).items()
        }

    def go_on(self, learned: Mapping[str, Tensor]) -> None:
        """Give active adapters back what `learning` gave."""
        for name in self.active_adapters:
            own = {
                key.removeprefix(f"{name}/"): tensor for key, tensor in learned.items() if key.startswith(f"{name}/")
            }
            self.family(name).go_on(self.peft_config[name], self._by_path(name), own)

    def _by_path(self, name: str) -> dict[str, Any]:
        return {path: layer.adapters[name] for path, layer in self.layers(name).items()}

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name in ("model", "_modules"):
                raise
            return getattr(self.model, name)

    def family(self, name: str) -> LayerFamily:
        family = method_named(self.peft_config[name].METHOD)
        assert isinstance(family, LayerFamily)
        return family

    def _look(self) -> None:
        """Find what is ours in the model, once for all that goes over it: adapters are switched within a millisecond."""
        self._adapted = adapted_layers(self.model)
        self._saved = tuple(saved_modules(self.model).values())
        self._trained = {name: tuple(self._with_parameters(name)) for name in self.peft_config}

    def _with_parameters(self, name: str) -> Iterator[nn.Module]:
        """The modules of an adapter that hold parameters; these may be replaced by others (AdaLoRA's of another rank)."""
        for top in (*self.methods(name), *([self.shared[name]] if name in self.shared else ())):
            yield from (module for module in top.modules() if module._parameters)

    def layers(self, name: str) -> dict[str, AdaptedLayer]:
        """Path -> layer, of those that an adapter sits on."""
        return {path: layer for path, layer in self._adapted.items() if name in layer.adapters}

    def methods(self, name: str) -> list[Any]:
        return [layer.adapters[name] for layer in self.layers(name).values()]

    def add(self, name: str, config: LayerConfig, *, autocast: bool = True) -> None:
        """Put an adapter on the layers that its config means. Raises TargetError, ConfigError; then nothing has changed."""
        if name in self.peft_config:
            raise AdapterError(f"there is an adapter '{name}' already; delete it first, or take another name")
        family = method_named(config.METHOD)
        assert isinstance(family, LayerFamily)
        family.prepared(config, self.model)
        config.target_modules = resolved(self.model, config, family)
        found = find(self.model, config, family)
        shared = family.shared(config, found)
        made = {frozen: self._cast(family.layer(frozen, config, shared), frozen, autocast) for frozen in found}
        beside = family.beside(config, self.model, {frozen.name: method for frozen, method in made.items()})
        taken = {frozen.name for frozen, _ in beside}
        made = {frozen: method for frozen, method in made.items() if frozen.name not in taken}
        made |= {frozen: self._cast(method, frozen, autocast) for frozen, method in beside}
        if config.modules_to_save:
            add_saved(self.model, name, config.modules_to_save, self.routing)
            if getattr(config, "ensure_weight_tying", False) and (heads := tied_paths(self.model)):
                tie_saved(self.model, name, embedding_path(self.model), heads, self.routing)
        for frozen, method in made.items():
            layer = self._layer(frozen)
            layer.adapters[name] = method
            take_residual(layer, method)
        if shared is not None:
            self.shared[name] = shared
        self.peft_config[name] = config
        self._look()
        self.train_adapter(name, False)
        self.train_biases(config)

    def _cast(self, method: LayerMethod, frozen: Frozen, autocast: bool) -> LayerMethod:
        dtype = frozen.dtype
        if autocast and dtype in (torch.float16, torch.bfloat16):
            dtype = torch.float32
        return method.to(device=frozen.device, dtype=dtype)

    def _layer(self, frozen: Frozen) -> AdaptedLayer:
        there = self.model.get_submodule(frozen.name)
        if isinstance(there, AdaptedLayer):
            return there
        layer = AdaptedLayer(frozen.module, frozen.name, frozen.kind, self.routing)
        self.model.set_submodule(frozen.name, layer)
        return layer

    def freeze(self, name: str) -> None:
        """Nothing but an adapter, what is saved whole, and the biases that were asked for takes a gradient."""
        ours = {id(parameter) for method in self.methods(name) for parameter in method.parameters()}
        ours |= {id(parameter) for parameter in self.shared.parameters()}
        ours |= {id(parameter) for saved in self._saved for parameter in saved.modules_to_save.parameters()}
        for parameter in self.model.parameters():
            if id(parameter) not in ours:
                parameter.requires_grad_(False)
        self.train_biases(self.peft_config[name])

    def train_biases(self, config: LayerConfig) -> None:
        which = getattr(config, "bias", "none")
        if which == "none":
            return
        for path, module in self.model.named_modules():
            bias = getattr(module, "bias", None)
            inside = isinstance(module, AdaptedLayer)
            if isinstance(bias, nn.Parameter) and ((which == "all" and ".adapters." not in path) or inside):
                bias.requires_grad_(True)

    def delete(self, name: str) -> None:
        """Take an adapter off; layers that none is left on are the base's own again."""
        for path, layer in self.layers(name).items():
            if name in layer.merged:
                unmerge(layer)
            del layer.adapters[name]
            if not layer.adapters:
                self.model.set_submodule(path, layer.base_layer)
        delete_saved(self.model, name)
        if name in self.shared:
            del self.shared[name]
        del self.peft_config[name]
        self._look()
        left = [other for other in self.active_adapters if other != name] or list(self.peft_config)[:1]
        if left:
            self.activate(left)
        else:
            self.active_adapters, self.routing.active = [], ()

    def check_known(self, names: Iterable[str]) -> None:
        """Raises AdapterError where no adapter has a name."""
        check_adapters(names, self.peft_config)

    def activate(self, names: Sequence[str], *, trainable: bool = True) -> None:
        """Use these adapters, stacked in this order, and train them alone. Raises AdapterError."""
        self.check_known(names)
        self.active_adapters = list(names)
        self.routing.active = tuple(names)
        for layer in self._adapted.values():
            if layer.merged and set(layer.merged) != set(names):
                unmerge(layer)
        for name in self.peft_config:
            self.train_adapter(name, trainable and name in names)

    def train_adapter(self, name: str, trainable: bool) -> None:
        """Train an adapter, or don't, whichever is used; modules that it trains whole only where its copies are used."""
        self.check_known([name])
        for module in self._trained[name]:
            for parameter in module._parameters.values():
                if parameter is not None:
                    parameter.requires_grad = trainable
        for saved in self._saved:
            if name in saved.modules_to_save:
                saved.modules_to_save[name].requires_grad_(trainable and name == saved.active)

    @contextmanager
    def disabled(self) -> Generator[None]:
        """The base alone, inside the `with`; merged adapters are taken out for as long, and put back."""
        merged = self.merged()
        kept = any(layer.kept is not None for layer in self._adapted.values())
        self.unmerge()
        self.routing.enabled = False
        try:
            yield
        finally:
            self.routing.enabled = True
            if merged:
                self.merge(merged, keep=kept)

    def merged(self) -> list[str]:
        """The adapters that are in the base's weights, in the order of merging."""
        return list(dict.fromkeys(name for layer in self._adapted.values() for name in layer.merged))

    @contextmanager
    def by_rows(self, names: Sequence[str]) -> Generator[None]:
        """Inside the `with`, each row of a batch uses the adapter of that name, or none (NO_ADAPTER). Raises AdapterError."""
        self.check_known(sorted(set(names) - {NO_ADAPTER}))
        if self.merged():
            raise AdapterError("adapters are merged: unmerge them before rows use adapters of their own")
        if self.training and getattr(self.model, "is_gradient_checkpointing", False):
            raise AdapterError("adapter_names don't go with gradient checkpointing, which computes layers again later")
        self.routing.set(names)
        try:
            yield
        finally:
            self.routing.set(())

    def merge(self, names: Sequence[str] | None = None, *, safe: bool = False, keep: bool = False) -> None:
        """Merge adapters (the active ones) into the base's weights. Raises AdapterError; then nothing has changed."""
        if isinstance(names, str):
            raise AdapterError(f"adapter_names is {names!r}; it has to be a list of names")
        self.check_known(names or ())
        merge_all(self.model, self.active_adapters if names is None else names, safe=safe, keep=keep)

    def unmerge(self) -> None:
        for layer in self._adapted.values():
            unmerge(layer)

    def unloaded(self, *, current: bool) -> nn.Module:
        """The model with nothing of ours in it."""
        without_adapters(self.model)
        without_saved(self.model, current=current)
        return self.model

    def update_and_allocate(self, global_step: int) -> None:
        """After each optimiser's step: what the active adapters' methods do then (AdaLoRA's budget)."""
        for name in self.active_adapters:
            if (act := self.family(name).end_of_step) is not None:
                act(self.peft_config[name], self.layers(name), name, global_step)


def _renamed(state: dict[str, Tensor], change: Callable[[str], str | None]) -> None:
    for key in list(state):
        if (new := change(key)) is not None:
            state[new] = state.pop(key)


def _shared_with_names_of_peft(module: nn.Module, state: dict[str, Tensor], prefix: str, _: object) -> None:
    start = f"{prefix}shared."

    def change(key: str) -> str | None:
        if not key.startswith(start):
            return None
        adapter, _, name = key.removeprefix(start).partition(".")
        return f"{prefix}{name}.{adapter}"

    _renamed(state, change)


def _shared_with_own_names(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    assert isinstance(module, Tuner)
    own = {
        f"{prefix}{name}.{adapter}": f"{prefix}shared.{adapter}.{name}"
        for adapter, shared in module.shared.items()
        for name in shared.state_dict()
    }
    _renamed(state, own.get)
