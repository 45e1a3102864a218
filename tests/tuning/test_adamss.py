"""AdaMSS beside HF peft, which clusters with scikit-learn: where that is missing, our own clustering stands in for it."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import peft
import pytest
import torch
from torch import nn

import tuning
from tests.tuning.oracle import both, check_file_written_by_us, check_same, shaken, tiny_llama, tokens
from tuning.errors import ConfigError
from tuning.methods._clusters import clustered
from tuning.methods.adamss import METHOD


class Clustering:
    def __init__(self, n_clusters: int, **options: Any) -> None:
        assert options == {"init": "random", "n_init": 1, "max_iter": 10, "random_state": 123456789}
        self.count = n_clusters

    def fit_predict(self, points: np.ndarray) -> np.ndarray:
        return clustered(torch.from_numpy(points), self.count).numpy()


@pytest.fixture(autouse=True)
def scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    if find_spec("sklearn") is None:
        cluster = ModuleType("sklearn.cluster")
        cluster.KMeans = Clustering  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "sklearn", ModuleType("sklearn"))
        monkeypatch.setitem(sys.modules, "sklearn.cluster", cluster)


def test_points_are_clustered_as_scikit_learn_does() -> None:
    """The labels are those of its version 1.9.1; of the last points it had an empty cluster to fill."""
    points = torch.tensor([[(7 * i * i + 3 * j) % 11 / 4 for j in range(3)] for i in range(24)])
    assert clustered(points, 4).tolist() == [2, 0, 0, 1, 3, 1, 1, 3, 1, 0, 0, 2, 0, 0, 1, 3, 1, 1, 3, 1, 0, 0, 2, 0]
    corners = torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [9.0, 1.0], [0.5, 8.0]])
    assert clustered(corners, 3).tolist() == [0, 0, 0, 1, 2]


CASES: list[dict[str, Any]] = [
    {"r": 6, "num_subspaces": 3},
    {"r": 8, "num_subspaces": 4, "subspace_rank": 3, "init_weights": None, "target_modules": ["q_proj", "down_proj"]},
    {"r": 8, "num_subspaces": 2, "subspace_rank": 4, "use_dynamic_rank": True, "svd_threshold": 0.5, "random_seed": 3},
]


@pytest.mark.parametrize("options", CASES, ids=lambda options: "-".join(options))
def test_adamss_is_pefts(options: dict[str, Any], tmp_path: Path) -> None:
    theirs, ours = both("llama", "AdamssConfig", tmp_path / "theirs", **options)
    check_same(theirs, ours)
    check_file_written_by_us(theirs, ours, "llama", tmp_path / "ours")
    before = ours(tokens()).logits
    ours.merge_adapter()
    assert torch.allclose(ours(tokens()).logits, before, rtol=0, atol=1e-9)


def test_from_one_seed_an_adapter_is_pefts() -> None:
    started: list[dict[str, Any]] = []
    for engine in (peft, tuning):
        torch.manual_seed(3)
        config = engine.AdamssConfig(r=8, num_subspaces=3, subspace_rank=2, init_weights=None, task_type="CAUSAL_LM")
        model = engine.get_peft_model(tiny_llama(), config, autocast_adapter_dtype=False)
        started.append(engine.get_peft_model_state_dict(model))
    assert sorted(started[1]) == sorted(started[0])
    for key, tensor in started[0].items():
        assert torch.allclose(started[1][key], tensor, rtol=0, atol=1e-6), key


def perceptron() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4)).double()


def test_a_bias_is_a_column_of_the_weight(tmp_path: Path) -> None:
    x = torch.randn(3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    config = peft.AdamssConfig(target_modules=["0", "2"], r=3, num_subspaces=2)
    theirs: Any = peft.get_peft_model(perceptron(), config, autocast_adapter_dtype=False).eval()
    shaken(theirs)
    theirs.save_pretrained(tmp_path)
    ours: Any = tuning.PeftModel.from_pretrained(perceptron(), tmp_path, autocast_adapter_dtype=False).eval()
    assert torch.allclose(ours(x), theirs(x), rtol=0, atol=1e-9)
    ours.merge_adapter()
    assert torch.allclose(ours(x), theirs(x), rtol=0, atol=1e-9)
    assert torch.allclose(ours.unload()(x), perceptron()(x), rtol=0, atol=1e-9)


ALLOCATED = {"use_asa": True, "asa_target_subspaces": 4, "init_warmup": 1, "final_warmup": 7, "mask_interval": 2}


def trained(model: Any) -> dict[str, bool]:
    return {key: tensor.requires_grad for key, tensor in model.state_dict(keep_vars=True).items() if "adamss_A" in key}


def one_step(model: Any, step: int) -> None:
    optimiser = torch.optim.SGD([each for each in model.parameters() if each.requires_grad], lr=0.1)
    model(input_ids=tokens(), labels=tokens()).loss.backward()
    optimiser.step()
    model.base_model.update_and_allocate(step)
    optimiser.zero_grad()


def test_subspaces_are_pruned_as_peft_prunes_them(tmp_path: Path) -> None:
    theirs, ours = both("llama", "AdamssConfig", tmp_path, r=6, num_subspaces=4, **ALLOCATED)
    left: list[int] = []
    for step in range(8):
        for model in (theirs, ours):
            one_step(model, step)
        assert trained(ours) == trained(theirs), step
        left.append(sum(trained(ours).values()))
    assert left[0] == 16 and left[-1] < 6


def test_what_is_learned_of_subspaces_can_be_gone_on_from(tmp_path: Path) -> None:
    _, ours = both("llama", "AdamssConfig", tmp_path, r=6, num_subspaces=4, **ALLOCATED)
    for step in range(4):
        one_step(ours, step)
    learned = {key: tensor.clone() for key, tensor in ours.base_model.learning().items()}
    ours.save_pretrained(tmp_path / "then")
    again: Any = tuning.PeftModel.from_pretrained(
        tiny_llama(), tmp_path / "then", is_trainable=True, autocast_adapter_dtype=False
    ).eval()
    again.base_model.go_on(learned)
    for step in range(4, 8):
        for model in (ours, again):
            one_step(model, step)
    assert trained(again) == trained(ours)
    assert torch.allclose(again(tokens()).logits, ours(tokens()).logits, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"init_weights": "random"}, "orthogonal"),
        ({"use_asa": True, "init_warmup": 9, "final_warmup": 9}, "`init_warmup` must be smaller"),
        ({"use_asa": True, "mask_interval": 0}, "above 0"),
        ({"num_subspaces": 0}, "above 0"),
    ],
)
def test_what_can_not_be_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        METHOD.config(**options)
