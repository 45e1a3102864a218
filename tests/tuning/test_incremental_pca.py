"""Principal components found batch by batch: HF peft's, and those of all rows at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft.utils.incremental_pca import IncrementalPCA as Theirs
from torch import Tensor

import tuning
from tuning.incremental_pca import IncrementalPCA

KNOWN = ("components_", "singular_values_", "explained_variance_", "explained_variance_ratio_", "mean_", "var_")


def rows(count: int = 90, features: int = 12) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    sizes = torch.linspace(0.1, 3, features)
    return torch.randn(count, features, generator=generator) * sizes + torch.arange(features)


def check_same(ours: Any, theirs: Any, atol: float) -> None:
    for name in KNOWN:
        assert torch.allclose(getattr(ours, name).double(), getattr(theirs, name).double(), rtol=0, atol=atol), name
    assert torch.equal(ours.n_samples_seen_, theirs.n_samples_seen_)
    theirs.components_ = theirs.components_.double()  # its `transform` can't do with others
    assert torch.allclose(ours.transform(rows(5)), theirs.transform(rows(5)), rtol=0, atol=atol)


@pytest.mark.parametrize(
    "options",
    [
        {"n_components": 4},
        {"n_components": 4, "batch_size": 20},
        {"batch_size": 43},
        {"n_components": 4, "lowrank": True, "lowrank_seed": 3, "batch_size": 30},
        {"n_components": 4, "lowrank": True, "lowrank_q": 6, "lowrank_niter": 2, "lowrank_seed": 3},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_finds_what_pefts_finds(options: dict[str, Any], dtype: torch.dtype) -> None:
    x = rows().to(dtype)
    check_same(IncrementalPCA(**options).fit(x), Theirs(**options).fit(x), 1e-3 if dtype == torch.float32 else 1e-9)
    assert torch.equal(x, rows().to(dtype))


def test_batches_together_are_all_rows_at_once() -> None:
    x = rows().double()
    found = IncrementalPCA(n_components=12)
    for batch in x.split(30):
        found.partial_fit(batch)
    _, values, right = torch.linalg.svd(x - x.mean(dim=0), full_matrices=False)
    assert torch.allclose(found.singular_values_, values, rtol=1e-9, atol=0)
    assert torch.allclose((found.components_ * right).sum(dim=1).abs(), torch.ones(12).double(), rtol=0, atol=1e-9)
    assert torch.allclose(found.var_, x.var(dim=0, correction=0), rtol=1e-9, atol=0)
    assert torch.isclose(found.explained_variance_ratio_.sum(), torch.ones(()).double())


@pytest.mark.parametrize(("n", "size", "least"), [(10, 3, 0), (10, 3, 2), (9, 3, 3), (2, 5, 1)])
def test_batches_are_cut_as_pefts(n: int, size: int, least: int) -> None:
    assert list(IncrementalPCA.gen_batches(n, size, least)) == list(Theirs.gen_batches(n, size, least))


def test_what_cannot_be_is_refused() -> None:
    x = rows()
    for made, message in (
        (lambda: IncrementalPCA(13).fit(x), "above the number of features, 12"),
        (lambda: IncrementalPCA(5).partial_fit(x[:3]), "samples in a batch, 3"),
        (lambda: IncrementalPCA(2).fit(x).partial_fit(x[:, :5]), "a batch has 5 features"),
        (lambda: IncrementalPCA(lowrank=True), "needs n_components"),
        (lambda: IncrementalPCA(5, lowrank=True, lowrank_q=2), "lowrank_q is 2"),
    ):
        with pytest.raises(tuning.ConfigError, match=message):
            made()
