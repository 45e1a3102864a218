"""Layers that share the input embedding's weight: which they are, and what a config does with them."""

from __future__ import annotations

import re
import warnings
from typing import Any

from torch import nn

from tuning.config import LayerConfig
from tuning.errors import PeftWarning, TargetError
from tuning.kind_of import kind_of
from tuning.kinds import EMBEDDING, LINEAR
from tuning.registry import LayerFamily
from tuning.targets import ALL_LINEAR, base_of, candidates, matching

NAMES = ("embed_tokens", "lm_head")  # PEFT 0.21 ties what has one of these names, and nothing else


def words(model: Any) -> nn.Module | None:
    """The input embedding; None where a model has none. transformers' models of images say so by NotImplementedError."""
    try:
        return model.get_input_embeddings() if hasattr(model, "get_input_embeddings") else None
    except NotImplementedError:
        return None


def embedding_path(model: nn.Module) -> str:
    """The path of the input embedding. Raises TargetError."""
    found = words(model)
    embedding = None if found is None else base_of(found)
    for name, module in candidates(model):
        if module is embedding:
            return name
    raise TargetError(
        f"{type(model).__name__} has no get_input_embeddings, so its embedding can't be found: name the layer"
    )


def tied_paths(model: nn.Module) -> list[str]:
    """The paths of the other layers whose weight is the input embedding's: a tied output head, T5's embeddings of encoder and decoder."""
    if getattr(getattr(model, "config", None), "tie_word_embeddings", False) is False:
        return []
    layers = dict(candidates(model))
    embedding = embedding_path(model)
    weight = layers[embedding].get_parameter("weight")
    return [
        name
        for name, module in layers.items()
        if name != embedding and getattr(module, "weight", None) is weight and _ties(module)
    ]


def _ties(module: nn.Module) -> bool:
    kind = kind_of(module)
    return kind is not None and kind.role in (LINEAR, EMBEDDING)


def tied_layers(model: nn.Module) -> list[str]:
    """As `tied_paths`, of any model: none where it has no input embedding."""
    return tied_paths(model) if words(model) is not None else []


def targets_tied(config: LayerConfig, model: nn.Module) -> bool:
    """Whether `target_modules` name the input embedding, or a layer that PEFT ties."""
    asked = config.target_modules
    if asked is None or asked == ALL_LINEAR:
        return False
    if words(model) is not None and matching(asked, embedding_path(model)):
        return True
    if isinstance(asked, str):
        return any(re.fullmatch(asked, name) for name in NAMES)
    return any(name.rpartition(".")[2] in NAMES for name in asked)


def saves_tied(config: LayerConfig) -> bool:
    """Whether `modules_to_save` name a layer that PEFT ties."""
    return any(name.rpartition(".")[2] in NAMES for name in config.modules_to_save or ())


def warn_of_ties(config: LayerConfig, model: nn.Module, family: LayerFamily) -> None:
    """Warn where a config adapts one of several layers with one weight, or asks for ties that there are not."""
    asked = getattr(config, "ensure_weight_tying", None)
    tokens = getattr(config, "trainable_token_indices", None) is not None
    meant = targets_tied(config, model) or saves_tied(config)
    if not asked and not meant:
        return
    tied = bool(tied_layers(model))
    if asked and tokens and not tied:
        text = "ensure_weight_tying=True, and no layers of this model share a weight: each has rows of its own"
    elif asked and not tied:
        text = "ensure_weight_tying=True does nothing: no tied modules were found in the model"
    elif asked and not meant and not tokens:
        text = (
            "ensure_weight_tying=True does nothing: no tied modules are added to `modules_to_save` or `target_modules`"
        )
    elif asked is None and tied and not family.ties:
        text = f"{config.METHOD} adapts a layer whose weight others share, and can't adapt these alike: {_CHANGES}"
    elif asked is False and tied:
        text = f"the adapter changes a layer whose weight others share, and `ensure_weight_tying` is not set to True: {_CHANGES}"
    else:
        return
    warnings.warn(text, PeftWarning, stacklevel=5)


_CHANGES = "the others keep the base's weight, so that the merged model has untied weights"
