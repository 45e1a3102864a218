"""One adapter's weights put in another's place, in a model that may be compiled: nothing but values changes (PEFT's hot swap, LoRA alone)."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tuning import checkpoint, hub
from tuning.config import PeftConfig
from tuning.errors import AdapterError, CheckpointError, ConfigError, NotTheSame
from tuning.layers import AdaptedLayer
from tuning.methods._lora_config import LoraConfig
from tuning.methods._lora_layer import Lora
from tuning.patterns import value_for
from tuning.state import tuner_of, uncompiled

SAME = ("use_rslora", "lora_dropout", "alpha_pattern", "use_dora")  # what two adapters must have alike, as in PEFT


@torch.no_grad()
def hotswap_adapter(
    model: nn.Module,
    model_name_or_path: str | os.PathLike[str],
    adapter_name: str,
    torch_device: str | None = None,
    subfolder: str | None = None,
    **kwargs: Any,
) -> None:
    """Give an adapter the weights and scaling of the one in a folder; layers that this lacks get zeros.

    Raises ConfigError where the two are too different, NotTheSame where the new one has other tensors, AdapterError where it is merged.
    """
    from tuning.disk import check_options

    check_options("hotswap_adapter", kwargs)
    folder = hub.resolved(model_name_or_path, subfolder, **kwargs)
    config = PeftConfig.from_pretrained(folder)
    tuner = tuner_of(uncompiled(model), "hotswap_adapter")
    tuner.check_known([adapter_name])
    check_compatible(tuner.peft_config[adapter_name], config)
    if adapter_name in tuner.merged():
        raise AdapterError(f"adapter '{adapter_name}' is merged, so it can't be swapped: call unmerge_adapter before")
    assert isinstance(config, LoraConfig)
    tensors = checkpoint.read(folder, device=torch_device)
    layers, saved_as = tuner.layers_of(adapter_name), tuner.family(adapter_name).saved_as
    if apart := [path for path, layer in layers.items() if not isinstance(layer.adapters[adapter_name], Lora)]:
        raise ConfigError(
            f"'{apart[0]}' has trained tokens or follows a tied layer, which can't be swapped: load the adapter anew"
        )
    targets = {
        f"{checkpoint.PREFIX}{checkpoint.plain(path)}.{saved_as.get(own, own)}": (layer, target)
        for path, layer in layers.items()
        for own, target in layer.adapters[adapter_name].state_dict(keep_vars=True).items()
    }
    if left := [key for key in tensors if key not in targets]:
        raise NotTheSame(f"the adapter can't be swapped in, unexpected keys found: {', '.join(sorted(left))}")
    if lacking := [key for key in targets if key not in tensors and key.endswith(".lora_magnitude_vector")]:
        raise NotTheSame(
            f"the adapter can't be swapped in, missing keys found, and no magnitude is neutral: {', '.join(lacking)}"
        )
    for layer in layers.values():
        _scale(layer, adapter_name, config)
    for key, (layer, target) in targets.items():
        if key in tensors:
            _put(target, tensors[key].to(target.device), layer, first=".lora_A." in key)
        else:
            target.data.zero_()
    tuner.routing.changes += 1


def check_compatible(old: PeftConfig, new: PeftConfig) -> None:
    """Raises ConfigError where one adapter can't take another's place."""
    if old.peft_type != new.peft_type:
        raise ConfigError(f"Incompatible PEFT types found: {old.METHOD} and {new.METHOD}")
    if not isinstance(old, LoraConfig):
        raise ConfigError(f"Hotswapping only supports LORA but {old.METHOD} was passed.")
    for name in SAME:
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            raise ConfigError(f"Configs are incompatible: for {name}, {before} != {after}")


def _scale(layer: AdaptedLayer, adapter: str, config: LoraConfig) -> None:
    """Give an adapter of a layer the scaling that a config says."""
    method: Any = layer.adapters[adapter]
    rank = value_for(config.rank_pattern, layer.frozen.name, config.r)
    alpha = value_for(config.alpha_pattern, layer.frozen.name, config.lora_alpha)
    scaling = alpha / (math.sqrt(rank) if config.use_rslora else rank)
    if isinstance(there := method.__dict__["owner"].__dict__["scaling"][adapter], Tensor):
        there.fill_(scaling)
    else:
        method.scaling = scaling


def _put(target: Tensor, value: Tensor, layer: AdaptedLayer, *, first: bool) -> None:
    if target.shape == value.shape:
        target.data.copy_(value)
        return
    if any(new > old for old, new in zip(target.shape, value.shape, strict=True)):
        target.data = value.to(target.dtype)
        return
    target.data.zero_()
    groups = getattr(layer.frozen.module, "groups", 1)
    if first and groups > 1:  # each group's channels are together
        target.data.view(groups, -1, *target.shape[1:])[:, : len(value) // groups] = value.view(
            groups, -1, *value.shape[1:]
        )
        return
    target.data[tuple(slice(size) for size in value.shape)] = value


@torch.no_grad()
def prepare_model_for_compiled_hotswap(
    model: nn.Module,
    *,
    target_rank: int | None = None,
    config: Any = None,
    check_compiled: Literal["error", "warn", "ignore"] = "error",
) -> None:
    """Before compiling: make scalings tensors, and room for `target_rank` ranks, so that no swap of an adapter changes a shape or a number
    that is compiled in. `config`: of the adapter, or by adapter; its rank becomes the new one.
    """
    if uncompiled(model) is not model or getattr(model, "_compiled_call_impl", None) is not None:
        message = "call prepare_model_for_compiled_hotswap before torch.compile: this model is compiled already"
        if check_compiled == "error":
            raise CheckpointError(message)
        if check_compiled == "warn":
            warnings.warn(
                f"{message}, so that a swap may compile it again",
                stacklevel=2,
            )
        elif check_compiled != "ignore":
            raise ConfigError(f"check_compiled is {check_compiled!r}; it can be 'error', 'warn' or 'ignore'")
    found = list(_loras(model))
    if not found:
        raise ConfigError("No adapter layers found on the model: put a LoRA adapter on it first")
    for layer, name, method in found:
        if not isinstance(method.scaling, Tensor):
            method.scaling = torch.tensor(method.scaling, device=layer.frozen.device)  # type: ignore[assignment]
        if target_rank is not None:
            _pad(layer, method, target_rank, name)
    if target_rank is not None:
        for each in config.values() if isinstance(config, dict) else [config] if config is not None else []:
            each.r = target_rank
            each.rank_pattern = dict.fromkeys(each.rank_pattern or {}, target_rank)


def _loras(model: nn.Module) -> Iterator[tuple[AdaptedLayer, str, Lora]]:
    for module in model.modules():
        if isinstance(module, AdaptedLayer):
            for name, method in module.methods():
                if isinstance(method, Lora):
                    yield module, name, method


def _pad(layer: AdaptedLayer, method: Lora, rank: int, name: str) -> None:
    """Factors with zeros after their ranks."""
    if (there := method.r) > rank:
        raise ConfigError(
            f"target_rank is {rank}, and adapter '{name}' has a rank of {there} on '{layer.frozen.name}': give {there} or more"
        )
    groups = getattr(layer.frozen.module, "groups", 1)
    if rank % groups:
        raise ConfigError(
            f"target_rank is {rank}, which does not divide into the {groups} groups of '{layer.frozen.name}': give a multiple of {groups}"
        )
    for which, (own, factor) in enumerate(zip(method.form.names, method.factors, strict=True)):
        shape = list(factor.shape)
        shape[which] = rank if which == 0 else rank // groups
        new = nn.Parameter(factor.new_zeros(shape), requires_grad=factor.requires_grad)
        _put(new, factor.data, layer, first=which == 0)
        holder = getattr(method, own)
        if isinstance(holder, nn.Parameter):
            setattr(method, own, new)
        else:
            holder.weight = new
            for size in ("out_features", "out_channels") if which == 0 else ("in_features", "in_channels"):
                if hasattr(holder, size):
                    setattr(holder, size, rank)
