"""A LoRA adapter in PEFT's format, merged into a base when it is loaded. Other methods are refused by name.

AdapterError: the folder holds no adapter that can be merged; says what is there and what would work.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

PREFIX = "base_model.model."


class AdapterError(Exception):
    """An adapter can't be used."""


@torch.no_grad()
def merge_adapter(model: Any, folder: Path) -> None:
    """Add the adapter's `scale · B @ A` to the weights it was trained for (LoRA, Hu et al. 2021, section 4.1)."""
    config = _config(folder)
    weights = _weights(folder)
    modules = dict(model.named_modules())
    merged = 0
    for name, down in weights.items():
        if not name.endswith("lora_A.weight"):
            continue
        target = name.removeprefix(PREFIX).removesuffix(".lora_A.weight")
        module = modules.get(target)
        if module is None:
            raise AdapterError(f"{folder}: trained for a layer '{target}' that {type(model).__name__} does not have")
        up = weights[name.replace("lora_A", "lora_B")].float()
        rank = down.shape[0]
        scale = config["lora_alpha"] / (rank**0.5 if config.get("use_rslora") else rank)
        change = scale * (up @ down.float())
        weight = module.weight
        change = change.T if change.shape != weight.shape else change  # Conv1D keeps its weight transposed
        if change.shape != weight.shape:
            raise AdapterError(f"{folder}: '{target}' is {tuple(weight.shape)} here and {tuple(change.shape)} there")
        weight += change.to(weight.dtype)
        merged += 1
    if not merged:
        raise AdapterError(f"{folder}: no LoRA weights in adapter_model.safetensors")


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "adapter_config.json").read_bytes())
    except (OSError, ValueError) as error:
        raise AdapterError(f"{folder}: no adapter_config.json that can be read ({error})") from error
    unsupported = [name for name in ("use_dora", "rank_pattern", "alpha_pattern", "fan_in_fan_out") if config.get(name)]
    if config.get("peft_type") != "LORA" or unsupported:
        what = config.get("peft_type"), *unsupported
        raise AdapterError(f"{folder}: holds {' + '.join(map(str, what))}; plain LORA works")
    return config


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    path = folder / "adapter_model.safetensors"
    if not path.is_file():
        there = ", ".join(sorted(entry.name for entry in folder.glob("adapter_model*"))) or "nothing"
        raise AdapterError(f"{folder}: needs adapter_model.safetensors (there is: {there}; pickled files are not read)")
    from safetensors.torch import load_file

    return load_file(path)
