"""How AdaMSS cuts a weight: its outputs clustered by their singular vectors, and directions for each cluster.

Its files do not say which output is of which cluster, so all is computed as PEFT computes it: by k-means (Lloyd 1982) as scikit-learn's
`KMeans(init="random", n_init=1)`, from the same draw.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

SEED, ITERATIONS, TOLERANCE = 123456789, 10, 1e-4  # PEFT's for AdaMSS, and scikit-learn's usual tolerance


def started(weight: Tensor, config: Any) -> tuple[Tensor, list[Tensor], list[tuple[Tensor, Tensor]]]:
    """Of a weight (out, in): its right singular vectors (r, in), the outputs of each cluster, and for each cluster A (rank, r),
    orthonormal, and B (its outputs, rank), zero or random.
    """
    whole = weight.float()
    with torch.random.fork_rng(devices=[] if whole.device.type == "cpu" else None):
        torch.manual_seed(config.random_seed)
        left, _, right = torch.svd_lowrank(whole, q=min(config.r, *whole.shape), niter=2)
    labels = clustered(left, min(config.num_subspaces, len(left))).to(left.device)
    rows = [(labels == cluster).nonzero().flatten() for cluster in range(int(labels.max()) + 1)]
    return right.T.contiguous().to(weight.dtype), rows, [_pair(left[own], config, weight.dtype) for own in rows]


def _pair(vectors: Tensor, config: Any, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    gram, rank = vectors @ vectors.T, min(len(vectors), config.subspace_rank)
    if config.use_dynamic_rank:
        values = torch.svd_lowrank(gram, q=len(gram), niter=2)[1]
        rank = max(1, min(int((values > config.svd_threshold * values[0]).sum()), rank))
    directions = torch.svd_lowrank(gram, q=rank, niter=2)[0]
    a = torch.linalg.qr(vectors.T @ directions)[0].T.contiguous().to(dtype)
    b = torch.zeros(len(vectors), rank, dtype=dtype, device=vectors.device)
    return a, b if config.init_weights is not None else torch.randn_like(b) * 0.01


def clustered(points: Tensor, count: int) -> Tensor:
    """(points,): the cluster of each point, below `count`. points: (points, dimensions); computed in single precision."""
    x = points.detach().cpu().float().numpy().copy()
    tolerance = x.var(axis=0).mean() * TOLERANCE
    x -= x.mean(axis=0)
    even = np.ones(len(x), dtype=np.float32)
    centers = x[np.random.RandomState(SEED).choice(len(x), size=count, replace=False, p=even / even.sum())]
    before = np.full(len(x), -1)
    for _ in range(ITERATIONS):
        labels = _nearest(x, centers)
        moved = _means(x, labels, centers)
        if (labels == before).all():
            return torch.from_numpy(labels).long()
        shift, centers, before = ((moved - centers) ** 2).sum(), moved, labels
        if shift <= tolerance:
            break
    return torch.from_numpy(_nearest(x, centers)).long()


def _nearest(x: np.ndarray, centers: np.ndarray) -> np.ndarray:
    return (np.einsum("kd,kd->k", centers, centers) - 2 * (x @ centers.T)).argmin(axis=1)


def _means(x: np.ndarray, labels: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """The mean of each cluster; one that has no point gets one of those that are farthest from their own centers."""
    sums, sizes = np.zeros_like(centers), np.bincount(labels, minlength=len(centers)).astype(x.dtype)
    np.add.at(sums, labels, x)
    apart = ((x - centers[labels]) ** 2).sum(axis=1)
    empty = np.flatnonzero(sizes == 0) if apart.any() else np.array([], dtype=int)
    farthest = np.argpartition(apart, -len(empty))[::-1] if len(empty) else empty
    for cluster, point in zip(empty, farthest[: len(empty)], strict=True):
        sums[labels[point]] -= x[point]
        sizes[labels[point]] -= 1
        sums[cluster], sizes[cluster] = x[point], 1
    found = sums * (1 / np.maximum(sizes, 1))[:, None]
    return np.where(sizes[:, None] > 0, found, found[sizes.argmax()])
