"""LoftQ on a base that is quantised already (Li et al. 2023, https://arxiv.org/abs/2310.08659). What starts with a base as it was before
quantisation is `init_lora_weights="loftq"` (`tuning.methods._loftq`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from tuning.errors import CheckpointError, ConfigError
from tuning.methods._loftq import factors
from tuning.state import tuner_of

FILE = "model.safetensors"


@torch.no_grad()
def replace_lora_weights_loftq(
    peft_model: Any,
    model_path: str | None = None,
    adapter_name: str = "default",
    callback: Callable[[nn.Module, str], bool] | None = None,
) -> None:
    """Let LoRA on layers of 4 bit (bitsandbytes) start as what is nearest to what quantisation took from their weights.

    `model_path`: safetensors of the base before quantisation, a file or a folder; left out, where the base was loaded from. `callback`
    is called with the model and a layer's path after each one, and gives whether its new factors are to stay. Raises ConfigError,
    CheckpointError.
    """
    tuner = tuner_of(peft_model, "replace_lora_weights_loftq")
    tuner.check_known([adapter_name])
    layers = {
        path: layer
        for path, layer in tuner.layers_of(adapter_name).items()
        if layer.frozen.kind.backend == "bnb 4bit" and hasattr(layer.adapters[adapter_name], "factors")
    }
    if not layers:
        raise ConfigError(
            f"'{adapter_name}' sits as LoRA on no layer of 4 bit: No bnb LoRA module found on the model. For a base as it was before "
            "quantisation there is init_lora_weights='loftq'"
        )
    weight_of = _reader(_folder(peft_model, model_path), getattr(tuner.model, "base_model_prefix", ""))
    for path, layer in layers.items():
        method: Any = layer.adapters[adapter_name]
        residual = weight_of(f"{path}.weight").to(layer.frozen.device).float() - layer.frozen.weight.float()
        before = [factor.data for factor in method.factors]
        for factor, new in zip(method.factors, factors(residual, method.r), strict=True):
            factor.data = new.to(factor.dtype)
        if callback is not None and not callback(peft_model, path):
            for factor, old in zip(method.factors, before, strict=True):
                factor.data = old


def _folder(model: Any, path: str | None) -> Path:
    """Where the base's weights are: what was given, or what the base says it was loaded from. Raises ConfigError, CheckpointError."""
    if path is not None:
        return Path(path)
    name = getattr(getattr(model, "config", None), "_name_or_path", "")
    if not name:
        raise ConfigError(
            "the base does not say where it was loaded from: give model_path, the folder of its safetensors"
        )
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError) as error:
        raise CheckpointError(
            f"{name} has no weights on this machine ({FILE} must be present on disk): give model_path, the folder of its safetensors"
        ) from error


def _reader(where: Path, prefix: str) -> Callable[[str], Tensor]:
    """What reads one weight of a base by its name, with or without the model's prefix. Raises CheckpointError."""
    folder = where.parent if where.name == FILE else where
    try:
        names = [FILE]
        if not (folder / FILE).is_file():
            index = json.loads((folder / f"{FILE}.index.json").read_bytes())
            names = sorted({Path(name).name for name in index["weight_map"].values()})
        files = [safe_open(folder / name, framework="pt") for name in names]
    except (OSError, SafetensorError, KeyError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{folder} has no safetensors of a model that can be read: {error}") from error
    home = {key: file for file in files for key in file.keys()}  # noqa: SIM118

    def read(name: str) -> Tensor:
        key = next((key for key in (name, name.removeprefix(f"{prefix}.")) if key in home), None)
        if key is None:
            raise CheckpointError(f"{folder} has no '{name}': give the folder of the base that was quantised")
        return home[key].get_tensor(key)

    return read
