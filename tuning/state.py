"""An adapter's weights out of a model and into it, by PEFT's names and a checkpoint's keys."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from tuning import checkpoint
from tuning.errors import AdapterError
from tuning.kinds import EMBEDDING
from tuning.prompts import Prompts
from tuning.tuner import Tuner

INJECTED = "_adapters"  # where a model keeps what holds its adapters, that are there without a PeftModel around it


def get_peft_model_state_dict(
    model: nn.Module,
    state_dict: dict[str, Tensor] | None = None,
    adapter_name: str = "default",
    unwrap_compiled: bool = False,
    save_embedding_layers: str | bool = "auto",
) -> dict[str, Tensor]:
    """An adapter's weights by a checkpoint's keys: without its name. The tensors are the model's own.

    Of a model that adapters were injected into, the keys are as in the model.
    """
    model = uncompiled(model)
    base, held = getattr(model, "base_model", None), getattr(model, "held", None)
    if isinstance(held, Prompts):
        return held.saved(adapter_name)
    tuner = tuner_of(model, "get_peft_model_state_dict")
    embeddings = save_embedding_layers is True or (
        save_embedding_layers == "auto" and _embeddings_adapted(tuner, adapter_name)
    )
    prefix = "" if isinstance(base, Tuner) else checkpoint.PREFIX
    instead = None
    if state_dict is not None:
        names = {id(tensor): own for own, tensor in model.state_dict(keep_vars=True).items()}
        instead = {each: state_dict[own] for each, own in names.items() if own in state_dict}
    tensors = checkpoint.saved(tuner, adapter_name, embeddings=embeddings, instead=instead)
    return {key.removeprefix(prefix): tensor for key, tensor in tensors.items()}


def set_peft_model_state_dict(
    model: nn.Module,
    peft_model_state_dict: dict[str, Tensor],
    adapter_name: str = "default",
    ignore_mismatched_sizes: bool = False,
    low_cpu_mem_usage: bool = False,
) -> checkpoint.Loaded:
    """Put a checkpoint's weights into an adapter that is there: also a hot swap of one. Raises CheckpointError."""
    base, held = getattr(model, "base_model", None), getattr(model, "held", None)
    if isinstance(held, Prompts):
        return held.load(adapter_name, peft_model_state_dict)
    tensors = peft_model_state_dict
    if not isinstance(base, Tuner):
        tensors = {f"{checkpoint.PREFIX}{key.removeprefix(checkpoint.PREFIX)}": tensors[key] for key in tensors}
    tuner = tuner_of(model, "set_peft_model_state_dict")
    return checkpoint.load(tuner, adapter_name, tensors, ignore_mismatched=ignore_mismatched_sizes)


def uncompiled(model: nn.Module) -> nn.Module:
    """The model inside what torch.compile makes of one."""
    return dict(model.named_children()).get("_orig_mod", model)


def renamed(tensors: Mapping[str, Tensor], key_mapping: Mapping[str, str] | None) -> Mapping[str, Tensor]:
    """A checkpoint with patterns of keys replaced: of keys without PEFT's prefix, the first that fits, as in PEFT."""
    if not key_mapping:
        return tensors
    found: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        own = key.removeprefix(checkpoint.PREFIX)
        for pattern, into in key_mapping.items():
            new, count = re.subn(pattern, re.sub(r"\(.*\)", "", into.lstrip("^")), own)
            if count:
                own = new
                break
        found[f"{checkpoint.PREFIX}{own}" if key.startswith(checkpoint.PREFIX) else own] = tensor
    return found


def tuner_of(model: nn.Module, what: str) -> Tuner:
    """What holds a model's adapters, in a `PeftModel` or injected. Raises AdapterError where none sits on a layer."""
    if isinstance(base := getattr(model, "base_model", None), Tuner):
        return base
    if isinstance(getattr(model, "held", None), Prompts):
        raise AdapterError(f"{what} is for adapters that sit on layers; virtual tokens have no weights in them")
    if INJECTED not in model.__dict__:
        raise AdapterError(
            f"{what}: {type(model).__name__} has no adapters; use get_peft_model or inject_adapter_in_model"
        )
    return model.__dict__[INJECTED]


def _embeddings_adapted(tuner: Tuner, name: str) -> bool:
    """Whether an adapter sits on an embedding: its base is then saved with it, as PEFT does."""
    adapted = any(
        layer.frozen.role == EMBEDDING and layer.adapters[name].saves_embedding
        for layer in tuner.layers_of(name).values()
    )
    return adapted or _resized(tuner, name)


def _resized(tuner: Tuner, name: str) -> bool:
    """Whether the vocabulary is another than the base's, as its folder says it: new rows are nowhere else then."""
    here = getattr(getattr(tuner.model, "config", None), "vocab_size", None)
    named = tuner.peft_config[name].base_model_name_or_path
    path = Path(str(named)) / "config.json" if named else None
    if here is None or path is None or not path.is_file():
        return False
    there = json.loads(path.read_bytes()).get("vocab_size")
    if there is None or there == here:
        return False
    warnings.warn(
        f"the vocabulary has {here} tokens and its base {there}: the embeddings are saved with the adapter",
        stacklevel=4,
    )
    return True
