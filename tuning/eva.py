"""EVA: A starts as the directions in which a layer's inputs vary most, and layers whose inputs need more of them get a higher rank (Paischer et
al. 2024, https://arxiv.org/abs/2410.07170).

    model = get_peft_model(base, LoraConfig(init_lora_weights="eva", eva_config=EvaConfig(rho=2.0)))
    initialize_lora_eva_weights(model, dataloader)
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from tuning.errors import AdapterError, ConfigError
from tuning.eva_search import Inputs, Pass, search, tensor_of
from tuning.kinds import LINEAR
from tuning.layers import AdaptedLayer
from tuning.patterns import value_for
from tuning.registry import LayerFamily, method_named
from tuning.state import tuner_of
from tuning.targets import find, resolved
from tuning.tuner import Tuner

PREFIX = "base_model.model."


def prepare_model_inputs_fn_language_modeling(model_input: Any, peft_config: Any) -> Tensor:
    """(samples, 2): row and place of the tokens whose inputs count: no padding, and with `use_label_mask` those that have a label."""
    if not isinstance(model_input, Mapping):
        raise ConfigError(
            f"a batch is {type(model_input).__name__}, and not a dict: give a prepare_model_inputs_fn for it"
        )
    ids = model_input["input_ids"]
    mask = model_input.get("attention_mask", torch.ones_like(ids)).bool()
    if peft_config.eva_config.use_label_mask and "labels" in model_input:
        mask = mask & (model_input["labels"] != peft_config.eva_config.label_mask_value)
    return mask.nonzero()


def prepare_layer_inputs_fn_language_modeling(layer_input: Any, model_input: Tensor, layer_name: str) -> Tensor:
    """(samples, features): a layer's inputs (rows, tokens, features) at the places that `prepare_model_inputs_fn_language_modeling` gave."""
    return tensor_of(layer_input, layer_name)[model_input.T.unbind()]


def forward_fn_dict(model: nn.Module, inputs: Mapping[str, Any]) -> Any:
    return model(**inputs)


@torch.no_grad()
def get_eva_state_dict(
    model: Any,
    dataloader: Any,
    peft_config: Any = None,
    forward_fn: Callable[..., Any] = forward_fn_dict,
    prepare_model_inputs_fn: Callable[..., Any] | None = prepare_model_inputs_fn_language_modeling,
    prepare_layer_inputs_fn: Inputs | Mapping[str, Inputs] | None = prepare_layer_inputs_fn_language_modeling,
    adapter_name: str = "default",
    gather_distributed_inputs: bool = True,
    show_progress_bar: bool = True,
) -> dict[str, Tensor]:
    """A layer's path -> directions (its rank, in) of its inputs, found in passes over `dataloader` (batches; it has a length) until they hold still.

    The model is a `PeftModel`, or one that `peft_config` is for. `forward_fn(model, batch)` runs it. `prepare_model_inputs_fn(batch, config)`
    makes what `prepare_layer_inputs_fn(a layer's input, that, the layer's path)` makes rows (samples, in) of; of the second there can be one by
    path, and None takes all inputs. Processes share their rows unless `gather_distributed_inputs` is False. Raises ConfigError.
    """
    config = peft_config if peft_config is not None else getattr(model, "peft_config", {}).get(adapter_name)
    if config is None:
        raise ConfigError("peft_config is required where the model has no adapter: give the LoraConfig that is meant")
    if len(dataloader) == 0:
        raise ConfigError("the dataloader is empty: EVA takes directions of data")
    ranks = _ranks(model, config, adapter_name)
    given = prepare_layer_inputs_fn
    if isinstance(given, Mapping) and (unknown := sorted(set(given) - set(ranks))):
        raise ConfigError(
            "prepare_layer_inputs_fn is a mapping but the following module names were not found in the model's adapted layers: "
            + ", ".join(unknown)
        )
    of_layer = {name: given.get(name) if isinstance(given, Mapping) else given for name in ranks}
    data = Pass(model, config, forward_fn, prepare_model_inputs_fn)
    inputs = {name: data.inputs(name, of_layer[name], gather_distributed_inputs) for name in ranks}
    off = model.disable_adapter() if hasattr(model, "peft_config") else nullcontext()
    training = model.training
    model.eval()
    try:
        with off:
            found, taken = search(model, config, dataloader, data, inputs, ranks, show_progress_bar)
    finally:
        model.train(training)
    state: dict[str, Tensor] = {}
    for name, (hook, rank) in taken.items():
        directions = found[hook].pca.components_[:rank]
        if config.eva_config.whiten:
            directions = directions / found[hook].pca.singular_values_[:rank, None].sqrt()
        state[name] = directions.clone()
    return state


