"""A new LoRA adapter as a weighted combination of others.

`cat` puts the factors beside each other and is exact; `svd` and the forms that end in `_svd` combine the changes of the weights
and factor them again, exact up to the rank; `linear` and the others combine the factors themselves, which is rough but quick.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tuning.config import one_of
from tuning.errors import AdapterError, ConfigError
from tuning.kinds import EMBEDDING, Frozen
from tuning.layers import AdaptedLayer
from tuning.methods._lora_config import LoraConfig
from tuning.methods._lora_layer import Lora
from tuning.methods.ia3 import IA3Config
from tuning.pruning import WAYS
from tuning.saved import saved_modules
from tuning.targets import find
from tuning.tuner import Tuner

COMBINATIONS = ("svd", "cat", *WAYS, *(f"{way}_svd" for way in WAYS if way != "linear"))


class _Options(NamedTuple):
    """How, beside the way itself."""

    rank: int
    density: float | None
    majority: str
    clamp: float | None
    full_matrices: bool
    driver: str | None
    transposed: bool = False  # whether the layer keeps its weight as (in, out): random masks are drawn as it lies


@torch.no_grad()
def combine(
    tuner: Tuner,
    adapters: Sequence[str],
    weights: Sequence[float],
    adapter_name: str,
    combination_type: str = "svd",
    svd_rank: int | None = None,
    svd_clamp: float | None = None,
    svd_full_matrices: bool = True,
    svd_driver: str | None = None,
    density: float | None = None,
    majority_sign_method: str = "total",
) -> None:
    """Put the adapter `adapter_name` on the model: Σ weight · adapter, in PEFT's ways. It is frozen until it is set.

    `density`: the share of values that pruning keeps. `svd_rank`: the new rank, else the largest. `svd_clamp`: a quantile that the
    new factors are cut off at. Raises AdapterError, ConfigError; then nothing has changed.
    """
    if adapters and all(isinstance(tuner.peft_config.get(name), IA3Config) for name in adapters):
        _combine_factors(tuner, adapters, weights, adapter_name, combination_type)
        return
    one_of("combination_type", combination_type, COMBINATIONS)
    one_of("majority_sign_method", majority_sign_method, ("total", "frequency"))
    configs = _checked(tuner, adapters, weights)
    if len(adapters) == 1:
        combination_type = "linear"
    way = combination_type.removesuffix("_svd")
    if way in WAYS and WAYS[way].pruned is not None and (density is None or density < 0):
        raise ConfigError(
            f"density is {density}; {combination_type} needs one: the share of values to keep, from 0 to 1"
        )
    if svd_clamp is not None and not 0 <= svd_clamp <= 1:
        raise ConfigError(f"svd_clamp is {svd_clamp}; it is a quantile, from 0 to 1")
    rank = _rank(dict(zip(adapters, configs, strict=True)), combination_type, svd_rank)
    saving = [name for name in adapters if any(name in saved.modules_to_save for saved in _saved(tuner))]
    if len(saving) > 1:
        raise ConfigError(
            f"{', '.join(saving)} each train modules whole (modules_to_save), and these can't be combined"
        )
    config = _config(tuner, adapters, configs, rank)
    config.modules_to_save = tuner.peft_config[saving[0]].modules_to_save if saving else None
    options = _Options(rank, density, majority_sign_method, svd_clamp, svd_full_matrices, svd_driver)
    if combination_type in WAYS:
        _alike(tuner, adapters, combination_type)
    tuner.add(adapter_name, config)
    try:
        _fill(tuner, adapters, weights, adapter_name, saving, combination_type, options)
    except BaseException:
        tuner.delete_adapter(adapter_name)
        raise


def _combine_factors(
    tuner: Tuner, adapters: Sequence[str], weights: Sequence[float], adapter_name: str, combination_type: str
) -> None:
    """Of (IA)³: factors that are Σ weight · factors, as PEFT has it. Raises AdapterError, ConfigError; then nothing has changed."""
    one_of("combination_type", combination_type, ("linear", "svd"))  # svd: what is combined with where nothing is said
    if len(adapters) != len(weights):
        raise ConfigError(f"there are {len(adapters)} adapters and {len(weights)} weights; each adapter needs one")
    configs = [tuner.peft_config[name] for name in adapters]
    if any(config.target_modules != configs[0].target_modules for config in configs):
        raise ConfigError(f"{', '.join(adapters)} have other target_modules: their factors can't be combined")
    tuner.add(adapter_name, replace(copy.deepcopy(configs[0]), modules_to_save=None))
    for layer in tuner.layers_of(adapter_name).values():
        parts = [
            weight * layer.adapters[name].get_parameter("ia3_l") for name, weight in zip(adapters, weights, strict=True)
        ]
        layer.adapters[adapter_name].get_parameter("ia3_l").copy_(torch.stack(parts).sum(0))
    tuner.set_requires_grad(adapter_name, False)


def _alike(tuner: Tuner, adapters: Sequence[str], combination: str) -> None:
    """Raises ConfigError where factors of one layer have other shapes, so that they can't be added value by value."""
    for path in {path for name in adapters for path in tuner.layers_of(name)}:
        layers = [tuner.layers_of(name)[path] for name in adapters if path in tuner.layers_of(name)]
        ranks = {
            name: _lora(layer, name).r for name, layer in zip(adapters, layers, strict=False) if name in layer.adapters
        }
        if len(set(ranks.values())) > 1:
            shown = ", ".join(f"{name} {rank}" for name, rank in ranks.items())
            raise ConfigError(
                f"{combination} needs adapters of one rank, and on '{path}' they differ ({shown}): svd and cat take different ones"
            )


