"""What a model is given, when virtual tokens stand before it: masks and labels that are longer, limits that are not."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tuning.errors import ConfigError


def by_name(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """What a function is given, each by its name."""
    return {**inspect.signature(function).bind_partial(*args).arguments, **kwargs}


def first_of(inputs: Mapping[str, Any]) -> Tensor:
    """What comes in: token ids (rows, tokens), or embeddings (rows, tokens, dimensions). Raises ConfigError."""
    for name in ("input_ids", "inputs_embeds"):
        if inputs.get(name) is not None:
            return inputs[name]
    raise ConfigError(f"input_ids or inputs_embeds are what is read; there are {', '.join(inputs) or 'no inputs'}")


def longer(rows: Tensor | None, length: int, value: int) -> Tensor | None:
    """(rows, tokens) with `length` columns of a value before it. Raises ConfigError where it has another shape."""
    if rows is None:
        return None
    if rows.ndim != 2:
        raise ConfigError(f"with virtual tokens, masks and labels are (rows, tokens); one has {rows.ndim} dimensions")
    return torch.cat([rows.new_full((len(rows), length), value), rows], dim=1)


def seeing(mask: Tensor | None, length: int) -> Tensor | None:
    """A mask whose tokens all see `length` keys more, before their own. Raises ConfigError where it has another shape.

    (rows, tokens), or (rows, heads, tokens, keys) of what is added to the scores, or of whether a token sees a key.
    """
    if mask is None or mask.ndim != 4:
        return longer(mask, length, 1)
    return torch.cat([mask.new_full((*mask.shape[:3], length), mask.dtype == torch.bool), mask], dim=3)


def mask_of(given: Mapping[str, Any], settings: Any) -> Tensor:
    """The attention mask where none was given: padding is what has the padding's id, unless this ends a text too."""
    first = first_of(given)
    padding, ends = (
        found if (found := given.get(name)) is not None else getattr(settings, name, None)
        for name in ("pad_token_id", "eos_token_id")
    )
    ends = ends if isinstance(ends, list) else [ends]
    if first.ndim == 2 and padding is not None and padding not in ends:
        return (first != padding).long()
    return torch.ones(first.shape[:2], dtype=torch.long, device=first.device)


def copies(given: Mapping[str, Any], model: Any) -> int:
    """How many rows `generate` makes of each: as its options say, else its generation_config, else the model's."""
    settings = (given.get("generation_config"), getattr(model, "generation_config", None))
    return max(
        given.get(option) or next((value for each in settings if (value := getattr(each, option, None))), 1)
        for option in ("num_beams", "num_return_sequences")
    )


def counting_new(given: Mapping[str, Any], settings: Any, length: int) -> dict[str, Any]:
    """Limits that count the input's `length` tokens, as ones that count new tokens only: the virtual ones are in no limit."""
    limits: dict[str, Any] = {}
    for whole, new in (("max_length", "max_new_tokens"), ("min_length", "min_new_tokens")):
        asked = given.get(whole) or getattr(settings, whole, None)
        if asked and given.get(new) is None and getattr(settings, new, None) is None:
            limits[new] = max(asked - length, 0)
    return {key: value for key, value in given.items() if key not in ("max_length", "min_length")} | limits