def _ranks(model: Any, config: Any, adapter_name: str) -> dict[str, int]:
    """The path of each layer that can have directions -> the rank that it is asked for."""
    if hasattr(model, "peft_config"):
        layers = tuner_of(model, "get_eva_state_dict").layers_of(adapter_name)
        frozen = {f"{PREFIX}{path}": layer.frozen for path, layer in layers.items()}
    else:
        family = method_named(config.METHOD)
        assert isinstance(family, LayerFamily)
        config = copy.copy(config)
        config.target_modules = resolved(model, config, family)
        frozen = {layer.name: layer for layer in find(model, config, family)}
    return {
        path: value_for(config.rank_pattern, layer.name, config.r)
        for path, layer in frozen.items()
        if layer.role == LINEAR
    }


@torch.no_grad()
def initialize_lora_eva_weights(
    model: Any,
    dataloader: Any = None,
    eva_state_dict: Mapping[str, Tensor] | None = None,
    forward_fn: Callable[..., Any] = forward_fn_dict,
    prepare_model_inputs_fn: Callable[..., Any] | None = prepare_model_inputs_fn_language_modeling,
    prepare_layer_inputs_fn: Inputs | Mapping[str, Inputs] | None = prepare_layer_inputs_fn_language_modeling,
    adapter_name: str = "default",
    gather_distributed_inputs: bool = True,
    show_progress_bar: bool = True,
) -> None:
    """Let an adapter start as EVA has it: `eva_state_dict`, or what `get_eva_state_dict` finds in `dataloader`; see there for the rest.

    A layer that is given no direction loses the adapter. One that EVA knows nothing of (an embedding, a convolution) starts as ever. The config's
    target_modules, rank_pattern and alpha_pattern then say what was found. Raises ConfigError, AdapterError.
    """
    if adapter_name not in getattr(model, "peft_config", {}):
        raise ConfigError(
            f"initialize_lora_eva_weights: the model must be a PeftModel with an adapter '{adapter_name}'"
        )
    if len(model.active_adapters) > 1:
        raise AdapterError(f"EVA works with a single active adapter, and {', '.join(model.active_adapters)} are active")
    if str(model.peft_config[adapter_name].init_lora_weights).lower() != "eva":
        raise ConfigError(
            f"EVA can only be used with `init_lora_weights='eva'`, and the config of '{adapter_name}' says otherwise"
        )
    if eva_state_dict is None:
        if dataloader is None:
            raise ConfigError("a dataloader is required if eva_state_dict is not given")
        eva_state_dict = get_eva_state_dict(
            model, dataloader, None, forward_fn, prepare_model_inputs_fn, prepare_layer_inputs_fn,
            adapter_name, gather_distributed_inputs, show_progress_bar,
        )  # fmt: skip
    _start(tuner_of(model, "initialize_lora_eva_weights"), adapter_name, eva_state_dict)


def _start(tuner: Tuner, name: str, state: Mapping[str, Tensor]) -> None:
    config, missing = tuner.peft_config[name], []
    ranks, alphas, kept = {}, {}, []
    for path, layer in tuner.layers_of(name).items():
        found = state.get(f"{PREFIX}{path}", state.get(path))
        method: Any = layer.adapters[name]
        rank, alpha = method.r, method.lora_alpha
        if found is None:
            missing.append(path)
        elif len(found) == 0:
            tuner.take(name, path)
            continue
        else:
            rank = len(found)
            alpha = alpha * rank / method.r if config.eva_config.adjust_scaling_factors else alpha
        if rank != method.r or any(parameter.is_meta for parameter in method.parameters()):
            method = _anew(tuner, name, layer, rank, alpha)
        if found is not None:
            method.lora_A.weight.copy_(found)
        kept.append(path)
        ranks |= {path: rank} if rank != config.r else {}
        alphas |= {path: alpha} if alpha != config.lora_alpha else {}
    config.target_modules, config.rank_pattern, config.alpha_pattern = set(kept), ranks, alphas
    tuner.look()
    if missing:
        warnings.warn(
            "the following layers were initialized with init_lora_weights=True because they were not found in the eva state_dict: "
            f"{', '.join(missing)}. EVA is for linear layers", stacklevel=3,
        )  # fmt: skip


def _anew(tuner: Tuner, name: str, layer: AdaptedLayer, rank: int, alpha: float) -> Any:
    """The adapter of one layer made again, of another rank."""
    path, before = layer.frozen.name, layer.adapters[name]
    trained = any(parameter.requires_grad for parameter in before.parameters())
    dtype = next(before.parameters()).dtype
    config = copy.copy(tuner.peft_config[name])
    config.rank_pattern, config.alpha_pattern = {path: rank}, {path: alpha}
    made = tuner.family(name).layer(layer.frozen, config, None).to(device=layer.frozen.device, dtype=dtype)
    layer.take(name)
    layer.put(name, made)
    made.requires_grad_(trained)
    return made
