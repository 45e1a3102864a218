"""FRoD's basis of each place in a model (all layers' q_proj, say), from the weights of the layers there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tuning.errors import ConfigError
from tuning.kinds import Frozen
from tuning.placement import Placed


class Tensors(Placed):
    """Buffers by place."""

    space = staticmethod(lambda owner: nn.ModuleDict())

    def __init__(self, tensors: Mapping[str, Tensor], *, saved: bool) -> None:
        super().__init__()
        for place, tensor in tensors.items():
            self.register_buffer(place, tensor, persistent=saved)


class Bases(Placed):
    """By place: frod_V (in, in), frod_s_indices (2, entries) and frod_s_size (2,), rows and columns of the sparse matrix."""

    def __init__(self, config: Any, layers: Sequence[Frozen]) -> None:
        super().__init__()
        self.config = config
        weights: dict[str, dict[int, Tensor]] = {}
        for count, layer in enumerate(layers):
            weights.setdefault(category(layer.name), {})[number(layer.name, count)] = layer.weight.detach()
        generator = torch.Generator().manual_seed(config.projection_prng_key)
        basis: dict[str, Tensor] = {}
        places: dict[str, Tensor] = {}
        for place, of_layers in sorted(weights.items()):
            matrices = [of_layers[layer].float().cpu() for layer in sorted(of_layers)]
            if len({matrix.shape[1] for matrix in matrices}) > 1:
                raise ConfigError(
                    f"FRoD gives all layers of '{place}' one basis, and they differ in their inputs: target some of them"
                )
            like = next(iter(of_layers.values()))
            half = like.dtype in (torch.float16, torch.bfloat16)
            found = _basis(matrices, config.regularization_alpha).to(like.dtype)
            basis[place] = (found.float() if half else found).to(like.device)
            places[place] = _places(len(found), config.sparse_rate, generator).to(like.device)
        sizes = {place: torch.tensor(found.shape) for place, found in basis.items()}
        self.frod_V = Tensors(basis, saved=config.save_projection)
        self.frod_s_indices = Tensors(places, saved=config.save_projection)
        self.frod_s_size = Tensors(sizes, saved=config.save_projection)


def category(path: str) -> str:
    """The place of a layer: the last two names of its path, or the last where the one before it is a number."""
    parts = path.split(".")
    if len(parts) == 1 or parts[-2].isdigit():
        return parts[-1]
    return "attention_output" if parts[-3:] == ["attention", "output", "dense"] else f"{parts[-2]}_{parts[-1]}"


def number(path: str, other: int) -> int:
    """The number after `layers` in a path, or the first there is, or else another."""
    parts = path.split(".")
    after = parts[parts.index("layers") + 1 :][:1] if "layers" in parts else []
    return next((int(part) for part in (*after, *parts) if part.isdigit()), other)


def _basis(matrices: Sequence[Tensor], alpha: float) -> Tensor:
    """V (in, in): the common part of a higher-order generalised singular value decomposition of matrices (out, in), with alpha added to
    what is inverted (Ponnapalli et al. 2011, https://doi.org/10.1371/journal.pone.0028072).
    """
    stacked = torch.cat(list(matrices))
    rows, columns = stacked.shape
    if rows < columns:
        return torch.linalg.svd(stacked, full_matrices=True)[2].T
    q, r = torch.linalg.qr(stacked)
    one = torch.eye(columns)
    parts = q.split([len(matrix) for matrix in matrices])
    total = torch.zeros(columns, columns)
    for part in parts:
        total += torch.linalg.inv(part.T @ part + alpha * one)
    return r.T @ torch.linalg.eigh(total / len(parts))[1]


def _places(size: int, share: float, generator: torch.Generator) -> Tensor:
    """(2, entries): places beside the diagonal of a matrix (size, size), drawn at random."""
    beside = size * (size - 1)
    count = min(int(size * size * share), beside)
    if share > 0 and beside:
        count = max(1, count)
    if not count:
        return torch.empty(2, 0, dtype=torch.long)
    drawn = torch.randperm(beside, generator=generator)[:count]
    row, column = drawn // (size - 1), drawn % (size - 1)
    return torch.stack([row, column + (column >= row)])


@torch.no_grad()
def sides(weight: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
    """U (out, in) and l (in,), with the weight (out, in) = U diag(l) Vᵀ and columns of U of length 1, in single precision."""
    whole, v = weight.detach().double().cpu(), basis.detach().double().cpu()
    try:
        product = torch.linalg.solve(v, whole.T).T
    except RuntimeError:  # V is singular
        product = whole @ torch.linalg.pinv(v, rtol=1e-6).T
    lengths = product.norm(dim=0)
    u = torch.where(lengths > 1e-12, product / lengths.clamp(min=1e-12), torch.zeros_like(product))
    return u.float().to(weight.device), lengths.float().to(weight.device)
