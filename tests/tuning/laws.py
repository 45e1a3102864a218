"""Models for the laws of all methods: a tiny Llama with adapters of any of them."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import tuning
from tests.tuning import oracle
from tests.tuning.cases_apart import NEEDED_APART
from tests.tuning.oracle import shaken, tasks, tokens
from tuning.layers import adapted_layers
from tuning.registry import LayerFamily, methods

NEEDED: dict[str, dict[str, Any]] = {  # what a method's config can't do without, or what a tiny model needs
    "ADALORA": {"total_step": 100},
    "TRAINABLE_TOKENS": {"token_indices": [1, 5, 7, 30, 40]},
    "FOURIERFT": {"n_frequency": 100},
    "MISS": {"r": 8},
    "ROAD": {"group_size": 16},
    "SHIRA": {"r": 2},
    "C3A": {"block_size": 8},
    "WAVEFT": {"n_frequency": 100},
    "VBLORA": {"vector_length": 8, "num_vectors": 16},
    "ADAMSS": {"r": 8, "subspace_rank": 3},
    "PVERA": {"r": 4},  # more of its draws would hide in a few steps what they learn
    **NEEDED_APART,
}
NOT_THE_IDENTITY: dict[str, dict[str, Any]] = {  # their default start is random, or trained
    "FOURIERFT": {"init_weights": True},
    "C3A": {"init_weights": True},
    "VBLORA": {"init_vector_bank_bound": 0.0},
    "UNILORA": {"init_theta_d_bound": 1e-9},
    "XLORA": {"global_scaling_weight": 0.0},
}
WITHOUT_GRADIENT = {"SHADOW": r"layers\.1\.shadow_update"}  # nothing uses the state after the last block
ONE_AT_A_TIME: set[str] = {"LN_TUNING", "TRAINABLE_TOKENS"}  # takes the layer's place: of two the last one holds
REPLACES: set[str] = {"DEFT"}  # starts by putting back what the base alone has, whatever the layer below it has

tiny_llama = partial(oracle.tiny_llama, bias=True)  # some methods are merged into biases alone
ALL = sorted(methods())
LAYERS = [name for name in ALL if isinstance(methods()[name], LayerFamily)]

MERGED = [name for name in LAYERS if methods()[name].merges]


def config(method: str, **options: Any) -> tuning.PeftConfig:
    needed = {} if isinstance(methods()[method], LayerFamily) else {"num_virtual_tokens": 4}
    return methods()[method].config(task_type="CAUSAL_LM", **needed, **NEEDED.get(method, {}), **options)


def adapted(
    method: str, dtype: torch.dtype = torch.float64, *, start: bool = False, autocast: bool = False, **options: Any
) -> tuning.PeftModel:
    """A tiny Llama with an adapter of the method; trained a bit, as it were, unless it is to stand at its `start`."""
    torch.manual_seed(7)
    model = tuning.get_peft_model(tiny_llama().to(dtype), config(method, **options), autocast_adapter_dtype=autocast)
    if not start:
        shaken(model)
    return model.eval()


def with_two(method: str) -> tuning.PeftModel:
    model = adapted(method)
    torch.manual_seed(8)
    model.add_adapter("other", config(method), autocast_adapter_dtype=False)
    model.set_adapter("other")
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn_like(parameter)
    model.set_adapter("default")
    return model.eval()


def logits(model: nn.Module, x: Tensor | None = None, **options: Any) -> Tensor:
    with torch.no_grad():
        x = tokens() if x is None else x
        return model(input_ids=x, **{**tasks(model, len(x)), **options}).logits


def check_close(one: Tensor, other: Tensor, atol: float = 1e-9) -> None:
    assert one.shape == other.shape
    assert torch.allclose(one, other, rtol=0, atol=atol), f"{(one - other).abs().max():.2e} apart"


def check_apart(one: Tensor, other: Tensor) -> None:
    assert (one - other).abs().max() > 1e-3


def weights(model: nn.Module) -> dict[str, Tensor]:
    """The base's own tensors, by path."""
    return {key: value.clone() for key, value in model.state_dict().items() if not _is_adapters(key, model)}


def _is_adapters(key: str, model: nn.Module) -> bool:
    return any(key == f"{path}.{own}" for path, own in _adapters(model))


def _adapters(model: nn.Module) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for path, layer in adapted_layers(model).items():
        found |= {(path, key) for key in layer.state_dict() if not key.startswith("base_layer.")}
    return found
