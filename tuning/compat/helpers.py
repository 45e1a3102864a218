"""Functions and tables that PEFT has beside its models."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any

import torch
from torch import Tensor, nn

from tuning import targets, tied
from tuning.checkpoint import Loaded
from tuning.config import LayerConfig, PeftConfig, TaskType
from tuning.errors import AdapterError, CheckpointError
from tuning.layers import AdaptedLayer
from tuning.peft_types import PeftType
from tuning.registry import LayerFamily, methods
from tuning.saved import SavedModule
from tuning.state import tuner_of
from tuning.tasks import PeftModel
from tuning.tuners import tuner_class

WEIGHTS_NAME = "adapter_model.bin"
DUMMY_MODEL_CONFIG = {"model_type": "custom"}
MIN_TARGET_MODULES_FOR_OPTIMIZATION = 20
TRANSFORMERS_MODELS_TO_PREFIX_TUNING_POSTPROCESS_MAPPING: Mapping[str, Any] = {}

_OF_LAYERS = {PeftType(name): family for name, family in methods().items() if isinstance(family, LayerFamily)}
PEFT_TYPE_TO_CONFIG_MAPPING = {PeftType(name): family.config for name, family in methods().items()}
PEFT_TYPE_TO_TUNER_MAPPING = {kind: tuner_class(kind.value) for kind in _OF_LAYERS}
PEFT_TYPE_TO_MIXED_MODEL_MAPPING = PEFT_TYPE_TO_TUNER_MAPPING
PEFT_TYPE_TO_PREFIX_MAPPING = {kind: family.prefix for kind, family in _OF_LAYERS.items()}
MODEL_TYPE_TO_PEFT_MODEL_MAPPING = {task: PeftModel.for_task(task) for task in TaskType}


def infer_device() -> str:
    """The device that models are on where nothing else is said: an accelerator's, or the CPU."""
    found = torch.accelerator.current_accelerator()
    return "cpu" if found is None or not torch.accelerator.is_available() else found.type


def cast_mixed_precision_params(model: nn.Module, dtype: torch.dtype) -> None:
    """Frozen parameters to a precision, trained ones to float32."""
    for parameter in model.parameters():
        if parameter.dtype.is_floating_point:
            parameter.data = parameter.data.to(torch.float32 if parameter.requires_grad else dtype)


def check_if_peft_model(model_name_or_path: str) -> bool:
    """Whether a folder or a repository on the hub has an adapter's config."""
    try:
        PeftConfig.from_pretrained(model_name_or_path)
    except (CheckpointError, OSError):
        return False
    return True


@contextmanager
def init_empty_weights() -> Generator[None]:
    """Inside the `with`, modules are made without memory: on the meta device."""
    with torch.device("meta"):
        yield


