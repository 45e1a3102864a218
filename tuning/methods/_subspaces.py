"""Which subspaces of AdaMSS go on training: those that the loss depends on most, fewer and fewer (its "adaptive subspace allocation")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

Key = tuple[str, int]  # a factor's name, and which subspace


class Subspaces(Protocol):
    """A layer's factors by subspace, and for each, of each value, (sensitivity, uncertainty), smoothed over steps."""

    importance: dict[Key, tuple[Tensor, Tensor]]

    @property
    def factors(self) -> Mapping[str, Sequence[nn.Parameter]]: ...


@torch.no_grad()
def allocate(config: Any, layers: Sequence[Subspaces], step: int) -> None:
    """After the optimiser's step, before gradients are cleared: learn what is important, and every `mask_interval` steps stop training
    what is least so.
    """
    if not config.init_warmup <= step <= config.final_warmup:
        return
    for layer in layers:
        _learn(layer, config.asa_importance_beta, config.asa_uncertainty_beta)
    if step % config.mask_interval:
        return
    total = sum(len(next(iter(layer.factors.values()))) for layer in layers)
    ahead = 1 - (step - config.init_warmup) / (config.final_warmup - config.init_warmup)
    few = config.asa_target_subspaces
    _keep(layers, int(few + (total - few) * ahead**config.asa_schedule_exponent))
    for layer in layers:
        layer.importance = {}


def _learn(layer: Subspaces, beta1: float, beta2: float) -> None:
    for name, parameters in layer.factors.items():
        for at, value in enumerate(parameters):
            if value.grad is None:
                continue
            now = (value * value.grad).abs()
            zero = torch.zeros_like(now)
            sensitivity, uncertainty = layer.importance.get((name, at), (zero, zero))
            uncertainty = beta2 * uncertainty + (1 - beta2) * (now - sensitivity).abs()
            layer.importance[name, at] = (beta1 * sensitivity + (1 - beta1) * now, uncertainty)


def _keep(layers: Sequence[Subspaces], count: int) -> None:
    """Train those subspaces whose score is above the `count`-th highest, as PEFT; all where there are no more than that."""
    scored: list[tuple[Tensor, list[nn.Parameter]]] = []
    for layer in layers:
        for at, parameters in enumerate(zip(*layer.factors.values(), strict=True)):
            found = [layer.importance.get((name, at)) for name in layer.factors]
            terms = [(sensitivity * uncertainty).mean() for sensitivity, uncertainty in filter(None, found)]
            if len(terms) == len(found):
                scored.append((torch.stack(terms).sum(), list(parameters)))
    if not scored:
        return
    scores = torch.stack([score.to(scored[0][0].device) for score, _ in scored])
    least = scores.sort(descending=True).values[count - 1] if count < len(scored) else -torch.inf
    for (_, parameters), trained in zip(scored, (scores > least).tolist(), strict=True):
        for parameter in parameters:
            parameter.requires_grad_(trained)
            parameter.grad = parameter.grad if trained else None


def with_ranks_of(layers: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Give subspaces, by the starts of their keys, the ranks that a checkpoint has: dynamic ones depend on random numbers."""
    for start, layer in layers.items():
        for index in range(len(next(iter(layer.factors.values())))):
            layer.take_ranks(start, tensors, {f"{name}.{index}": at for at, name in enumerate(layer.factors)})
    return tensors


def learned(layers: Mapping[str, Subspaces]) -> dict[str, Tensor]:
    """What layers (by path) need to go on: which subspaces are trained, and how important each is."""
    found: dict[str, Tensor] = {}
    for path, layer in layers.items():
        for name, parameters in layer.factors.items():
            found[f"{path}.{name}.trained"] = torch.tensor([each.requires_grad for each in parameters])
        for (name, at), pair in layer.importance.items():
            found[f"{path}.{name}.{at}"] = torch.stack(pair)
    return found


def go_on(layers: Mapping[str, Subspaces], tensors: Mapping[str, Tensor]) -> None:
    """What `learned` gave, into layers."""
    for path, layer in layers.items():
        layer.importance = {}
        for name, parameters in layer.factors.items():
            for at, parameter in enumerate(parameters):
                if f"{path}.{name}.trained" in tensors:
                    parameter.requires_grad_(bool(tensors[f"{path}.{name}.trained"][at]))
                if (pair := tensors.get(f"{path}.{name}.{at}")) is not None:
                    layer.importance[name, at] = (pair[0], pair[1])
