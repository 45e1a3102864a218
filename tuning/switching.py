"""Which adapters of a model are used, trained, and merged into its weights."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from typing import Any

from torch import Tensor, nn

from tuning.errors import AdapterError, check_adapters
from tuning.fast_path import no_fast_path
from tuning.kinds import ParameterKind
from tuning.layers import AdaptedLayer
from tuning.merge import merge_all, unmerge
from tuning.placement import Placed
from tuning.registry import LayerFamily, method_named
from tuning.routing import NO_ADAPTER, Routing
from tuning.saved import SavedModule
from tuning.tied import tied_layers

Place = tuple[dict[str, Any], str]  # a dict that holds a parameter, and its key there


class Switching(nn.Module):
    """A model with adapted layers, as far as no adapter comes or goes. `in_common`: what all layers of an adapter have in common."""

    _looked = 0  # `routing.looks`, when what is ours was last found

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.routing = _routing_in(model) or Routing()
        self.in_common: dict[str, Placed] = self.routing.in_common
        self.look()

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name in ("model", "_modules", "routing"):
                raise
            return getattr(self.model, name)

    # what is there

    @property
    def peft_config(self) -> dict[str, Any]:
        return self.routing.configs

    @property
    def active_adapters(self) -> list[str]:
        return list(self.routing.active)

    @property
    def active_adapter(self) -> list[str]:
        return list(self.routing.active)

    @property
    def targeted_module_names(self) -> list[str]:
        """In the order in which they were adapted."""
        layers = {layer.frozen.name: layer for name in self.peft_config for layer in self.layers_of(name).values()}
        return [path for path, layer in layers.items() if not isinstance(layer.frozen.kind, ParameterKind)]

    @property
    def targeted_parameter_names(self) -> list[str]:
        return [layer.frozen.name for layer in self._adapted.values() if isinstance(layer.frozen.kind, ParameterKind)]

    @staticmethod
    def get_model_config(model: nn.Module) -> dict[str, Any]:
        """A model's config as a dict."""
        config: Any = getattr(model, "config", {"model_type": "custom"})
        if hasattr(config, "to_dict"):
            return config.to_dict()
        found: Any = asdict(config) if is_dataclass(config) and not isinstance(config, type) else config
        return found

    def family(self, name: str) -> LayerFamily:
        family = method_named(self.peft_config[name].METHOD)
        assert isinstance(family, LayerFamily)
        return family

    def check_known(self, names: Iterable[str]) -> None:
        """Raises AdapterError where no adapter has a name."""
        check_adapters(names, self.peft_config)

    def layers_of(self, name: str) -> dict[str, AdaptedLayer]:
        """Path -> layer, of those that an adapter sits on."""
        return {path: layer for path, layer in self._adapted.items() if name in layer.adapters}

    def methods(self, name: str) -> list[Any]:
        return [layer.adapters[name] for layer in self.layers_of(name).values()]

    def buffers_of_adapters(self) -> Iterator[Tensor]:
        for name in self.peft_config:
            for top in (*self.methods(name), *([self.in_common[name]] if name in self.in_common else ())):
                yield from top.buffers()
        for saved in self._saved:
            yield from saved.modules_to_save.buffers()

    def _warn_of_differing_layers(self) -> None:
        """Disabling is for all layers, so that it is not known afterwards which were disabled before."""
        states = {layer.disable_adapters for layer in self._adapted.values()}
        if len(states) > 1:
            warnings.warn(
                "some layers' adapters are enabled and others are disabled: after disable_adapter they are enabled on all layers", stacklevel=6,
            )  # fmt: skip
        for module in (*self._adapted.values(), *self._saved):
            module.own_enabled = None

    def _parameters_of_adapters(self) -> Iterator[nn.Parameter]:
        for held, key in (place for places in self._trained.values() for place in places):
            yield held[key]
        for saved in self._saved:
            yield from saved.modules_to_save.parameters()

    def look(self) -> None:
        """Find what is ours in the model: adapters came or went."""
        self.routing.looks += 1
        self.routing.changes += 1
        self._ours()

    def _ours(self) -> tuple[dict[str, AdaptedLayer], tuple[SavedModule, ...], dict[str, tuple[Place, ...]]]:
        """Adapted layers, modules that are trained whole, and each adapter's parameters. Found once for all that goes over them, since
        adapters are switched within a millisecond; and again where another tuner of the model put adapters on or took them off.
        """
        if self._looked != self.routing.looks:
            self._looked = self.routing.looks
            modules = dict(self.model.named_modules())
            no_fast_path(modules.values())
            layers = {path: module for path, module in modules.items() if isinstance(module, AdaptedLayer)}
            wholes = tuple(module for module in modules.values() if isinstance(module, SavedModule))
            self._found = layers, wholes, {}
            self._found[2].update((name, tuple(self._with_parameters(name))) for name in self.peft_config)
        return self._found

    @property
    def _adapted(self) -> dict[str, AdaptedLayer]:
        return self._ours()[0]

    @property
    def _saved(self) -> tuple[SavedModule, ...]:
        return self._ours()[1]

    @property
    def _trained(self) -> dict[str, tuple[Place, ...]]:
        return self._ours()[2]

    def _with_parameters(self, name: str) -> Iterator[Place]:
        """The dicts that hold an adapter's parameters, and where: the parameters may be replaced (AdaLoRA's of another rank)."""
        for top in (*self.methods(name), *([self.in_common[name]] if name in self.in_common else ())):
            for path, module in top.named_modules():
                if any(path == still or path.startswith(f"{still}.") for still in top.still):
                    continue
                if isinstance(module, Placed):
                    yield from module.held_in()
                else:
                    yield from (
                        (module._parameters, key) for key, held in module._parameters.items() if held is not None
                    )

    def _get_module_names_tied_with_embedding(self) -> list[str]:
        """PEFT's name for it: some libraries ask."""
        return sorted(tied_layers(self.model))

    # used, trained

    def set_requires_grad(self, adapter_names: str | Sequence[str], requires_grad: bool = True) -> None:
        """Train adapters, or don't, whichever is used."""
        names = [adapter_names] if isinstance(adapter_names, str) else adapter_names
        self.check_known(names)
        for name in names:
            for held, key in self._trained[name]:
                held[key].requires_grad = requires_grad
            for saved in self._saved:
                if name in saved.modules_to_save:
                    saved.modules_to_save[name].requires_grad_(requires_grad)

    def set_adapter(self, adapter_name: str | Sequence[str], inference_mode: bool = False) -> None:
        """Use this adapter, or several stacked in this order, and train them alone unless `inference_mode`. Raises AdapterError."""
        names = [adapter_name] if isinstance(adapter_name, str) else list(adapter_name)
        self.check_known(names)
        for saved in self._saved:
            if len([name for name in names if name in saved.modules_to_save]) > 1:
                raise AdapterError(
                    f"{', '.join(names)} each train a module whole (modules_to_save), of which one is used at a time: set one of them"
                )
        for layer in self._adapted.values():
            if layer.merged_adapters and set(layer.merged_adapters) != set(names):
                warnings.warn(
                    "other adapters are merged than those that are to be used: they are unmerged first", stacklevel=3
                )
                self.unmerge_adapter()
                break
        self.routing.active = tuple(names)
        self.routing.changes += 1
        if self.routing.differing:
            for module in (*self._adapted.values(), *self._saved):
                module.own_active = None
        for name in self.peft_config:
            self.set_requires_grad(name, not inference_mode and name in names)

    def enable_adapter_layers(self) -> None:
        self._enable(True)

    def disable_adapter_layers(self) -> None:
        """The base alone, until they are enabled."""
        self.unmerge_adapter()
        self._enable(False)

    def _enable(self, enabled: bool) -> None:
        self.routing.enabled = enabled
        if self.routing.differing:
            for module in (*self._adapted.values(), *self._saved):
                module.own_enabled = None
        for name in self.routing.active:
            self.set_requires_grad(name, enabled)

    @contextmanager
    def disabled(self) -> Generator[None]:
        """The base alone, inside the `with`; merged adapters are taken out for as long, and put back. It may be nested."""
        enabled, merged = self.routing.enabled, self.merged()
        if self.routing.differing:
            self._warn_of_differing_layers()
        trained = [parameter for parameter in self._parameters_of_adapters() if parameter.requires_grad]
        for parameter in trained:
            parameter.requires_grad = False
        if any(getattr(config, "bias", "none") != "none" for config in self.peft_config.values()):
            warnings.warn(
                "the base's biases were trained with an adapter (bias), and stay so: what is computed without it is not what the base gave", stacklevel=5,
            )  # fmt: skip
        held = any(layer.weight_before is not None for layer in self._adapted.values())
        self.unmerge_adapter()
        self.routing.enabled = False
        try:
            yield
        finally:
            self.routing.enabled = enabled
            for parameter in trained:
                parameter.requires_grad = True
            if merged:
                self.merge_adapter(merged, keep_base=held)

    @contextmanager
    def by_rows(self, names: Sequence[str]) -> Generator[None]:
        """Inside the `with`, each row of a batch uses the adapter of that name, or none (NO_ADAPTER). Raises AdapterError."""
        self.check_known(sorted(set(names) - {NO_ADAPTER}))
        if self.merged():
            raise AdapterError("adapters are merged: unmerge them before rows use adapters of their own")
        if self.training and getattr(self.model, "is_gradient_checkpointing", False):
            raise AdapterError("adapter_names don't go with gradient checkpointing, which computes layers again later")
        self.routing.names = names
        try:
            yield
        finally:
            self.routing.names = ()

    # merged

    def merged(self) -> list[str]:
        """The adapters that are in the base's weights, in the order of merging."""
        return list(dict.fromkeys(name for layer in self._adapted.values() for name in layer.merged_adapters))

    def merge_adapter(
        self, adapter_names: Sequence[str] | None = None, safe_merge: bool = False, keep_base: bool = False
    ) -> None:
        """Merge adapters (the active ones) into the base's weights. Raises AdapterError; then nothing has changed.

        `keep_base` holds a copy of these: unmerging is then exact.
        """
        if isinstance(adapter_names, str):
            raise AdapterError(f"adapter_names is {adapter_names!r}; it has to be a list of names")
        self.check_known(adapter_names or ())
        names = self.routing.active if adapter_names is None else tuple(adapter_names)
        if apart := [name for name in names if not self.family(name).merges]:
            raise AdapterError(
                f"{apart[0]} can't be merged: what {self.family(apart[0]).name} adds is no change of weights. Use it as it is"
            )
        for saved in self._saved:
            if len(two := [name for name in names if name in saved.modules_to_save]) > 1:
                raise AdapterError(
                    f"{' and '.join(two)} each have a '{type(saved.original_module).__name__}' trained whole: merge one"
                )
        if names and not set(names) - set(self.merged()):
            warnings.warn("All adapters are already merged, nothing to do: they are in the weights", stacklevel=3)
        elif self.merged():
            new = [name for name in names if name not in self.merged()]
            warnings.warn(
                f"Already following adapters were merged {','.join(self.merged())}. You are now additionally merging {','.join(new)}.",
                stacklevel=3,
            )
        apart = adapter_names is None and self.routing.differing
        merge_all(self.model, None if apart else names, safe=safe_merge, keep=keep_base)
        self.routing.merged = tuple(self.merged())

    def unmerge_adapter(self) -> None:
        self.routing.merged = ()
        for layer in self._adapted.values():
            unmerge(layer)


def _routing_in(model: nn.Module) -> Routing | None:
    """What the layers of a model share that has adapters already."""
    return next((module.routing for module in model.modules() if isinstance(module, AdaptedLayer | SavedModule)), None)
