"""Several tensors made one: sums, and what prunes them first so that they get less into each other's way.

Magnitude pruning and TIES (Yadav et al. 2023, https://arxiv.org/abs/2306.01708), DARE (Yu et al. 2023,
https://arxiv.org/abs/2311.03099). All as PEFT computes them, DARE with the same random numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


def largest_kept(tensor: Tensor, density: float) -> Tensor:
    """The share `density` of values that are largest, 0 for the others."""
    kept = tensor.abs().flatten().topk(int(density * tensor.numel())).indices
    mask = torch.zeros_like(tensor).flatten()
    mask[kept] = 1
    return tensor * mask.view_as(tensor)


def random_kept(tensor: Tensor, density: float) -> Tensor:
    """Each value with the probability `density`, scaled so that the sum is expected to stay; 0 for the others."""
    return tensor * torch.bernoulli(torch.full_like(tensor, density)) / density if density else torch.zeros_like(tensor)


def summed(tensors: Tensor, weights: Tensor, majority: str) -> Tensor:
    """tensors: (n, …), weights: (n, 1, …) -> their weighted sum (…)."""
    return (tensors * weights).sum(0)


def agreeing_mean(tensors: Tensor, weights: Tensor, majority: str) -> Tensor:
    """For each value the weighted mean of those tensors whose sign is the elected one (TIES, section 3.2).

    `majority`: the sign of the values' sum ("total") or of most values ("frequency").
    """
    sign = tensors.sign()
    elected = torch.where((tensors if majority == "total" else sign).sum(0) >= 0, 1, -1)
    agree = sign == elected
    return (tensors * weights * agree).sum(0) / agree.sum(0).clamp(min=1)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """How tensors become one: `pruned` each, then `joined`."""

    joined: Callable[[Tensor, Tensor, str], Tensor]
    pruned: Callable[[Tensor, float], Tensor] | None = None

    def __call__(
        self, tensors: Sequence[Tensor], weights: Sequence[float], density: float | None, majority: str
    ) -> Tensor:
        if self.pruned is not None and density is not None and density < 1:
            tensors = [self.pruned(tensor, density) for tensor in tensors]
        stacked = torch.stack(list(tensors))
        shape = (len(weights), *[1] * (stacked.ndim - 1))
        by = torch.tensor(list(weights), dtype=stacked.dtype, device=stacked.device)
        return self.joined(stacked, by.view(shape), majority)


WAYS: Mapping[str, Variant] = {
    "linear": Variant(joined=summed),
    "magnitude_prune": Variant(joined=summed, pruned=largest_kept),
    "ties": Variant(joined=agreeing_mean, pruned=largest_kept),
    "dare_linear": Variant(joined=summed, pruned=random_kept),
    "dare_ties": Variant(joined=agreeing_mean, pruned=random_kept),
}
