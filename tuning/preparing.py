"""Passes over data before an adapter is made: what CorDA and LoRA-GA start from. They leave it on the base's layers, where the adapter takes
it (`tuning.initialising`).

    preprocess_corda(model, config, run_model=lambda: model(**batch))
    preprocess_loraga(model, config, train_step=lambda: model(**batch).loss.backward())
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tuning.config import LayerConfig
from tuning.errors import ConfigError
from tuning.initialising import DIRECTIONS, GRADIENT
from tuning.kinds import LINEAR, Frozen
from tuning.patterns import value_for
from tuning.registry import LayerFamily, method_named
from tuning.targets import find, resolved

LARGEST_ERROR = 0.05  # of a covariance's inverse, as in PEFT


@dataclass
class CordaEigens:
    """Directions of a layer's weight, weighed by its inputs. S_WC: (r,), U_WC: (out, r), V_WC: (in, r)."""

    S_WC: Tensor
    U_WC: Tensor
    V_WC: Tensor


@torch.no_grad()
def preprocess_corda(
    model: nn.Module,
    lora_config: Any,
    run_model: Callable[[], object] | None = None,
    hooked_model: nn.Module | None = None,
) -> None:
    """Directions of the weights that data uses (CorDA, section 3.2): `run_model` runs the model, or `hooked_model`, over it.

    `corda_config.covariance_file` and `cache_file` are read where they are there, and written where not. Raises ConfigError.
    """
    config = lora_config.corda_config
    if config is None:
        raise ConfigError("preprocess_corda needs corda_config=CordaConfig() in the adapter's config")
    layers = _layers(model, lora_config)
    if (cache := _read(config.cache_file)) is not None:
        for layer in layers:
            parts = {part: cache[f"{layer.name}.{DIRECTIONS}.{part}"] for part in ("S_WC", "U_WC", "V_WC")}
            setattr(layer.module, DIRECTIONS, CordaEigens(**parts))
        return
    covariances = _read(config.covariance_file)
    if covariances is None:
        if run_model is None:
            raise ConfigError("preprocess_corda needs run_model, which runs the model over some data")
        hooked = layers if hooked_model is None else _layers(hooked_model, lora_config)
        covariances = _covariances(hooked_model or model, hooked, run_model, half=config.use_float16_for_covariance)
        _write(config.covariance_file, covariances)
    for layer in layers:
        rank = value_for(lora_config.rank_pattern, layer.name, lora_config.r)
        found = _directions(layer, covariances[layer.name].float(), rank, largest=config.corda_method == "ipm")
        setattr(layer.module, DIRECTIONS, found)
    parts = {
        f"{layer.name}.{DIRECTIONS}.{part}": tensor
        for layer in layers
        for part, tensor in vars(getattr(layer.module, DIRECTIONS)).items()
    }
    _write(config.cache_file, parts)


