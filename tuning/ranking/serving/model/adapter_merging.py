"""Adapters put into a base's weights, in numpy: LoRA, DoRA and IA3 as `train` makes them. Of other methods the PEFT engine does it.

AdapterError names an adapter that fits only in part: nothing of it is used then.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuning.errors import AdapterError
from tuning.ranking.serving.model.adapter_spec import Wanted
from tuning.ranking.serving.model.errors import ModelFileBroken, NeedsEngine
from tuning.ranking.serving.model.llama_weights import LlamaWeights, safetensors

Floats = NDArray[np.float32]

CONFIG, FILE = "adapter_config.json", "adapter_model.safetensors"
NAME = re.compile(r"base_model\.model\.model\.(?P<module>layers\.\d+\.\w+\.(?P<kind>\w+))\.(?P<part>.+)")
# Options that change what is computed, and that only the engine knows.
OF_ENGINE = ("layer_replication", "modules_to_save", "trainable_token_indices", "target_parameters", "use_qalora")

Config = Mapping[str, Any]
Parts = Mapping[str, Floats]


def with_adapters(weights: LlamaWeights, wanted: Sequence[Wanted]) -> LlamaWeights:
    """The base with these adapters in its weights, one after the other. Raises AdapterError, NeedsEngine."""
    for one in wanted:
        weights = replace(weights, changed={**weights.changed, **_changes(weights, one)})
    return weights


def _changes(weights: LlamaWeights, wanted: Wanted) -> dict[str, Floats]:
    config = _config(wanted.folder)
    merge = METHODS.get(str(config.get("peft_type")))
    odd = [name for name in OF_ENGINE if config.get(name)]
    if merge is None or odd or config.get("bias", "none") != "none":
        raise NeedsEngine(f"{wanted.folder}: {config.get('peft_type')} {' '.join(odd)}")
    try:
        tensors = {name: read() for name, read in safetensors(wanted.folder / FILE).items()}
    except (OSError, ModelFileBroken) as error:
        raise AdapterError(f"{wanted.folder} is no adapter that can be read: {error}") from error
    modules: dict[str, dict[str, Floats]] = {}
    for name, tensor in tensors.items():
        found = NAME.fullmatch(name)
        if found is None:
            raise NeedsEngine(f"{wanted.folder}: {name}")
        modules.setdefault(found["module"], {})[found["part"]] = tensor
    if not modules:
        raise AdapterError(f"{wanted.folder} holds no adapter")
    changes: dict[str, Floats] = {}
    for module, parts in modules.items():
        name = f"{module}.weight"
        try:
            weight = weights[name]
            changes[name] = merge(weight, parts, config, module, wanted.weight).astype(np.float32)
        except (KeyError, ValueError, ModelFileBroken) as error:
            raise AdapterError(
                f"{wanted.folder} fits this base only in part ({module}: {error}): it is not used"
            ) from error
        if changes[name].shape != weight.shape:
            raise AdapterError(f"{wanted.folder} fits this base only in part ({module}): it is not used")
    return changes


def _config(folder: Path) -> Config:
    try:
        found: Any = json.loads((folder / CONFIG).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise AdapterError(f"{folder} is no adapter that can be read: {error}") from error
    if not isinstance(found, dict):
        raise AdapterError(f"{folder / CONFIG} is no object")
    return found


def _lora(weight: Floats, parts: Parts, config: Config, module: str, times: float) -> Floats:
    """W + s · B A (Hu et al. 2021, section 4.1), and of DoRA m · (W + s · B A) / |W + s · B A| by row (Liu et al. 2024, equation 5)."""
    known = {"lora_A.weight", "lora_B.weight", *(("lora_magnitude_vector",) if config.get("use_dora") else ())}
    if set(parts) != known:
        raise NeedsEngine(f"{module}: {', '.join(sorted(set(parts) ^ known))}")
    rank = parts["lora_A.weight"].shape[0]
    alpha = _by_pattern(config.get("alpha_pattern"), module, config.get("lora_alpha", 8))
    scale = float(alpha) / (math.sqrt(rank) if config.get("use_rslora") else rank)
    added: Floats = parts["lora_B.weight"] @ parts["lora_A.weight"]
    changed: Floats = np.add(weight, times * scale * added, dtype=np.float32)
    if not config.get("use_dora"):
        return changed
    if times != 1:
        raise AdapterError("a DoRA adapter can't be weighed")
    size = np.linalg.norm(changed, axis=1)
    return (changed * (parts["lora_magnitude_vector"].ravel() / size)[:, None]).astype(np.float32)


def _ia3(weight: Floats, parts: Parts, config: Config, module: str, times: float) -> Floats:
    """W with its rows multiplied, or its columns where the module is a feed-forward one (Liu et al. 2022, section 3.3)."""
    if set(parts) != {"ia3_l"}:
        raise NeedsEngine(f"{module}: {', '.join(sorted(parts))}")
    if times != 1:
        raise AdapterError("an IA3 adapter can't be weighed")
    factors = parts["ia3_l"].ravel()
    of_columns = _is_among(config.get("feedforward_modules"), module)
    if len(factors) != weight.shape[1 if of_columns else 0]:
        raise ValueError(f"{len(factors)} numbers for a weight of {weight.shape}")
    return weight * (factors if of_columns else factors[:, None])


METHODS: Mapping[str, Callable[[Floats, Parts, Config, str, float], Floats]] = {"LORA": _lora, "IA3": _ia3}


def _is_among(names: Any, module: str) -> bool:
    if isinstance(names, str):
        return re.fullmatch(names, module) is not None
    return any(module == name or module.endswith(f".{name}") for name in names or ())


def _by_pattern(pattern: Any, module: str, usual: float) -> float:
    """PEFT's `alpha_pattern`: the first key that the module's name ends with, as a regular expression."""
    for key, value in (pattern or {}).items():
        if re.match(rf"(.*\.)?({key})$", f"model.{module}"):
            return value
    return usual
