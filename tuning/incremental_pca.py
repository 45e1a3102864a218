"""Principal components of rows that come in batches (Ross et al. 2008, "Incremental Learning for Robust Visual Tracking")."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import torch
from torch import Tensor

from tuning.errors import ConfigError


class IncrementalPCA:
    """What is known after `partial_fit` of some batches has the names that scikit-learn's class gives it: `components_` (components, features),
    `singular_values_`, `explained_variance_` and `explained_variance_ratio_` (components,), `mean_` and `var_` (features,), `n_samples_seen_`.

    `n_components`: all that the first batch can tell, where left out. `batch_size`: of `fit`; 5 · features where left out. `lowrank`: by
    `torch.svd_lowrank` with `lowrank_q` (2 · components) vectors, `lowrank_niter` iterations and `lowrank_seed`. `copy` False: a batch may be
    written over. `svd_driver`: of torch.linalg.svd, on CUDA. Raises ConfigError.
    """

    components_: Tensor
    singular_values_: Tensor
    explained_variance_: Tensor
    explained_variance_ratio_: Tensor
    mean_: Tensor
    var_: Tensor
    n_samples_seen_: Tensor

    def __init__(
        self,
        n_components: int | None = None,
        copy: bool | None = True,
        batch_size: int | None = None,
        svd_driver: str | None = None,
        lowrank: bool = False,
        lowrank_q: int | None = None,
        lowrank_niter: int = 4,
        lowrank_seed: int | None = None,
    ) -> None:
        if lowrank and lowrank_q is None and n_components is None:
            raise ConfigError("lowrank=True needs n_components, or lowrank_q")
        if lowrank and lowrank_q is not None and lowrank_q < (n_components or 0):
            raise ConfigError(f"lowrank_q is {lowrank_q}; it has to be n_components ({n_components}) or more")
        self.n_components, self.copy, self.batch_size, self.svd_driver = n_components, copy, batch_size, svd_driver
        self.lowrank, self.lowrank_niter, self.lowrank_seed = lowrank, lowrank_niter, lowrank_seed
        self.lowrank_q = 2 * (n_components or 0) if lowrank_q is None else lowrank_q

    def fit(self, X: Any, check_input: bool = True) -> Self:
        """Go over rows (samples, features) in batches."""
        rows = self._checked(X) if check_input else X
        self.batch_size = self.batch_size or 5 * rows.shape[1]
        for batch in self.gen_batches(len(rows), self.batch_size, self.n_components or 0):
            self.partial_fit(rows[batch], check_input=False)
        return self

    def partial_fit(self, X: Any, check_input: bool = True) -> Self:
        """Take in one more batch (samples, features)."""
        rows: Tensor = self._checked(X) if check_input else X
        first, (count, features) = not hasattr(self, "components_"), rows.shape
        if first:
            self.n_components = self.n_components or min(count, features)
            self.n_samples_seen_ = torch.tensor([0], device=rows.device)
        elif features != self.components_.shape[1]:
            raise ConfigError(f"a batch has {features} features, and those before had {self.components_.shape[1]}")
        total = self.n_samples_seen_ + count
        mean, variance = self._moments(rows, total)
        if first:
            rows -= mean
        else:
            own = rows.mean(dim=0)
            rows -= own
            apart = torch.sqrt(self.n_samples_seen_.double() / total * count) * (self.mean_ - own)
            rows = torch.vstack((self.singular_values_.unsqueeze(1) * self.components_, rows, apart))
        values, right = self._svd(rows)
        right = right * right.gather(1, right.abs().argmax(dim=1, keepdim=True)).sign()  # the same signs each time
        kept = slice(self.n_components)
        self.components_, self.singular_values_ = right[kept], values[kept]
        self.mean_, self.var_, self.n_samples_seen_ = mean, variance, total
        self.explained_variance_ = (values**2 / (total - 1))[kept]
        self.explained_variance_ratio_ = (values**2 / (variance * total).sum())[kept]
        return self

    def transform(self, X: Tensor) -> Tensor:
        """Rows (samples, features) as (samples, components), in double precision."""
        return (X - self.mean_).double() @ self.components_.double().T

    @staticmethod
    def gen_batches(n: int, batch_size: int, min_batch_size: int = 0) -> Iterator[slice]:
        """Slices of `batch_size` of n rows; the last one takes along what would be less than `min_batch_size`."""
        start, size = 0, int(batch_size)
        while start + size + min_batch_size <= n:
            yield slice(start, start + size)
            start += size
        if start < n:
            yield slice(start, n)

    def _checked(self, given: Any) -> Tensor:
        rows = given.clone() if isinstance(given, Tensor) and self.copy else torch.as_tensor(given)
        count, features = rows.shape
        if self.n_components is not None and self.n_components > features:
            raise ConfigError(f"n_components={self.n_components} is above the number of features, {features}")
        if self.n_components is not None and self.n_components > count:
            raise ConfigError(f"n_components={self.n_components} is above the number of samples in a batch, {count}")
        return rows if rows.dtype in (torch.float32, torch.float64) else rows.float()

    def _moments(self, rows: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance (features,) of all rows so far, in double precision (Chan et al. 1983)."""
        count, seen = len(rows), self.n_samples_seen_
        summed = rows.sum(dim=0, dtype=torch.float64)
        apart = rows.double() - summed / count
        squares = apart.square().sum(dim=0) - apart.sum(dim=0).square() / count
        if not seen:
            return summed / total, squares / total
        between = (self.mean_ - summed / count).square() * seen * count / total
        return (self.mean_ * seen + summed) / total, (self.var_ * seen + squares + between) / total

    def _svd(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Singular values, and right vectors (…, features)."""
        if not self.lowrank:
            return torch.linalg.svd(rows, full_matrices=False, driver=self.svd_driver)[1:]
        with torch.random.fork_rng(enabled=self.lowrank_seed is not None):
            if self.lowrank_seed is not None:
                torch.manual_seed(self.lowrank_seed)
            _, values, right = torch.svd_lowrank(rows, q=self.lowrank_q, niter=self.lowrank_niter)
        return values, right.mH
