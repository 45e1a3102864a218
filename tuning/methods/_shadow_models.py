"""ShadowPEFT's small model beside the base: made like it, or read from a folder."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from tuning import hub
from tuning.errors import CheckpointError, ConfigError
from tuning.methods._shadow_config import MIRROR, ShadowConfig

PROJECTED = "causal_lm_with_hidden_projection"  # a model's type that has a projection to a larger one's hidden states
WIDTHS = ("hidden_size", "n_embd", "d_model")
NAMES: dict[str, tuple[str, ...]] = {  # a size -> what models' configs call it
    "shadow_num_hidden_layers": ("num_hidden_layers", "n_layer", "num_layers"),
    "shadow_hidden_size": WIDTHS,
    "shadow_intermediate_size": ("intermediate_size", "ffn_dim", "n_inner"),
    "shadow_num_attention_heads": ("num_attention_heads", "n_head", "num_heads"),
}


def backbone(model: nn.Module) -> tuple[Any, str]:
    """The part of a model that holds its blocks, and their name in it. Raises ConfigError."""
    for name in ("model", "transformer", "base_model", "decoder"):
        part = getattr(model, name, None)
        for each in (getattr(part, "decoder", None), part):
            for blocks in ("layers", "h"):
                if isinstance(each, nn.Module) and isinstance(getattr(each, blocks, None), nn.ModuleList):
                    return each, blocks
    raise ConfigError(
        f"SHADOW goes beside a decoder's blocks, of which {type(model).__name__} has no list (`layers`, `h`): use PEFT for it"
    )


def width(config: Any) -> int:
    return next(int(getattr(config, name)) for name in WIDTHS if hasattr(config, name))


def made(config: ShadowConfig, model: nn.Module) -> tuple[Any, nn.Module | None]:
    """The small model, and its own projection to the base's width where it has one. Raises ConfigError, CheckpointError."""
    return (mirror(config, model), None) if config.shadow_model == MIRROR else read(config.shadow_model)


def mirror(config: ShadowConfig, model: nn.Module) -> Any:
    base, _ = backbone(model)
    small = copy.deepcopy(base.config)
    for option, names in NAMES.items():
        value = getattr(config, option) or (1 if option == "shadow_num_hidden_layers" else None)
        if value is not None:
            own = next((name for name in names if hasattr(small, name)), None)
            if own is None:
                raise ConfigError(f"{option}: {type(small).__name__} has none of {', '.join(names)}")
            setattr(small, own, value)
    layers = small.num_hidden_layers
    if kinds := list(getattr(small, "layer_types", None) or ()):
        small.layer_types = (kinds + kinds[-1:] * layers)[:layers]
    if (getattr(small, "max_window_layers", None) or 0) > layers:
        small.max_window_layers = layers
    return type(base)(small)


def read(where: str) -> tuple[Any, nn.Module | None]:
    from transformers import AutoConfig, AutoModel

    if not Path(where).is_dir():
        if not hub.allowed():
            raise CheckpointError(
                f"shadow_model: {where} is no folder. If it is on the hub, allow the connection: TUNING_ONLINE=1"
            )
        from huggingface_hub import snapshot_download

        where = snapshot_download(where)
    try:
        found = json.loads((Path(where) / "config.json").read_bytes())
        if found.get("model_type") != PROJECTED:
            return AutoModel.from_pretrained(where, local_files_only=True), None
        tensors = load_file(Path(where) / "model.safetensors")
        model = AutoModel.from_config(AutoConfig.for_model(**found["shadow_model_config"]))
        own = {
            key.removeprefix("shadow_model."): each for key, each in tensors.items() if key.startswith("shadow_model.")
        }
        model.load_state_dict(own)
        weight = tensors["shadow_hidden_projection.weight"]
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"shadow_model: {where} can't be read: {error}") from error
    projection = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    projection.weight.data = weight
    return model, projection
