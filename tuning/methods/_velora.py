"""VeLoRA: LoRA whose inputs are kept for the backward pass as a few numbers a token (Miles et al. 2024, https://arxiv.org/abs/2405.17991)."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor
from torch.nn import functional

from tuning.kinds import Frozen
from tuning.methods._lora_options import VeloraConfig
from tuning.methods._lora_variant import Factors, Summed


@final
class Velora(Summed):
    """x ↦ base(x) + scaling · B A x. lora_velora_embed: the direction v (in / groups,) along which a group of inputs is kept."""

    def __init__(self, lora: Factors, config: VeloraConfig, frozen: Frozen) -> None:
        self.config = config
        self.is_found = config.init_type == "random"
        size = -(-frozen.shape[1] // config.num_groups)
        lora.register_buffer("lora_velora_embed", _unit(torch.randn(size)) if self.is_found else torch.zeros(size))

    def added(self, lora: Factors, result: Tensor, x: Tensor, frozen: Frozen) -> Tensor:
        x = lora.lora_dropout(x)
        if not (lora.training and torch.is_grad_enabled()):
            return lora.low(x, frozen)
        if not self.is_found or self.config.init_type == "batch_average":
            mean = _grouped(x.detach(), self.config.num_groups).flatten(0, -2).mean(dim=0)
            lora.lora_velora_embed.copy_(_unit(mean))
            self.is_found = True
        after: Any = Kept.apply(
            x, lora.lora_A.weight, lora.lora_velora_embed.to(x.dtype), self.config.num_groups, self.config.scale
        )
        return lora.lora_B(after) * lora.scaling


@final
class Kept(torch.autograd.Function):
    """A x, with x (…, in) kept as its groups' parts along v: (tokens, groups)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, a: Tensor, v: Tensor, groups: int, scale: float) -> Tensor:
        ctx.scale = scale
        ctx.save_for_backward(_grouped(x, groups) @ v, a, v.clone())
        return functional.linear(x, a)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        along, a, v = ctx.saved_tensors
        (gradient,) = gradients
        like = (along.unsqueeze(-1) * v).flatten(-2)[..., : a.shape[1]] * ctx.scale
        return gradient @ a, gradient.flatten(0, -2).T @ like.flatten(0, -2), None, None, None


def _grouped(x: Tensor, groups: int) -> Tensor:
    """(…, in) -> (…, groups, in / groups), with zeros behind where groups do not divide in."""
    size = -(-x.shape[-1] // groups)
    return functional.pad(x, (0, groups * size - x.shape[-1])).unflatten(-1, (groups, size))


def _unit(v: Tensor) -> Tensor:
    """v at a length of 1, in single precision as PEFT has it; of zeros all values alike."""
    v = v.float()
    return v / v.norm() if v.any() else torch.full_like(v, len(v) ** -0.5)
