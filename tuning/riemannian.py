"""LoRA's gradients preconditioned, so that a step of B A depends less on how B and A share their product (Zhang and Pilanci 2024, "Riemannian
Preconditioned LoRA", https://arxiv.org/abs/2402.02347).
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tuning.errors import ConfigError, NoOptimizer

Pair = tuple[nn.Parameter, nn.Parameter]


def lora_pairs(model: nn.Module) -> list[Pair]:
    """A (r, in) and B (out, r) of each linear layer's LoRA, where both are trained."""
    found = dict(model.named_parameters())
    pairs = [
        (first, found.get(name.replace(".lora_A.", ".lora_B."))) for name, first in found.items() if ".lora_A." in name
    ]
    return [(a, b) for a, b in pairs if b is not None and a.ndim == b.ndim == 2 and a.requires_grad and b.requires_grad]


class Preconditioner:
    """What turns the gradients of A and B, where they are, into (Bᵀ B + reg)⁻¹ gᴬ and gᴮ (A Aᵀ + reg)⁻¹."""

    def __init__(self, pairs: Sequence[Pair], reg: float) -> None:
        self.pairs, self.reg = pairs, reg

    @torch.no_grad()
    def step(self) -> None:
        for a, b in self.pairs:
            dtype = torch.promote_types(a.dtype, torch.float32)
            first, then = a.to(dtype), b.to(dtype)
            if a.grad is not None:
                a.grad.copy_(self._inverse(then.T @ then) @ a.grad.to(dtype))
            if b.grad is not None:
                b.grad.copy_(b.grad.to(dtype) @ self._inverse(first @ first.T))

    def _inverse(self, gram: Tensor) -> Tensor:
        return torch.linalg.pinv(gram + self.reg * torch.eye(len(gram), device=gram.device, dtype=gram.dtype))


def create_riemannian_optimizer(
    model: nn.Module, optimizer_cls: type[torch.optim.Optimizer], *, lr: float, reg: float = 1e-2, **kwargs: Any
) -> torch.optim.Optimizer:
    """An optimiser of a model's trained parameters, which preconditions those of LoRA on linear layers before each step.

    `reg` is added to what is inverted, which may be singular. `kwargs` are `optimizer_cls`'s. It takes no closure: one would compute gradients
    anew after they were preconditioned. Raises ConfigError.
    """
    given: Any = optimizer_cls  # a script may give anything
    if not (isinstance(given, type) and issubclass(given, torch.optim.Optimizer)):
        raise NoOptimizer(f"optimizer_cls is {optimizer_cls!r}; it has to be a subclass of torch.optim.Optimizer")
    closure = inspect.signature(optimizer_cls.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise ConfigError(
            f"{optimizer_cls.__name__} requires a closure, in which gradients are computed anew: take another one, torch.optim.AdamW"
        )
    if reg < 0:
        raise ConfigError(f"reg is {reg}; it has to be 0 or more")
    if not (pairs := lora_pairs(model)):
        raise ConfigError("the model has no trained lora_A/lora_B parameter pairs, and nothing else is preconditioned")
    preconditioner = Preconditioner(pairs, reg)

    def before_step(optimiser: torch.optim.Optimizer, args: tuple[Any, ...], given: dict[str, Any]) -> None:
        if any(value is not None for value in (*args[1:], *given.values())):  # the first is the optimiser
            raise ConfigError("a preconditioned optimiser does not support closures: call backward() before step()")
        preconditioner.step()

    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = optimizer_cls(trained, lr=lr, **kwargs)  # pyright: ignore[reportCallIssue]
    optimiser.register_step_pre_hook(before_step)
    return optimiser
