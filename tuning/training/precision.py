"""bfloat16 where the machine computes in it; elsewhere it would be slower than single precision, and no smaller."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import copy
from dataclasses import replace

import torch
from torch import Tensor, nn

from tuning.layers import AdaptedLayer

CPU_INSTRUCTIONS = ("avx512_bf16", "amx_bf16")


def computes_bf16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 itself, and does not emulate it."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        there = torch.cpu.get_capabilities()
        return any(there.get(name) for name in CPU_INSTRUCTIONS)
    return False


def autocast(device: torch.device, bf16: bool) -> AbstractContextManager[object]:
    return torch.autocast(device.type, dtype=torch.bfloat16) if bf16 else nullcontext()


@contextmanager
def held_as_bf16(model: nn.Module) -> Generator[None]:
    """Inside the `with`, frozen weights of linear layers whose values bfloat16 has exactly (most models are published in it) are held so.

    Autocast would cast them in each pass, and the backward pass would keep these copies. Nothing that is computed changes: an
    embedding that is tied to a head gives float32 as before, and methods read float32 from their layers.
    """
    owners: dict[nn.Parameter, list[nn.Module]] = {}
    for module in model.modules():
        for _, parameter in module.named_parameters(recurse=False):
            owners.setdefault(parameter, []).append(module)
    held = {parameter for parameter, modules in owners.items() if _only_multiplied(parameter, modules)}
    held = {parameter for parameter in held if _halve(parameter)}
    hooks = [
        module.register_forward_hook(_single)
        for parameter in held
        for module in owners[parameter]
        if type(module) is nn.Embedding
    ]
    before = {layer: layer.frozen for layer in model.modules() if isinstance(layer, AdaptedLayer)}
    for layer, frozen in before.items():
        if getattr(frozen.module, "weight", None) in held:
            kind = copy(frozen.kind)
            kind.stands_for = torch.float32
            layer.frozen = replace(frozen, kind=kind)
    try:
        yield
    finally:
        for parameter in held:
            parameter.data = parameter.data.float()
        for hook in hooks:
            hook.remove()
        for layer, frozen in before.items():
            layer.frozen = frozen


def _only_multiplied(parameter: nn.Parameter, owners: list[nn.Module]) -> bool:
    """Whether a weight is frozen, float32, and that of linear layers, and of embeddings at most beside these."""
    kinds = {type(owner) for owner in owners}
    return (
        parameter.dtype == torch.float32
        and parameter.ndim == 2
        and not parameter.requires_grad
        and nn.Linear in kinds
        and kinds <= {nn.Linear, nn.Embedding}
    )


def _halve(parameter: nn.Parameter) -> bool:
    """Hold a float32 tensor as bfloat16, if that loses nothing."""
    half = parameter.data.bfloat16()
    if not torch.equal(half.float(), parameter.data):
        return False
    parameter.data = half
    return True


def _single(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return output.float()
