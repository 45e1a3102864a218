"""What virtual tokens are: a table that is learned, of the size that a model wants, given to it as embeddings or as keys and values."""

from __future__ import annotations

import inspect
import re
from typing import Any

import torch
from torch import Tensor, nn

from tuning.config import PromptConfig, TaskType
from tuning.errors import ConfigError

NAMES = {  # what a config here asks for -> the names that models' configs have for it
    "num_layers": ("num_hidden_layers", "num_layers", "n_layer"),
    "token_dim": ("hidden_size", "n_embd", "d_model"),
    "num_attention_heads": ("num_attention_heads", "n_head", "num_heads", "encoder_attention_heads"),
}

KEY = "prompt_embeddings"  # an adapter's tokens in a checkpoint, however they were computed
IGNORED = -100  # the label that a loss leaves out


class Table(nn.Module):
    """Virtual tokens that are learned as they are: (tokens, dimensions), from a normal distribution at the start."""

    def __init__(self, tokens: int, dimensions: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, dimensions)

    def forward(self) -> Tensor:
        return self.embedding.weight


def complete(config: PromptConfig, model: nn.Module, *, as_keys: bool) -> None:
    """Fill in the numbers that were left open, from the model's config. Raises ConfigError where it does not say them.

    Keys and values have their own number of heads where these are grouped (Ainslie et al. 2023, https://arxiv.org/abs/2305.13245):
    `num_attention_heads` and `token_dim` become theirs, whatever was given.
    """
    if config.num_virtual_tokens is None:
        raise ConfigError(f"{config.METHOD} needs num_virtual_tokens: how many to learn")
    if config.task_type is None:
        raise ConfigError(f"{config.METHOD} needs task_type: one of {', '.join(TaskType)}")
    own = text_config(model)
    for name, candidates in NAMES.items():
        if getattr(config, name) is None:
            found = [value for candidate in candidates if (value := getattr(own, candidate, None)) is not None]
            if not found:
                raise ConfigError(f"{type(model).__name__}'s config says none of {', '.join(candidates)}: give {name}")
            setattr(config, name, found[0])
    if config.num_transformer_submodules is None:
        config.num_transformer_submodules = 2 if config.task_type == TaskType.SEQ_2_SEQ_LM else 1
    if as_keys and (grouped := getattr(own, "num_key_value_heads", None)):
        head = getattr(own, "head_dim", None) or number(config.token_dim) // number(config.num_attention_heads)
        config.token_dim, config.num_attention_heads = head * grouped, grouped
    if getattr(config, "encoder_hidden_size", 0) is None:
        setattr(config, "encoder_hidden_size", config.token_dim)  # noqa: B010 — only those that compute the tokens have it


def number(value: int | None) -> int:
    """A number of a completed config."""
    assert value is not None, "complete() fills it in"
    return value


def table_size(config: PromptConfig, *, as_keys: bool) -> tuple[int, int]:
    """(tokens, dimensions) of a completed config's table; with two submodules PEFT keeps tokens for both."""
    tokens, dimensions = number(config.num_virtual_tokens), number(config.token_dim)
    if as_keys:
        return tokens, number(config.num_layers) * 2 * dimensions
    return tokens * number(config.num_transformer_submodules), dimensions


def text_config(model: nn.Module) -> Any:
    """The config of what reads text: the model's own, or a part's where there are several."""
    own: Any = getattr(model, "config", None)
    return own.get_text_config() if callable(getattr(own, "get_text_config", None)) else own


def word_embeddings(model: nn.Module) -> Any:
    """Raises ConfigError where a model has none, so that nothing can stand before them."""
    found: Any = getattr(model, "get_input_embeddings", lambda: None)()
    if found is None:
        raise ConfigError(
            f"{type(model).__name__} has no get_input_embeddings: virtual tokens go before embedded words"
        )
    return found


def cache_name(model: nn.Module) -> str:
    """What a model's forward calls its cache of keys and values (`cache` in transformers 5.24, `past_key_values` in 5.0); empty where it takes none."""
    there = inspect.signature(model.forward).parameters
    return next((name for name in ("cache", "past_key_values") if name in there), "")


def check_takes_keys(model: nn.Module) -> None:
    """Raises ConfigError where a model can't take keys and values that were computed before."""
    if not cache_name(model):
        raise ConfigError(
            f"prefix tuning gives a decoder keys and values, and {type(model).__name__} takes none: "
            "take prompt tuning or P-tuning, which put embeddings before the input"
        )
    own = text_config(model)
    if getattr(own, "global_head_dim", None) or len(_heads(own)) > 1:
        raise ConfigError(
            f"prefix tuning wants the same heads in all layers, and {type(model).__name__}'s layers differ"
        )
    if any(getattr(module, "gradient_checkpointing", False) for module in model.modules()):
        raise ConfigError(CHECKPOINTING)


def _heads(own: Any) -> set[tuple[int | None, int | None]]:
    """The (number, dimensions) of heads that the layers have, as far as a model's config says."""
    layers = getattr(own, "per_layer_config", None)
    if layers is None:
        return set()
    return {(getattr(layer, "num_key_value_heads", None), getattr(layer, "head_dim", None)) for layer in layers}


CHECKPOINTING = (
    "keys and values before the input: this does not work with gradient checkpointing, which computes layers again without the keys and values that it "
    "gives them: call gradient_checkpointing_disable(), or take prompt tuning"
)


def as_cache(model: nn.Module, config: PromptConfig, tokens: Tensor) -> Any:
    """A cache filled with a prefix: tokens (rows, virtual tokens, layers · 2 · dimensions) -> each layer's keys and values.

    With an encoder the prefix is the decoder's own, and what it takes from the encoder stays empty.
    """
    from transformers import DynamicCache, EncoderDecoderCache

    layers, heads = number(config.num_layers), number(config.num_attention_heads)
    rows, length, _ = tokens.shape
    states = tokens.view(rows, length, 2 * layers, heads, number(config.token_dim) // heads).permute(2, 0, 3, 1, 4)
    own = text_config(model)
    devices = _devices(model)
    cache: Any = DynamicCache(config=own)
    for layer in range(layers - (getattr(own, "num_kv_shared_layers", None) or 0)):
        # PEFT lays the table out twice for two submodules and cuts it in fours: layer i then has the states of layer 2i
        at = 2 * layer if config.num_transformer_submodules == 1 else 4 * layer % (2 * layers)
        keys, values = (states[index].to(devices.get(layer, tokens.device)) for index in (at, at + 1))
        cache.update(keys, values, layer)
    return cache if config.num_transformer_submodules == 1 else EncoderDecoderCache(cache, DynamicCache(config=own))


def _devices(model: nn.Module) -> dict[int, torch.device]:
    """A layer's number -> its device, where a model was laid over several."""
    if len(set(getattr(model, "hf_device_map", {}).values())) < 2:
        return {}
    found: dict[int, torch.device] = {}
    for path, parameter in model.named_parameters():
        if (layer := re.search(r"\.(\d+)\.", path)) is not None:
            found.setdefault(int(layer[1]), parameter.device)
    return found