def skip_init_on_device(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which inside `init_empty_weights` makes modules with memory all the same."""

    @wraps(function)
    def inside(*args: Any, **kwargs: Any) -> Any:
        if torch.get_default_device().type != "meta":
            return function(*args, **kwargs)
        with torch.device("cpu"):
            return function(*args, **kwargs)

    return inside


def get_submodules(model: nn.Module, key: str) -> tuple[nn.Module, nn.Module, str]:
    """(parent, module, name in its parent) of the module at a path."""
    parent, _, name = key.rpartition(".")
    return model.get_submodule(parent), model.get_submodule(key), name


@contextmanager
def rescale_adapter_scale(model: nn.Module, multiplier: float) -> Generator[None]:
    """Inside the `with`, LoRA's scaling is so much larger. Raises TypeError, ValueError."""
    if not isinstance(multiplier, (int, float)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"multiplier should be of type float or int, and is {type(multiplier).__name__}")
    found: list[Any] = [
        module for module in model.modules() if isinstance(module, AdaptedLayer) and "scaling" in module.__dict__
    ]
    if not found:
        raise ValueError(f"no layer of {type(model).__name__} has a scaling: put a LoRA adapter on it first")
    before = [dict(layer.scaling) for layer in found]
    for layer in found:
        layer.scaling = {name: value * multiplier for name, value in layer.scaling.items()}
    try:
        yield
    finally:
        for layer, values in zip(found, before, strict=True):
            layer.scaling = values


def set_adapter(model: nn.Module, adapter_name: str | Sequence[str], inference_mode: bool = False, **_: Any) -> None:
    tuner_of(model, "set_adapter").set_adapter(adapter_name, inference_mode=inference_mode)


def delete_adapter(model: nn.Module, adapter_name: str, prefix: str = "", **_: Any) -> None:
    tuner_of(model, "delete_adapter").delete_adapter(adapter_name)


def set_requires_grad(model: nn.Module, adapter_names: str | Sequence[str], requires_grad: bool = True) -> None:
    tuner_of(model, "set_requires_grad").set_requires_grad(adapter_names, requires_grad)


def cast_adapter_dtype(model: nn.Module, adapter_name: str, autocast_adapter_dtype: bool = True) -> None:
    """An adapter in half precision to float32."""
    for method in tuner_of(model, "cast_adapter_dtype").methods(adapter_name) if autocast_adapter_dtype else ():
        for parameter in method.parameters():
            if parameter.dtype in (torch.float16, torch.bfloat16):
                parameter.data = parameter.data.float()


def get_base_model_state_dict(model: PeftModel) -> dict[str, Tensor]:
    """The base's weights by the names that they have without adapters."""
    return dict(_of_base(model))


def set_base_model_state_dict(model: PeftModel, state_dict: Mapping[str, Tensor], strict: bool = True) -> Any:
    """Put weights into the base by the names that they have without adapters. Raises RuntimeError with `strict`."""
    there = _of_base(model)
    missing = [name for name in there if name not in state_dict]
    unexpected = [name for name in state_dict if name not in there]
    if strict and (missing or unexpected):
        raise RuntimeError(
            f"Error(s) in loading state_dict: Missing key(s): {missing[:4]}. Unexpected key(s): {unexpected[:4]}."
        )
    with torch.no_grad():
        for name, tensor in state_dict.items():
            if name in there:
                there[name].copy_(tensor)
    return Loaded(missing, unexpected)


def _of_base(model: PeftModel) -> dict[str, Tensor]:
    base = model.get_base_model()
    ours = {id(tensor) for module in base.modules() for tensor in _adapters_tensors(module)}
    found = base.state_dict(keep_vars=True)
    return {
        re.sub(r"(^|\.)(base_layer|original_module)(?=\.)", "", name).removeprefix("."): tensor
        for name, tensor in found.items()
        if id(tensor) not in ours
    }


def _adapters_tensors(module: nn.Module) -> list[Tensor]:
    if isinstance(module, AdaptedLayer):
        return [tensor for _, method in module.methods() for tensor in (*method.parameters(), *method.buffers())] + [
            tensor for key, child in module.named_children() if key != "base_layer" for tensor in child.buffers()
        ]
    return list(module.modules_to_save.state_dict(keep_vars=True).values()) if isinstance(module, SavedModule) else []


def check_target_module_exists(config: LayerConfig, key: str) -> bool:
    return targets.targeted(config, key)


def inspect_matched_modules(tuner: Any, adapter_name: str = "default") -> dict[str, list[str]]:
    """Paths that an adapter's config means, and those that it does not."""
    config = tuner.peft_config[adapter_name]
    found: dict[str, list[str]] = {"matched": [], "unmatched": []}
    for name, _ in targets.outer(tuner.model):
        if name:
            found["matched" if targets.targeted(config, name) else "unmatched"].append(name)
    return found


def find_minimal_target_modules(target_modules: Collection[str], other_module_names: Collection[str]) -> set[str]:
    """Ends of paths, as few as mean all of `target_modules` and none of the others. Raises ValueError."""
    if not target_modules or isinstance(target_modules, str) or "" in target_modules:
        raise ValueError(
            "target_modules should be a list or set of strings: the paths that are meant"
            if not target_modules or isinstance(target_modules, str)
            else "target_modules holds an empty string, which is no path of a layer"
        )
    others = set(other_module_names)
    if overlap := set(target_modules) & others:
        raise ValueError(
            f"both target_modules and other_module_names have {', '.join(sorted(overlap))}: a path is meant, or it is not"
        )
    found: set[str] = set()
    for name in sorted(target_modules):
        parts = name.split(".")
        ends = [".".join(parts[start:]) for start in range(len(parts) - 1, -1, -1)]
        end = next(
            (end for end in ends if not any(other == end or other.endswith(f".{end}") for other in others)), name
        )
        found.add(end)
    return {end for end in found if not any(end != other and end.endswith(f".{other}") for other in found)}


def maybe_include_all_linear_layers(peft_config: LayerConfig, model: nn.Module) -> LayerConfig:
    """The config with "all-linear" as the layers that it means."""
    asked = peft_config.target_modules
    if isinstance(asked, str) and asked.lower() == targets.ALL_LINEAR:
        peft_config.target_modules = targets.all_linear(model, peft_config)
    return peft_config


def get_module_names_tied_with_embedding(model: nn.Module) -> list[str]:
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    return sorted(tied.tied_layers(base))


def get_no_split_modules(model: nn.Module) -> set[str]:
    """The classes of modules that are not to be split over devices, as a model and its parts name them."""
    return {name for module in model.modules() for name in (getattr(module, "_no_split_modules", None) or ())}


def fsdp_auto_wrap_policy(model: nn.Module) -> Any:
    """Which modules FSDP shards by themselves: the layers that must not be split, and what is trained."""
    from torch.distributed.fsdp import wrap
    from torch.distributed.fsdp.wrap import lambda_auto_wrap_policy, transformer_auto_wrap_policy

    named = get_no_split_modules(model)
    classes = {type(module) for module in model.modules() if type(module).__name__ in named}
    if named and not classes:
        raise AdapterError(f"{type(model).__name__} has none of the modules that it says are not to be split: {named}")

    def trained(module: nn.Module) -> bool:
        weight = getattr(module, "weight", None)
        return isinstance(weight, Tensor) and weight.requires_grad and not list(module.children())

    policies = [
        partial(lambda_auto_wrap_policy, lambda_fn=trained),
        partial(transformer_auto_wrap_policy, transformer_layer_cls=classes),
    ]
    return partial(getattr(wrap, "_or_policy"), policies=policies)  # noqa: B009


def build_peft_weight_mapping(
    weight_conversions: list[Any] | None, adapter_name: str, peft_config: Any = None
) -> list[Any]:
    """How a checkpoint's keys become those of a model with this adapter, in transformers' terms."""
    from transformers.core_model_loading import WeightRenaming

    family = methods()[peft_config.METHOD] if peft_config is not None else None
    found = [WeightRenaming("base_model.model.model.", "model."), WeightRenaming("base_model.model.", "")]
    if isinstance(family, LayerFamily):
        found.append(WeightRenaming(rf"({re.escape(family.prefix)}[^\.]*)", rf"\1.{adapter_name}"))
    return [*found, *(entry for entry in weight_conversions or () if isinstance(entry, WeightRenaming))]
