"""An adapter of another method as a plain LoRA: for whoever reads LoRA alone.

config, tensors = convert_to_lora(model, rank=16)     a rank for all layers, or a share of the change's squares (0.9) for each
save_as_lora("folder", model, rank=16)
"""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tuning import checkpoint
from tuning.errors import ConfigError, NoModule, PeftWarning
from tuning.files import replacing
from tuning.kinds import LINEAR
from tuning.layers import AdaptedLayer, adapted_layers
from tuning.methods._lora_config import LoraConfig
from tuning.saved import saved_modules


@torch.no_grad()
def convert_to_lora(
    model: nn.Module,
    rank: float,
    adapter_name: str = "default",
    progressbar: bool = False,
    compile_kwargs: Mapping[str, Any] | None = None,
) -> tuple[LoraConfig, dict[str, Tensor]]:
    """(config, a checkpoint's tensors) of the LoRA that is nearest to an adapter. Raises NoModule, ConfigError, AdapterError.

    `rank`: an integer for all layers; a number above 0 and up to 1: for each layer the smallest rank with that share of its change's squared
    singular values. MiSS is of rank r as it stands, and becomes that exactly.
    """
    check_rank(rank)
    layers = {path: layer for path, layer in adapted_layers(model).items() if adapter_name in layer.adapters}
    if wrong := {
        type(layer.adapters[adapter_name]).__name__ for layer in layers.values() if not converts(layer, adapter_name)
    }:
        raise NoModule(
            f"{', '.join(sorted(wrong))} do not support LoRA conversion: what they do to a layer is no change of a linear weight"
        )
    if not layers:
        raise NoModule(
            "Could not detect any layer that supports LoRA conversion: no adapter sits on a layer of this model"
        )
    adapter: Any = getattr(model, "peft_config", {}).get(adapter_name)
    if isinstance(adapter, LoraConfig):
        warnings.warn(f"adapter '{adapter_name}' is LoRA already: it is factored anew", PeftWarning, stacklevel=2)
    if (bias := getattr(adapter, "bias", "none")) != "none":
        raise ConfigError(f"bias={bias} trains the base's biases too, and a LoRA that is made of weights has none")
    config: Any = _config(adapter, rank)
    factored = torch.compile(factors, **compile_kwargs) if compile_kwargs is not None else factors
    found: dict[str, Tensor] = {}
    for path, layer in _shown(layers, show=progressbar):
        a, b = factored(layer, adapter_name, rank)
        own = path.removeprefix(checkpoint.PREFIX)
        if len(a) != rank or isinstance(config.target_modules, str):
            config.rank_pattern[own] = config.alpha_pattern[own] = len(a)
        else:
            config.target_modules.add(own)
        found |= {f"{path}.lora_A.weight": a.contiguous(), f"{path}.lora_B.weight": b.contiguous()}
    if adapter is not None and adapter.modules_to_save:
        config.modules_to_save = copy.copy(adapter.modules_to_save)
        for path, module in saved_modules(model).items():
            if adapter_name in module.modules_to_save:
                found |= {
                    f"{path}.{own}": tensor.detach()
                    for own, tensor in module.modules_to_save[adapter_name].state_dict().items()
                }
    return config, found


def save_as_lora(
    path: str | os.PathLike[str],
    model: nn.Module,
    rank: float,
    adapter_name: str = "default",
    progressbar: bool = False,
    compile_kwargs: Mapping[str, Any] | None = None,
) -> None:
    """Write what `convert_to_lora` gives into a folder, as an adapter. Raises NoModule, ConfigError, OSError."""
    folder = Path(path)
    config, tensors = convert_to_lora(model, rank, adapter_name, progressbar, compile_kwargs)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / checkpoint.WEIGHTS) as temporary:
        save_file(tensors, temporary, {"format": "pt"})
    config.save_pretrained(folder)


def converts(layer: AdaptedLayer, adapter: str) -> bool:
    """Whether an adapter's change of a layer is one of a linear weight."""
    return layer.adapters[adapter].converts and layer.frozen.role == LINEAR


def factors(layer: AdaptedLayer, adapter: str, rank: float) -> tuple[Tensor, Tensor]:
    """A (r, in) and B (out, r), of which B A is the adapter's change of the weight. Raises ConfigError, AdapterError."""
    method = layer.adapters[adapter]
    dtype = next(
        (parameter.dtype for parameter in method.parameters()), layer.frozen.dtype
    )  # Uni-LoRA's layers have none
    if (exact := method.factored(layer.frozen)) is not None:
        return exact
    change = method.delta(layer.frozen).float()
    left, values, right = torch.linalg.svd(change, full_matrices=False)
    if not isinstance(rank, int):
        squares = (values**2).cumsum(0)
        rank = int(torch.searchsorted(squares, rank * squares[-1])) + 1
    if rank > len(values):
        raise ConfigError(
            f"rank is {rank}, and '{layer.frozen.name}' can have {len(values)} at most: take that or less"
        )
    return right[:rank].to(dtype), (left[:, :rank] * values[:rank]).to(dtype)


def check_rank(rank: float) -> None:
    """Raises ConfigError."""
    if isinstance(rank, float) and not 0 < rank <= 1:
        raise ConfigError(f"rank is {rank}: a share has to be above 0 and at most 1, and a rank an integer")
    if rank < 1 and not isinstance(rank, float):
        raise ConfigError(f"rank is {rank}; it has to be 1 or more")


def _config(adapter: Any, rank: float) -> LoraConfig:
    """Scaled by 1: the factors have the adapter's scaling in them."""
    r = rank if isinstance(rank, int) else 1  # of a share each layer's rank is in the pattern
    if adapter is None:
        return LoraConfig(r=r, lora_alpha=r, target_modules=set())
    return LoraConfig(
        r=r,
        lora_alpha=r,
        target_modules=copy.copy(adapter.target_modules),
        base_model_name_or_path=adapter.base_model_name_or_path,
        layers_pattern=adapter.layers_pattern,
        layers_to_transform=adapter.layers_to_transform,
    )


def _shown(layers: Mapping[str, AdaptedLayer], *, show: bool) -> Any:
    if not show:
        return layers.items()
    from rich.progress import track

    return track(layers.items(), description="Converting to LoRA")
