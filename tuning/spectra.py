"""Singular values and vectors of weights, for the methods that start from them."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def singular(
    weight: Tensor, count: int | None = None, quick: tuple[int, int] | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """U (out, count), S (count,), V (count, in) of a weight (out, in), the largest values first, in single precision.

    `quick`: (iterations, seed) of a random projection that finds only so many (Halko et al. 2011, https://arxiv.org/abs/0909.4061).
    """
    whole = weight.detach().float()
    if quick is None:
        left, values, right = torch.linalg.svd(whole, full_matrices=False)
        return left[:, :count], values[:count], right[:count]
    assert count is not None, "a projection has to know how many"
    iterations, seed = quick
    kind = whole.device.type
    devices = [] if kind == "cpu" else [whole.device]
    with torch.random.fork_rng(devices, device_type="cuda" if kind == "cpu" else kind):
        torch.manual_seed(seed)
        left, values, right = torch.svd_lowrank(whole, q=count, niter=iterations)
    return left, values, right.T
