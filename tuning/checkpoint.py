"""Adapters on disk, in PEFT's format: `adapter_config.json` and `adapter_model.safetensors`. Safetensors only; nothing unpickles."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tuning.errors import CheckpointError
from tuning.files import replacing
from tuning.layers import AdaptedLayer, adapted_layers
from tuning.registry import LayerFamily
from tuning.saved import SavedModule, saved_modules
from tuning.tuner import Tuner

WEIGHTS = "adapter_model.safetensors"
INDEX = f"{WEIGHTS}.index.json"
PREFIX = "base_model.model."
SHARD = 5 << 30  # bytes


class Loaded(NamedTuple):
    """What a checkpoint had too little or too much of."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def keys(tuner: Tuner, name: str, *, embeddings: bool = False) -> dict[str, Tensor]:
    """A checkpoint's key -> the parameter or buffer that it is for, of one adapter."""
    config, family = tuner.peft_config[name], tuner.family(name)
    found: dict[str, Tensor] = {}
    for path, layer in tuner.layers(name).items():
        for own, tensor in _state(layer.adapters[name]).items():
            found[f"{PREFIX}{path}.{family.saved_as.get(own, own)}"] = tensor
    if name in tuner.shared and family.shared_saved(config):
        found |= {f"base_model.{own}": tensor for own, tensor in _state(tuner.shared[name]).items()}
    for path, module in saved_modules(tuner.model).items():
        if name in module.modules_to_save:
            found |= {f"{PREFIX}{path}.{own}": tensor for own, tensor in _state(module.modules_to_save[name]).items()}
    found |= _biases(tuner, getattr(config, "bias", "none"))
    if embeddings:
        found |= _embeddings(tuner)
    return found


def _state(module: nn.Module) -> dict[str, Tensor]:
    return {key: value for key, value in module.state_dict(keep_vars=True).items()}


def _biases(tuner: Tuner, which: str) -> dict[str, Tensor]:
    if which == "none":
        return {}
    adapted = {f"{path}.base_layer.bias" for path in adapted_layers(tuner.model)}
    return {
        f"{PREFIX}{path}": parameter
        for path, parameter in tuner.model.named_parameters()
        if path.endswith(".bias") and ".adapters." not in path and (which == "all" or path in adapted)
    }


def _embeddings(tuner: Tuner) -> dict[str, Tensor]:
    model: Any = tuner.model
    found: dict[str, Tensor] = {}
    paths = {id(module): path for path, module in model.named_modules()}
    for module in (model.get_input_embeddings(), model.get_output_embeddings()):
        base = module.base_layer if isinstance(module, AdaptedLayer) else module
        if isinstance(base, nn.Module) and not isinstance(base, SavedModule):
            found |= {f"{PREFIX}{paths[id(base)]}.{own}": tensor for own, tensor in base.named_parameters()}
    return found


def write(folder: Path, tensors: Mapping[str, Tensor], *, shard: int = SHARD) -> None:
    """Write weights, whole or not at all; above `shard` bytes in several files with an index. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in tensors.items()}
    groups: list[dict[str, Tensor]] = [{}]
    size = 0
    for key, tensor in plain.items():
        if groups[-1] and size + tensor.nbytes > shard:
            groups.append({})
            size = 0
        groups[-1][key] = tensor
        size += tensor.nbytes
    if len(groups) == 1:
        _save(folder / WEIGHTS, groups[0])
        (folder / INDEX).unlink(missing_ok=True)
        return
    stem = WEIGHTS.removesuffix(".safetensors")
    names = [f"{stem}-{number:05}-of-{len(groups):05}.safetensors" for number in range(1, len(groups) + 1)]
    for name, group in zip(names, groups, strict=True):
        _save(folder / name, group)
    total = sum(tensor.nbytes for tensor in plain.values())
    index = {
        "metadata": {"total_size": total},
        "weight_map": {key: name for name, group in zip(names, groups, strict=True) for key in group},
    }
    with replacing(folder / INDEX) as temporary:
        temporary.write_text(json.dumps(index, indent=2, sort_keys=True), encoding="utf-8")
    (folder / WEIGHTS).unlink(missing_ok=True)


def _save(path: Path, tensors: Mapping[str, Tensor]) -> None:
    with replacing(path) as temporary:
        save_file(dict(tensors), temporary, metadata={"format": "pt"})


def read(folder: Path) -> dict[str, Tensor]:
    """An adapter's weights. Raises CheckpointError where there are none that can be read safely."""
    index = folder / INDEX
    try:
        if index.is_file():
            names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
            if any(Path(name).name != name for name in names):
                raise CheckpointError(f"{index} names files outside its folder")
            return {key: tensor for name in names for key, tensor in load_file(folder / name).items()}
        if (folder / WEIGHTS).is_file():
            return load_file(folder / WEIGHTS)
    except (OSError, SafetensorError, KeyError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{folder} can't be read: {error}. Was it copied whole?") from error
    pickled = sorted(entry.name for entry in folder.glob("adapter_model*.bin"))
    if pickled:
        raise CheckpointError(
            f"{folder} has only {pickled[0]}, a pickled file, which can run code when it is read. "
            "Convert it where you trust it: load it with PEFT and save it with safe_serialization=True."
        )
    there = ", ".join(sorted(entry.name for entry in folder.glob("*"))[:12]) or "nothing"
    raise CheckpointError(f"{folder} has no {WEIGHTS} (there is: {there})")


@torch.no_grad()
def load(tuner: Tuner, name: str, tensors: Mapping[str, Tensor], *, ignore_mismatched: bool = False) -> Loaded:
    """Put a checkpoint's weights into an adapter that is there. Raises CheckpointError where shapes differ or none fits."""
    family = tuner.family(name)
    tensors = family.before_load(tuner.methods(name), tensors)
    wanted = keys(tuner, name)
    everything = {f"{PREFIX}{path}": tensor for path, tensor in tuner.model.state_dict(keep_vars=True).items()}
    unexpected: list[str] = []
    for key, tensor in tensors.items():
        target = wanted.get(key, everything.get(key))
        if target is None:
            unexpected.append(key)
        elif target.shape != tensor.shape:
            if not ignore_mismatched:
                raise CheckpointError(
                    f"'{key}' is {tuple(tensor.shape)} in the checkpoint and {tuple(target.shape)} here: "
                    "it was trained for another base, or with another rank"
                )
        else:
            target.data.copy_(tensor)
    missing = [key for key in wanted if key not in tensors]
    if wanted and len(missing) == len(wanted):
        raise CheckpointError(_none_fits(tuner, family, tensors, wanted))
    return Loaded(missing, unexpected)


def _none_fits(tuner: Tuner, family: LayerFamily, tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    layers = sorted({re.sub(r"\.\d+\.", ".N.", key.removeprefix(PREFIX)) for key in tensors})
    here = sorted({re.sub(r"\.\d+\.", ".N.", key.removeprefix(PREFIX)) for key in wanted})
    return (
        f"the checkpoint fits no layer of {type(tuner.model).__name__}: it has {', '.join(layers[:4]) or 'nothing'}, "
        f"and {family.name} here wants {', '.join(here[:4])}"
    )
