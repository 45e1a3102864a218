"""Adapters of one model: put on, switched, taken off. What PEFT calls a tuner; it holds the model as `.model`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from tuning.calls import SeenCalls
from tuning.config import LayerConfig
from tuning.errors import AdapterError, ConfigError, PeftWarning
from tuning.fast_path import no_fast_path
from tuning.kinds import EMBEDDING, Frozen, ParameterKind
from tuning.layer_method import LayerMethod
from tuning.layers import AdaptedLayer, innermost
from tuning.merge import mark_untied, without_adapters
from tuning.placement import Placed
from tuning.registry import LayerFamily, method_named
from tuning.replication import part_layers, restore
from tuning.saved import add_saved, delete_saved, tie_saved, without_saved
from tuning.targets import find, resolved
from tuning.tied import embedding_path, tied_paths, warn_of_ties, words

PlacedT = TypeVar("PlacedT", bound=Placed)


class Tuner(SeenCalls):
    """The model with layers adapted in place, by any mix of methods.

    What all layers of an adapter have in common (VeRA's projections) lies here, as in PEFT: `vera_A["default"]`, and each of them has
    it under the same name. A second tuner on one model shares adapters and what is active with the first.
    """

    prefix: ClassVar[str] = ""  # what the names of a method's parameters begin with

    def __init__(self, model: nn.Module, peft_config: LayerConfig | None = None, adapter_name: str = "default") -> None:
        super().__init__(model)
        if peft_config is not None:
            self.add(adapter_name, peft_config)
            self.freeze(adapter_name)
            self.set_adapter(adapter_name, inference_mode=peft_config.inference_mode)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        out = self.model(*args, **kwargs)
        if getattr(out, "loss", None) is not None and (penalty := self.penalty()) is not None:
            out.loss = out.loss + penalty.to(out.loss)  # in the loss's precision, as in PEFT
        return out

    def penalty(self) -> Tensor | None:
        """What the active adapters add to a loss, or None where they add nothing."""
        found: Tensor | None = None
        for name in self.routing.active:
            if (added := self.family(name).penalty(self.peft_config[name], self.methods(name))) is not None:
                found = added if found is None else found + added
        return found

    def regularisation(self, adapter_names: str | Sequence[str] | None = None) -> Tensor | float:
        """What a trainer adds to the loss, of the active adapters or of those that are named; 0.0 where that is nothing."""
        names = self.routing.active if adapter_names is None else adapter_names
        found: Tensor | float = 0.0
        for name in [names] if isinstance(names, str) else names:
            added = self.family(name).regularisation(self.peft_config[name], self.methods(name))
            found = found if added is None else found + added
        return found

    _get_kasa_loss = _get_monteclora_loss = regularisation  # PEFT's names for it

    def learning(self) -> dict[str, Tensor]:
        """What the active adapters need to go on training, beside parameters and buffers."""
        return {
            f"{name}/{key}": tensor
            for name in self.routing.active
            for key, tensor in self.family(name).learning(self._by_path(name)).items()
        }

    def go_on(self, learned: Mapping[str, Tensor]) -> None:
        """Give active adapters back what `learning` gave."""
        for name in self.routing.active:
            own = {
                key.removeprefix(f"{name}/"): tensor for key, tensor in learned.items() if key.startswith(f"{name}/")
            }
            self.family(name).go_on(self.peft_config[name], self._by_path(name), own)

    def _by_path(self, name: str) -> dict[str, Any]:
        return {path: layer.adapters[name] for path, layer in self.layers_of(name).items()}

    # put on

    def add(self, name: str, config: LayerConfig, *, autocast: bool = True, empty: bool = False) -> None:
        """Put an adapter on the layers that its config means. Raises TargetError, ConfigError; then nothing has changed.

        `empty`: on the meta device, to be loaded next.
        """
        if name in self.peft_config:
            raise AdapterError(f"Adapter with name {name} already exists: delete it first, or take another name")
        family = method_named(config.METHOD)
        assert isinstance(family, LayerFamily)
        config.check_here()
        self._same_parameters(config)
        self._one_with_bias(config)
        warn_of_ties(config, self.model, family)
        try:
            found, shared, made = self._made(family, config, autocast)
        except BaseException:
            if not self.peft_config:
                restore(self.model)
            raise
        if any(frozen.role == EMBEDDING for frozen in made) and not hasattr(self.model, "get_output_embeddings"):
            warnings.warn(
                f"an adapter sits on an embedding of {type(self.model).__name__}: where the model computes with that weight itself (a tied "
                "head by functional.linear), the adapter is not seen", PeftWarning, stacklevel=4,
            )  # fmt: skip
        if config.modules_to_save:
            add_saved(self.model, name, config.modules_to_save, self.routing)
            if getattr(config, "ensure_weight_tying", False) and (heads := tied_paths(self.model)):
                tie_saved(self.model, name, embedding_path(self.model), heads, self.routing)
        if shared is not None:
            for parameter in () if autocast else shared.parameters():  # in half precision they are made in single
                parameter.data = parameter.data.to(found[0].dtype)
            (_empty(shared) if empty else shared).place(self, name)
            self.in_common[name] = shared
        for frozen, method in made.items():
            layer = self._layer(frozen)
            layer.put(name, _empty(method) if empty and method.saved else method)
            for key in shared.names() if shared is not None and shared.on_layers else ():
                layer._modules[key] = self._modules[key]
        self.peft_config[name] = config
        family.added(config, made)
        self.look()
        self.see_calls(True)
        self.set_requires_grad(name, False)
        self.train_biases(config)

    def _made(
        self, family: LayerFamily, config: Any, autocast: bool
    ) -> tuple[Sequence[Frozen], Any, dict[Frozen, LayerMethod]]:
        """The layers that an adapter is for, what they share, and its part on each of them and beside."""
        family.prepare(config, self.model)
        found = family.found(config, self.model)
        if found is None:
            config.target_modules = resolved(self.model, config, family)
            found = find(self.model, config, family)
        shared = family.shared(config, self.model, found, self._shared_by(family))
        made = {frozen: self._cast(family.layer(frozen, config, shared), frozen, autocast) for frozen in found}
        beside = family.beside(config, self.model, {frozen.name: method for frozen, method in made.items()})
        taken = {frozen.name for frozen, _ in beside}
        made = {frozen: method for frozen, method in made.items() if frozen.name not in taken}
        made |= {frozen: self._cast(method, frozen, autocast) for frozen, method in beside}
        return found, shared, made

    def _shared_by(self, family: LayerFamily) -> dict[str, Any]:
        return {
            name: self.in_common[name]
            for name in self.peft_config
            if self.family(name) is family and name in self.in_common
        }

    def _same_parameters(self, config: LayerConfig) -> None:
        """Raises ConfigError where two adapters target other parameters: their layers are nested by these."""
        asked = set(getattr(config, "target_parameters", None) or ())
        for name, other in self.peft_config.items():
            there = set(getattr(other, "target_parameters", None) or ())
            if asked and there and asked != there:
                raise ConfigError(
                    f"all adapters must target the same set of parameters: this one names {sorted(asked)} in target_parameters, and '{name}' "
                    f"{sorted(there)}"
                )

    def _one_with_bias(self, config: LayerConfig) -> None:
        """Raises AdapterError where two adapters would train the base's biases."""
        if getattr(config, "bias", "none") == "none":
            return
        others = [name for name, other in self.peft_config.items() if getattr(other, "bias", "none") != "none"]
        if others:
            raise AdapterError(
                f"adapter '{others[0]}' trains the base's biases already, and one alone can: take bias='none' for this one"
            )

    def _cast(self, method: LayerMethod, frozen: Frozen, autocast: bool) -> LayerMethod:
        dtype = frozen.dtype
        if autocast and dtype in (torch.float16, torch.bfloat16):
            dtype = torch.float32
        device = frozen.device
        there = (
            tensor
            for module in method.modules()
            for tensor in (*module._parameters.values(), *module._buffers.values())
        )
        fits = all(
            tensor is None or (tensor.device == device and (tensor.dtype == dtype or not tensor.is_floating_point()))
            for tensor in there
        )
        return method if fits else method.to(device=device, dtype=dtype)

    def _layer(self, frozen: Frozen) -> AdaptedLayer:
        alone = isinstance(
            frozen.kind, ParameterKind
        )  # a parameter's layer holds its module, or another parameter's layer
        path = frozen.name.rpartition(".")[0] if alone else frozen.name
        above, _, own = path.rpartition(".")
        parent = innermost(self.model.get_submodule(above))
        there = getattr(parent, own) if own else self.model
        layer = there
        while isinstance(layer, AdaptedLayer):
            if layer.frozen.name == frozen.name:
                return layer
            layer = layer.base_layer
        layer = AdaptedLayer(there, frozen.name, frozen.kind, self.routing)
        parent._modules[own] = layer
        return layer

    def freeze(self, name: str) -> None:
        """Nothing but an adapter, what is saved whole, and the biases that were asked for takes a gradient."""
        ours = {id(held[key]) for held, key in self._trained[name]}
        ours |= {id(parameter) for shared in self.in_common.values() for parameter in shared.parameters()}
        ours |= {id(parameter) for saved in self._saved for parameter in saved.modules_to_save.parameters()}
        for parameter in self.model.parameters():
            if id(parameter) not in ours:
                parameter.requires_grad_(False)
        self.train_biases(self.peft_config[name])

    def train_biases(self, config: LayerConfig) -> None:
        which = getattr(config, "bias", "none")
        if which == "none":
            return
        ours = {
            id(parameter)
            for name in self.peft_config
            for method in self.methods(name)
            for parameter in method.parameters()
        }
        for module in self.model.modules():
            bias = getattr(module, "bias", None)
            inside = isinstance(module, AdaptedLayer)
            if isinstance(bias, nn.Parameter) and id(bias) not in ours and (which == "all" or inside):
                bias.requires_grad_(True)

    # taken off

    def merge_and_unload(
        self, progressbar: bool = False, safe_merge: bool = False, adapter_names: Sequence[str] | None = None
    ) -> nn.Module:
        """The base model with the active adapters in its weights, and nothing of ours around it."""
        names = self.active_adapters if adapter_names is None else list(adapter_names)
        self.merge_adapter(adapter_names, safe_merge)
        self.see_calls(False)
        without_adapters(self.model)
        without_saved(self.model, names)
        part_layers(self.model)
        if _is_untied(self.model):
            mark_untied(self.model)
        no_fast_path(self.model.modules())
        return self.model

    def unload(self) -> nn.Module:
        """The base model as it was."""
        self.unmerge_adapter()
        self.see_calls(False)
        without_adapters(self.model)
        without_saved(self.model, ())
        restore(self.model)
        no_fast_path(self.model.modules())
        return self.model

    def delete_adapter(self, adapter_name: str | Sequence[str]) -> None:
        """Take adapters off; layers that none is left on are the base's own again. Raises AdapterError; then nothing has changed."""
        names = [adapter_name] if isinstance(adapter_name, str) else list(adapter_name)
        self.check_known(names)
        if merged := [name for name in names if name in self.merged()]:
            raise AdapterError(
                f"{', '.join(merged)} can't be deleted while they are merged: call unmerge_adapter before"
            )
        for name in names:
            self._delete(name)

    def _delete(self, adapter_name: str) -> None:
        for path in reversed(list(self.layers_of(adapter_name))):  # inner ones first
            self.take(adapter_name, path)
        delete_saved(self.model, adapter_name)
        if adapter_name in self.in_common:
            self.in_common.pop(adapter_name).leave()
        del self.peft_config[adapter_name]
        if not self.peft_config:
            restore(self.model)
        self.look()
        self.see_calls(True)
        if adapter_name in self.routing.active:
            left = [other for other in self.routing.active if other != adapter_name]
            self.set_adapter(left or list(self.peft_config)[:1])

    def take(self, adapter_name: str, path: str) -> None:
        """Take an adapter off one layer."""
        layer = self._adapted[path]
        layer.take(adapter_name)
        layer.own_active = None
        if not layer.adapters:
            self.model.set_submodule(path, layer.base_layer)

    def difference(
        self, name: str, tensors: Mapping[str, Tensor], start: Mapping[str, Tensor], config: LayerConfig
    ) -> tuple[Mapping[str, Tensor], LayerConfig]:
        """An adapter less what it began as, both as a checkpoint's tensors. Raises ConfigError where its method can't."""
        return self.family(name).difference(config, tensors, start)

    def update_and_allocate(self, global_step: int) -> None:
        """After each optimiser's step: what the active adapters' methods do then (AdaLoRA's budget)."""
        for name in self.routing.active:
            self.family(name).end_of_step(self.peft_config[name], self.layers_of(name), name, global_step)


def _empty(method: PlacedT) -> PlacedT:
    """A method, or what its layers share, whose parameters have no memory until they are loaded. Buffers stay: a checkpoint may not have them."""
    for module in method.modules():
        for own, parameter in module.named_parameters(recurse=False):
            setattr(module, own, nn.Parameter(parameter.to("meta"), parameter.requires_grad))
    return method


def _is_untied(model: nn.Module) -> bool:
    """Whether a model's head and embedding have weights of their own, one having been put in its place."""
    if not hasattr(model, "get_output_embeddings"):
        return False
    found: Any = model
    embedding, head = words(model), found.get_output_embeddings()
    return embedding is not None and head is not None and embedding.weight is not head.weight
