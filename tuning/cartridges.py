"""Cartridges, and prefixes, that start as the keys and values of a text; several put together as one (section 3 of Eyuboglu et al. 2025,
https://arxiv.org/abs/2506.06266).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tuning import checkpoint
from tuning.config import PeftConfig
from tuning.errors import AdapterError, CheckpointError, ConfigError
from tuning.methods.cartridge import CartridgeConfig
from tuning.virtual import KEY, number

SAME = ("task_type", "token_dim", "num_layers", "num_attention_heads", "num_transformer_submodules")


def prompt_embeddings_from_past_key_values(past_key_values: Any, *, num_virtual_tokens: int) -> Tensor:
    """The first keys and values of a cache of one row, as an adapter has them: (virtual tokens, layers · 2 · dimensions).

    The cache is one of transformers', or (keys, values) of each layer, each (1, heads, tokens, dimensions of a head). Raises ConfigError.
    """
    layers = [(layer[0], layer[1]) for layer in past_key_values]
    if not layers:
        raise ConfigError("Empty `past_key_values`.")
    shapes = {tuple(states.shape) for pair in layers for states in pair}
    shape = next(iter(shapes))
    if len(shapes) > 1 or len(shape) != 4 or shape[0] != 1:
        raise ConfigError(
            f"a cache of one row and the same heads in all layers is needed, (1, heads, tokens, dimensions), batch=1; got {sorted(shapes)}"
        )
    if shape[2] < num_virtual_tokens:
        raise ConfigError(f"Need at least {num_virtual_tokens} cached tokens, got {shape[2]}.")
    states = [states[0, :, :num_virtual_tokens].transpose(0, 1) for pair in layers for states in pair]
    return torch.stack(states, dim=1).flatten(1)


@torch.no_grad()
def initialize_kv_prefix_from_past_key_values(
    model: Any, *, adapter_name: str | None = None, past_key_values: Any, num_virtual_tokens: int | None = None
) -> Tensor:
    """Let an adapter (the active one) start as a cache's first keys and values, and return these. Raises AdapterError, ConfigError."""
    config = _for_keys(model, adapter_name)
    count = number(config.num_virtual_tokens) if num_virtual_tokens is None else num_virtual_tokens
    states = prompt_embeddings_from_past_key_values(past_key_values, num_virtual_tokens=count)
    model.held.load(adapter_name or model.active_adapter, {KEY: states})
    return states


@torch.no_grad()
def initialize_kv_prefix_from_text(
    model: Any,
    tokenizer: Any,
    *,
    text: str,
    adapter_name: str | None = None,
    num_virtual_tokens: int | None = None,
    use_chat_template: bool = True,
    max_length: int | None = None,
) -> Tensor:
    """The same with the keys and values that the base has for a text, as a system's message where the tokenizer has a template."""
    _for_keys(model, adapter_name)
    ids: Tensor
    if use_chat_template and getattr(tokenizer, "chat_template", None):
        ids = tokenizer.apply_chat_template(
            [{"role": "system", "content": text}], add_generation_prompt=False, return_dict=False, return_tensors="pt"
        )
    else:
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
    ids = ids[:, :max_length].to(model.device)
    with model.disable_adapter():
        output = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=True)
    cache = getattr(output, "cache", None) or output.past_key_values
    return initialize_kv_prefix_from_past_key_values(
        model, adapter_name=adapter_name, past_key_values=cache, num_virtual_tokens=num_virtual_tokens
    )


def _for_keys(model: Any, adapter_name: str | None) -> Any:
    """The config of an adapter that is keys and values as they are. Raises AdapterError."""
    name = adapter_name or model.active_adapter
    config = model.peft_config[name]
    if config.METHOD not in ("CARTRIDGE", "PREFIX_TUNING"):
        raise AdapterError(f"Adapter '{name}' must be a CARTRIDGE or PREFIX_TUNING adapter (got {config.METHOD}).")
    if getattr(config, "prefix_projection", False):
        raise AdapterError(
            f"'{name}' computes its prefix (prefix_projection=True), so it can't start as keys and values"
        )
    return config


def compose_cartridge_adapters(
    adapter_paths: Sequence[str | os.PathLike[str]],
    *,
    output_path: str | os.PathLike[str],
    safe_serialization: bool = True,
) -> None:
    """Write an adapter whose tokens are those of several, one after another. Raises CheckpointError, ConfigError."""
    folders = [Path(path) for path in adapter_paths]
    if len(folders) < 2:
        raise ConfigError("Need at least 2 adapters to compose.")
    configs = [PeftConfig.from_pretrained(folder) for folder in folders]
    for folder, config in zip(folders, configs, strict=True):
        if config.METHOD != CartridgeConfig.METHOD:
            raise CheckpointError(f"Adapter at '{folder}' is not a CARTRIDGE adapter (got {config.METHOD}).")
        for option in SAME:
            if getattr(config, option) != getattr(configs[0], option):
                raise ConfigError(
                    f"Incompatible CARTRIDGE configs for attribute '{option}': that of '{folder}' differs"
                )
    tokens = torch.cat([checkpoint.read(folder)[KEY] for folder in folders])
    whole: Any = configs[0]
    writing = checkpoint.writing if safe_serialization else checkpoint.writing_pickled
    with writing(Path(output_path), {KEY: tokens}):
        replace(whole, num_virtual_tokens=len(tokens)).save_pretrained(output_path)
