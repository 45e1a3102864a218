"""Block-diagonal rotations of a layer's input or output, for the methods that rotate (OFT, BOFT)."""

from __future__ import annotations

import torch
from torch import Tensor

from tuning.errors import ConfigError


def check_blocks(**sizes: int) -> None:
    """Raises ConfigError unless one of two options, the number of blocks and their size, is above 0 and the other 0."""
    (first, one), (second, other) = sizes.items()
    if min(one, other) < 0 or (one == 0) == (other == 0):
        raise ConfigError(
            f"{first} is {one} and {second} is {other}: their product is the layer's input, "
            "so one of them has to be above 0, and the other 0"
        )


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


def neumann(skewed: Tensor, terms: int) -> Tensor:
    """Cayley's (I + S)(I - S)⁻¹ as the start of its series, I + 2S + 2S² + … + Sⁿ, with PEFT's count of terms: from 3 on n is
    the larger of 3 and terms - 1.
    """
    total = torch.eye(skewed.shape[-1], device=skewed.device, dtype=skewed.dtype).expand_as(skewed)
    if terms > 1:
        total = total + 2 * skewed
    if terms > 2:
        with torch.autocast(skewed.device.type, enabled=False):  # in bfloat16 this would be less orthogonal
            power = skewed @ skewed
            total = total + 2 * power
            for _ in range(3, terms - 1):
                power = power @ skewed
                total = total + 2 * power
            total = total + power @ skewed
    return total


def butterflies(width: int, size: int, factors: int) -> Tensor:
    """(factors, width): the dimensions in the order that the blocks of each of a butterfly's factors take them (BOFT, section 4).

    In each run of 2^factor blocks the half blocks with even numbers come first, then those with odd numbers.
    """
    plain = torch.arange(width)
    mixed = [plain.view(-1, 2**factor, 2, size // 2).transpose(1, 2).flatten() for factor in range(1, factors)]
    return torch.stack([plain, *mixed])


def solvable(x: Tensor) -> Tensor:
    """x in a precision that systems of equations can be solved in."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def rotated(x: Tensor, blocks: Tensor) -> Tensor:
    """x (…, d) times the matrix (d, d) that has `blocks` (blocks, size, size) on its diagonal; one block stands for all.

    One product a block, over all of x: products with each row of x apart would copy the blocks for each row.
    """
    parts = x.reshape(-1, x.shape[-1] // blocks.shape[-1], blocks.shape[-1])
    if len(blocks) == 1:
        return (parts @ blocks[0]).reshape(x.shape)
    return (parts.transpose(0, 1) @ blocks).transpose(0, 1).reshape(x.shape)


def some_left_out(blocks: Tensor, share: float) -> Tensor:
    """Blocks (blocks, size, size) with a share of them, drawn anew each time, turned into the identity."""
    count = len(blocks)
    left_out = torch.arange(count) < int(share * count)
    left_out = left_out[torch.randperm(count)].to(blocks.device).view(count, 1, 1)
    return torch.where(left_out, torch.eye(blocks.shape[-1], device=blocks.device, dtype=blocks.dtype), blocks)
