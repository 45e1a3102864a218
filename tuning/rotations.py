"""Block-diagonal rotations of a layer's input or output, for the methods that rotate (OFT, BOFT)."""

from __future__ import annotations

import torch
from torch import Tensor


def skew(upper: Tensor, size: int) -> Tensor:
    """Skew-symmetric matrices (blocks, size, size) from what is above their diagonals (blocks, size · (size - 1) / 2)."""
    rows, columns = torch.triu_indices(size, size, 1, device=upper.device)
    above = upper.new_zeros(len(upper), size, size)
    above[:, rows, columns] = upper
    return above - above.mT


def cayley(skewed: Tensor) -> Tensor:
    """(I - S)(I + S)⁻¹ for each skew-symmetric S (blocks, size, size): orthogonal, and I where S is 0."""
    precise = solvable(skewed)
    one = torch.eye(skewed.shape[-1], device=skewed.device, dtype=precise.dtype).expand_as(precise)
    return torch.linalg.solve(one + precise, one - precise, left=False).to(skewed.dtype)


def solvable(x: Tensor) -> Tensor:
    """x in a precision that systems of equations can be solved in."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def rotated(x: Tensor, blocks: Tensor) -> Tensor:
    """x (…, d) times the matrix (d, d) that has `blocks` (blocks, size, size) on its diagonal; one block stands for all."""
    size = blocks.shape[-1]
    parts = x.reshape(*x.shape[:-1], -1, 1, size)
    return (parts @ blocks).reshape(x.shape)


def some_left_out(blocks: Tensor, share: float) -> Tensor:
    """Blocks (blocks, size, size) with a share of them, drawn anew each time, turned into the identity."""
    count = len(blocks)
    left_out = torch.arange(count) < int(share * count)
    left_out = left_out[torch.randperm(count)].to(blocks.device).view(count, 1, 1)
    return torch.where(left_out, torch.eye(blocks.shape[-1], device=blocks.device, dtype=blocks.dtype), blocks)
