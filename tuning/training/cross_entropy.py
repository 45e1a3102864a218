"""Cross-entropy over a vocabulary whose logits are never held whole.

The gradient of each chunk is computed beside its loss, while its logits are there, and the backward pass only scales it. So the head
runs once in each direction, as it would without chunks; nothing is recomputed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

Logits = Callable[[Tensor], Tensor]


def chunked_cross_entropy(
    hidden: Tensor, targets: Tensor, head: nn.Module, *, after: Logits | None = None, chunk: int = 128
) -> Tensor:
    """The sum of -log p(target) over hidden states (n, dimensions) and targets (n), a scalar in float32 or better.

    `head` gives logits (n, vocabulary): any module, adapted or trained whole or frozen; what of it takes gradients gets them.
    `after` is what the model does with logits then (a soft cap, a scale). Differentiable once.
    """
    parameters = [parameter for parameter in head.parameters() if parameter.requires_grad]
    apply: Any = _Chunked.apply
    return apply(hidden, targets, head, after, chunk, torch.is_grad_enabled(), *parameters)


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        targets: Tensor,
        head: nn.Module,
        after: Logits | None,
        chunk: int,
        training: bool,
        *parameters: nn.Parameter,
    ) -> Tensor:
        total = hidden.new_zeros((), dtype=torch.promote_types(hidden.dtype, torch.float32))
        chunks = [slice(start, start + chunk) for start in range(0, len(hidden), chunk)]
        if not training or not (hidden.requires_grad or parameters):
            for rows in chunks:
                total += _loss(head, after, hidden[rows], targets[rows])
            return total
        plain = type(head) is nn.Linear and after is None and not parameters
        weight = _as_multiplied(head.get_parameter("weight")) if plain else None
        gradients: Any = torch.autograd.grad  # None for what a loss does not depend on
        of_hidden = torch.zeros_like(hidden)
        of_parameters = [torch.zeros_like(parameter) for parameter in parameters]
        for rows in chunks:
            if weight is not None:
                loss, of_hidden[rows] = _with_frozen_weight(head, weight, hidden[rows], targets[rows])
            else:
                with torch.enable_grad():
                    part = hidden[rows].detach().requires_grad_()
                    loss = _loss(head, after, part, targets[rows])
                    found = gradients(loss, [part, *parameters], allow_unused=True)
                for whole, gradient in zip([of_hidden[rows], *of_parameters], found, strict=True):
                    if gradient is not None:
                        whole += gradient
            total += loss.detach()
        ctx.save_for_backward(of_hidden, *of_parameters)
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        of_hidden, *of_parameters = (gradient * grad_outputs[0].to(gradient.dtype) for gradient in ctx.saved_tensors)
        return (of_hidden, None, None, None, None, None, *of_parameters)


def _loss(head: nn.Module, after: Logits | None, hidden: Tensor, targets: Tensor) -> Tensor:
    logits = head(hidden)
    if after is not None:
        logits = after(logits)
    return functional.cross_entropy(_precise(logits), targets, reduction="sum")


def _with_frozen_weight(head: nn.Module, weight: Tensor, hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Loss and gradient for a linear head that is not trained: softmax in the logits' own memory. `weight`: the head's, as it is multiplied."""
    logits = _precise(functional_call(head, {"weight": weight}, (hidden,)))
    rows = torch.arange(len(targets), device=targets.device)
    of_targets, highest = logits[rows, targets], logits.amax(dim=-1, keepdim=True)
    sums = logits.sub_(highest).exp_().sum(dim=-1, keepdim=True)
    loss = ((sums.log() + highest)[:, 0] - of_targets).sum()
    softmax = logits.div_(sums)
    softmax[rows, targets] -= 1
    return loss, softmax.to(weight.dtype) @ weight


def _as_multiplied(weight: Tensor) -> Tensor:
    """A weight as autocast multiplies it, cast once for all chunks."""
    kind = weight.device.type
    return weight.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else weight


def _precise(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