def _covariances(
    model: nn.Module, layers: Sequence[Frozen], run: Callable[[], object], *, half: bool
) -> dict[str, Tensor]:
    """(in, in) of each layer's inputs, each pass scaled by its largest value, on average over passes."""
    found: dict[str, list[Any]] = {layer.name: [0, 0] for layer in layers}

    def hook(name: str) -> Callable[..., None]:
        def seen(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            x = args[0].detach().flatten(0, -2)
            x = x if half else x.float()
            x = x / x.max().abs()
            if not torch.isfinite(x).all():
                raise ConfigError(f"the inputs of '{name}' are not finite: look at the data that run_model runs over")
            found[name] = [found[name][0] + x.T @ x, found[name][1] + 1]

        return seen

    handles = [layer.module.register_forward_hook(hook(layer.name)) for layer in layers]
    training = model.training
    model.eval()
    try:
        run()
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    if unused := [name for name, (_, passes) in found.items() if not passes]:
        raise ConfigError(f"run_model never used '{unused[0]}': name the layers that are used in target_modules")
    return {name: total / passes for name, (total, passes) in found.items()}


def _directions(layer: Frozen, covariance: Tensor, rank: int, *, largest: bool) -> CordaEigens:
    damp, one = 0.01, torch.eye(len(covariance), device=covariance.device)
    while True:  # more and more of the identity is added, until there is an inverse
        damped = covariance + one * covariance.diag().mean() * damp
        inverse = torch.linalg.inv(damped)
        if torch.dist(damped @ inverse, one) < LARGEST_ERROR:
            break
        damp *= 2
    u, s, vh = torch.linalg.svd(layer.weight.float() @ damped, full_matrices=False)
    taken = slice(rank) if largest else slice(-rank, None)
    return CordaEigens(s[taken].clone(), u[:, taken].clone(), (vh @ inverse).T[:, taken].clone())


def preprocess_loraga(
    model: nn.Module, lora_config: Any, train_step: Callable[[], object], cache_file: str | None = None
) -> None:
    """The gradient of each layer's weight, on average over the backward passes of `train_step`. Raises ConfigError.

    `cache_file` is read where it is there, and written where not.
    """
    if lora_config.lora_ga_config is None:
        raise ConfigError("preprocess_loraga needs init_lora_weights='lora_ga' and lora_ga_config=LoraGAConfig()")
    layers = _layers(model, lora_config)
    if quantised := [layer.name for layer in layers if layer.kind.quantised]:
        raise ConfigError(
            f"'{quantised[0]}' is quantised, and LoRA-GA needs gradients of weights: prepare the base as it was before"
        )
    gradients = _read(cache_file)
    if gradients is None:
        gradients = {f"{name}.{GRADIENT}": gradient for name, gradient in _gradients(model, layers, train_step).items()}
        _write(cache_file, gradients)
    for layer in layers:
        gradient = gradients[f"{layer.name}.{GRADIENT}"]
        setattr(layer.module, GRADIENT, gradient.T if layer.kind.transposed else gradient)


def _gradients(model: nn.Module, layers: Sequence[Frozen], step: Callable[[], object]) -> dict[str, Tensor]:
    """As the layers keep their weights. Nothing else of the model takes gradients meanwhile."""
    before = {parameter: parameter.requires_grad for parameter in model.parameters()}
    weights = {layer.name: layer.kind.parameter(layer.module) for layer in layers}
    passes = dict.fromkeys(weights, 0)

    def counted(name: str) -> Callable[..., None]:
        def count(*_: Any) -> None:
            passes[name] += 1

        return count

    handles = [layer.module.register_full_backward_hook(counted(layer.name)) for layer in layers]
    training = model.training
    model.train()
    try:
        model.requires_grad_(False)
        for weight in weights.values():
            weight.requires_grad_(True)
        with torch.enable_grad():
            step()
        if unused := [name for name, weight in weights.items() if weight.grad is None]:
            raise ConfigError(f"train_step gave '{unused[0]}' no gradient: it has to call backward() on a loss")
        return {
            name: weight.grad.detach() / passes[name] for name, weight in weights.items() if weight.grad is not None
        }
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
        for parameter, requires_grad in before.items():
            parameter.requires_grad_(requires_grad)
        for weight in weights.values():
            weight.grad = None


def _layers(model: nn.Module, config: LayerConfig) -> list[Frozen]:
    family = method_named(config.METHOD)
    assert isinstance(family, LayerFamily)
    config.target_modules = resolved(model, config, family)
    if not (found := [layer for layer in find(model, config, family) if layer.role == LINEAR]):
        raise ConfigError(
            "No supported layers found: none of target_modules is linear, and the others have no such start"
        )
    return found


def _read(path: str | None) -> Mapping[str, Tensor] | None:
    """A file of tensors, PEFT's too: torch's reader of tensors alone."""
    there = path is not None and Path(path).is_file() and Path(path).stat().st_size > 0
    return torch.load(str(path), weights_only=True) if there else None


def _write(path: str | None, tensors: Mapping[str, Tensor]) -> None:
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        torch.save(dict(tensors), path)
