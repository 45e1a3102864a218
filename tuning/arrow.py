"""`create_arrow_model`: LoRA adapters of several tasks on one base, with a router that chooses among them for each token."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from tuning.config import FILE
from tuning.errors import CheckpointError, ConfigError, NotLinear
from tuning.initialising import takes_part
from tuning.kinds import LINEAR
from tuning.methods._arrow import GENERAL
from tuning.methods._lora_config import VARIANTS, LoraConfig
from tuning.methods._lora_options import ArrowConfig
from tuning.model import PeftModel

TASK, ROUTER = "task_", "arrow_router"


def create_arrow_model(
    base_model: nn.Module,
    task_specific_adapter_paths: Sequence[str],
    arrow_config: ArrowConfig,
    general_adapter_paths: Sequence[str] | None = None,
    **adapter_kwargs: Any,
) -> PeftModel:
    """The base with a LoRA adapter from each folder, named `task_0`, …, and the router, which is used. Options of loading are for each of
    them. With `use_gks` the mean of the general adapters is subtracted from the others in the first call, for good.

    Raises ConfigError where adapters can't be mixed, NotLinear, CheckpointError, TargetError.
    """
    if not task_specific_adapter_paths:
        raise ConfigError("`task_specific_adapter_paths` should contain at least one adapter path")
    if arrow_config.use_gks and not general_adapter_paths:
        raise ConfigError("You should provide general LoRA paths if you want to use GenKnowSub.")
    paths = {f"{TASK}{place}": path for place, path in enumerate(task_specific_adapter_paths)}
    arrow_config.task_adapter_names = list(paths)
    general = general_adapter_paths if arrow_config.use_gks and general_adapter_paths else ()
    arrow_config.gks_adapter_names = [f"{GENERAL}{place}" for place in range(len(general))]
    paths |= dict(zip(arrow_config.gks_adapter_names, general, strict=True))
    (first, path), *others = paths.items()
    model = PeftModel.from_pretrained(base_model, adapter_name=first, **_source(path, adapter_kwargs))
    for name, path in others:
        model.load_adapter(adapter_name=name, **_source(path, adapter_kwargs))
    targets, r = _in_common(model, list(paths))
    model.add_adapter(ROUTER, LoraConfig(arrow_config=arrow_config, target_modules=targets, r=r))
    model.set_adapter(ROUTER)
    return model


def resolve_adapter_source(path: str) -> tuple[str, str | None]:
    """(folder, None), or of a place on the hub "owner/name/folder…" (repository, folder in it). Raises CheckpointError."""
    if Path(path).is_dir():
        if not (Path(path) / FILE).is_file():
            raise CheckpointError(f"Local adapter path '{path}' does not contain '{FILE}'.")
        return path, None
    owner, *rest = path.strip("/").split("/")
    return (f"{owner}/{rest[0]}", "/".join(rest[1:]) or None) if rest else (path, None)


def _source(path: str, options: dict[str, Any]) -> dict[str, Any]:
    where, subfolder = resolve_adapter_source(path)
    return {"subfolder": subfolder, **options, "model_id": where}


def _in_common(model: PeftModel, names: Sequence[str]) -> tuple[set[str], int]:
    """The ends of the paths of all adapters' layers, and their rank. Raises ConfigError where they differ, NotLinear."""
    tuner = model.tuner_for("create_arrow_model")
    found: dict[str, tuple[int, dict[str, Any]]] = {}
    for name in names:
        config, layers = tuner.peft_config[name], tuner.layers_of(name)
        if not isinstance(config, LoraConfig):
            raise ConfigError(f"[{name}] is {config.METHOD}; Arrow mixes LORA adapters")
        if used := [option for option in VARIANTS if getattr(config, option)]:
            raise ConfigError(f"[{name}] has {used[0]}, and Arrow mixes plain LoRA adapters")
        if takes_part(config.init_lora_weights):
            raise ConfigError(
                f"[{name}] began as a part of the base: save it as a plain LoRA (path_initial_model_for_weight_conversion)"
            )
        if wrong := next((path for path, layer in layers.items() if layer.frozen.role != LINEAR), None):
            raise NotLinear(f"LoRA adapters must only target Linear-like layers: [{name}] sits on '{wrong}'")
        shapes = {path: tuple(layer.adapters[name].factors[0].shape) for path, layer in layers.items()}  # type: ignore[attr-defined]
        found[name] = (config.r, shapes)
    first, (r, shapes) = next(iter(found.items()))
    for name, (own, others) in found.items():
        if own != r:
            raise ConfigError(f"[{name}] rank mismatch: {own}, and {r} of [{first}]")
        if others != shapes:
            raise ConfigError(f"[{name}] target_modules mismatch: its layers or ranks are not those of [{first}]")
    return {path.rpartition(".")[2] for path in shapes}, r
