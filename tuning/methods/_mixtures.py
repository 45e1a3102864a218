"""Logits over a bank of vectors, saved as the few that count: VB-LoRA's, in PEFT's format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

INDICES, WEIGHTS = "_topk_indices", "_topk_weights"


def cut_short(tensors: Mapping[str, Tensor], names: tuple[str, ...], topk: int, vectors: int) -> dict[str, Tensor]:
    """Of logits (…, vectors), whose keys end with one of `names`, the indices and weights of the topk highest; the last weight is what
    the others leave of 1. Other tensors stay.
    """
    kinds = (torch.uint8, torch.int16, torch.int32)
    small = next((kind for kind in kinds if vectors <= torch.iinfo(kind).max), torch.int64)
    found: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        if key.endswith(names):
            highest, which = tensor.topk(topk, dim=-1)
            found[f"{key}{INDICES}"] = which.to(small)
            found[f"{key}{WEIGHTS}"] = highest.softmax(-1)[..., :-1].contiguous()
        else:
            found[key] = tensor
    return found


def lengthened(tensors: Mapping[str, Tensor], vectors: int) -> dict[str, Tensor]:
    """Logits that give the same mixtures: -∞ where none was saved."""
    found = {key: tensor for key, tensor in tensors.items() if not key.endswith((INDICES, WEIGHTS))}
    for key in (key for key in tensors if key.endswith(INDICES)):
        own = key.removesuffix(INDICES)
        weights = tensors[f"{own}{WEIGHTS}"]
        weights = torch.cat([weights, 1 - weights.sum(-1, keepdim=True)], dim=-1)
        none = weights.new_full((*weights.shape[:-1], vectors), -torch.inf)
        found[own] = none.scatter(-1, tensors[key].long(), weights.log())
    return found


def get_nb_savable_parameters(tuner: Any, adapter: str = "default") -> tuple[int, int]:
    """How many values a checkpoint of an adapter has, indices as the share of a single-precision value that they take, and how many
    others are trained.
    """
    own = {
        f"{path}.{name}": each
        for path, layer in tuner.layers_of(adapter).items()
        for name, each in layer.adapters[adapter].named_parameters()
    }
    own |= dict(tuner.in_common[adapter].named_parameters())
    saved = tuner.family(adapter).before_save(tuner.peft_config[adapter], {}, own)
    values = (each.numel() * (1 if each.is_floating_point() else each.element_size() / 4) for each in saved.values())
    ours = {id(each) for each in own.values()}
    return int(sum(values)), sum(
        each.numel() for each in tuner.parameters() if each.requires_grad and id(each) not in ours
    )


def print_savable_parameters(tuner: Any) -> None:
    """What `get_nb_savable_parameters` gives, as PEFT prints it."""
    own, others = get_nb_savable_parameters(tuner)
    print(f"VB-LoRA params to-be-saved (float32-equivalent): {own:,d} || total params to-be-saved: {own + others:,d}")


def init_vector_bank(tuner: Any, config: Any, adapter_name: str) -> None:
    """Draw the bank anew, as PEFT's private function of the name below does."""
    tuner.in_common[adapter_name].draw()


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "get_nb_savable_parameters": get_nb_savable_parameters,
    "_init_vblora_vector_bank": init_vector_bank,
    "print_savable_parameters": print_savable_parameters,
}