def _fill(
    tuner: Tuner, adapters: Sequence[str], weights: Sequence[float], adapter_name: str, saving: Sequence[str], combination_type: str,
    options: _Options,
) -> None:  # fmt: skip
    """Give the new adapter its weights."""
    for saved in _saved(tuner):
        if adapter_name in saved.modules_to_save and saving:
            saved.modules_to_save[adapter_name].load_state_dict(saved.modules_to_save[saving[0]].state_dict())
            saved.modules_to_save[adapter_name].requires_grad_(False)
    for layer in tuner.layers_of(adapter_name).values():
        target, there = _lora(layer, adapter_name), [name for name in adapters if name in layer.adapters]
        by = [weight for name, weight in zip(adapters, weights, strict=True) if name in layer.adapters]
        options = options._replace(transposed=layer.frozen.kind.transposed or layer.frozen.role == EMBEDDING)
        found = _factors(combination_type, [_lora(layer, name) for name in there], by, options, layer.frozen)
        for parameter, values in zip(target.factors, found, strict=True):
            values = values.reshape(len(values), -1, *parameter.shape[2:])  # those of a convolution are factored flat
            parameter.zero_()  # a rank below the config's leaves rows or columns of zeros, so that the file fits its config
            parameter[: values.shape[0], : values.shape[1]] = values
        target.requires_grad_(False)


def _checked(tuner: Tuner, adapters: Sequence[str], weights: Sequence[float]) -> list[LoraConfig]:
    if not adapters or isinstance(adapters, str):
        raise AdapterError(f"adapters is {adapters!r}; it has to be a list of names of {', '.join(tuner.peft_config)}")
    if len(adapters) != len(weights):
        raise ConfigError(f"there are {len(adapters)} adapters and {len(weights)} weights; each adapter needs one")
    tuner.check_known(adapters)
    found: list[LoraConfig] = []
    for name in adapters:
        config = tuner.peft_config[name]
        if not isinstance(config, LoraConfig):
            raise AdapterError(f"'{name}' is {config.METHOD}; adapters of LORA alone can be combined")
        if config.target_parameters:
            raise ConfigError(f"'{name}' adapts parameters (target_parameters), whose factors can't be combined")
        for option in ("use_dora", "lora_bias", "trainable_token_indices", "kasa_config", "use_bdlora"):
            if getattr(config, option):
                raise ConfigError(f"'{name}' has {option}, and what that adds to A and B can't be combined")
        found.append(config)
    return found


def _rank(configs: dict[str, LoraConfig], combination: str, asked: int | None) -> int:
    if asked is not None and asked < 1:
        raise ConfigError(f"svd_rank is {asked}; it has to be above 0")
    ranks = {name: max(config.r, *(config.rank_pattern or {}).values(), 0) for name, config in configs.items()}
    if combination == "cat":
        return sum(ranks.values())
    if combination.endswith("svd"):
        return asked or max(ranks.values())
    if len(set(ranks.values())) > 1:
        shown = ", ".join(f"{name} {rank}" for name, rank in ranks.items())
        raise ConfigError(f"{combination} needs adapters of one rank ({shown}); svd and cat take different ones")
    return next(iter(ranks.values()))


def _config(tuner: Tuner, adapters: Sequence[str], configs: Sequence[LoraConfig], rank: int) -> LoraConfig:
    """The first adapter's, with PEFT's union of the targets; where that is not the layers that have them, with these."""
    asked = [config.target_modules for config in configs]
    joined: Any = None
    if all(isinstance(targets, str) for targets in asked):
        joined = "|".join(f"({targets})" for targets in asked)
    elif not any(isinstance(targets, str) for targets in asked):
        joined = {name for targets in asked for name in targets or ()}
    made = partial(
        replace, copy.deepcopy(configs[0]), r=rank, lora_alpha=rank, rank_pattern={}, alpha_pattern={}, use_rslora=False,
        init_lora_weights=True,
    )  # fmt: skip
    layers = {path for name in adapters for path in tuner.layers_of(name)}
    if joined is not None:
        config = made(target_modules=joined)
        if {frozen.name for frozen in find(tuner.model, config, tuner.family(adapters[0]))} == layers:
            return config
    return made(target_modules=layers, exclude_modules=None, layers_to_transform=None, layers_pattern=None)


def _factors(
    combination: str, methods: Sequence[Lora], weights: Sequence[float], options: _Options, frozen: Frozen
) -> tuple[Tensor, Tensor]:
    """A (r, in) and B (out, r) of one layer's combination."""
    if combination == "cat":
        if getattr(frozen.module, "groups", 1) > 1:
            raise ConfigError(
                f"'{frozen.name}' convolves groups apart, and ranks beside each other would be of other groups: take linear"
            )
        scaled = [method.factors[0] * weight * method.scaling for method, weight in zip(methods, weights, strict=True)]
        return torch.cat(scaled), torch.cat([method.factors[1] for method in methods], dim=1)
    if combination.endswith("svd"):
        way = WAYS["linear" if combination == "svd" else combination.removesuffix("_svd")]
        changes = [_change(method, options.transposed, frozen) for method in methods]
        change = way(changes, weights, options.density, options.majority)
        return _decomposed(change.T if options.transposed else change, options)
    way = WAYS[combination]
    whole = [weight * method.scaling for method, weight in zip(methods, weights, strict=True)]
    half = [math.sqrt(abs(weight)) for weight in whole]  # a share for A and one for B, the sign in A's
    signed = [math.copysign(share, weight) for share, weight in zip(half, whole, strict=True)]
    first = way([method.factors[0] for method in methods], signed, options.density, options.majority)
    return first, way([method.factors[1] for method in methods], half, options.density, options.majority)


def _change(method: Lora, transposed: bool, frozen: Frozen) -> Tensor:
    """What is added to the weight as the layer keeps it."""
    change = method.change(frozen)
    return change.T if transposed and hasattr(method, "lora_A") else change  # of an embedding it is (tokens, …) already


def _decomposed(change: Tensor, options: _Options) -> tuple[Tensor, Tensor]:
    """A and B of a rank with B A the best approximation of a change (out, in)."""
    exact = change.float() if change.dtype in (torch.float16, torch.bfloat16) else change
    left, values, right = torch.linalg.svd(exact, full_matrices=options.full_matrices, driver=options.driver)
    count = min(options.rank, len(values))
    b, a = left[:, :count] * values[:count], right[:count]
    if options.clamp is not None:
        limit = torch.quantile(torch.cat([b.flatten(), a.flatten()]), options.clamp)
        a, b = a.clamp(-limit, limit), b.clamp(-limit, limit)
    return a, b


def _lora(layer: AdaptedLayer, name: str) -> Lora:
    method = layer.adapters[name]
    assert isinstance(method, Lora)
    return method


def _saved(tuner: Tuner) -> list[Any]:
    return list(saved_modules(tuner.model).values())
