"""What an adapter changes in a weight (`get_delta_weight`), beside HF peft; in half precision; while it is merged."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

import tuning
from tests.tuning.laws import MERGED, adapted, check_close, weights
from tests.tuning.oracle import shaken, tiny_llama
from tuning.layers import adapted_layers

PATHS = ["linear", "turned", "words", "conv", "one", "flat"]


class Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear, self.turned, self.words = nn.Linear(6, 8), Conv1D(8, 6), nn.Embedding(9, 6)
        self.conv, self.one, self.flat = nn.Conv2d(4, 8, 3), nn.Conv2d(8, 4, 1), nn.Conv1d(4, 6, 2)


def both(folder: Path, dtype: torch.dtype = torch.float64, **options: Any) -> tuple[Any, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs: Any = peft.get_peft_model(Layers().to(dtype), peft.LoraConfig(target_modules=PATHS, r=3, **options))
        shaken(theirs)
        theirs.save_pretrained(folder, save_embedding_layers=False)
        return theirs, tuning.PeftModel.from_pretrained(Layers().to(dtype), folder)


def change(model: Any, path: str) -> Tensor:
    return model.get_submodule(f"base_model.model.{path}").get_delta_weight("default")


@pytest.mark.parametrize("options", [{}, {"use_dora": True}], ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_change_is_pefts(dtype: torch.dtype, options: dict[str, Any], tmp_path: Path) -> None:
    theirs, ours = both(tmp_path, dtype, **options)
    for path in PATHS:
        found, expected = change(ours, path), change(theirs, path)
        assert found.shape == expected.shape == ours.get_submodule(f"base_model.model.{path}.base_layer").weight.shape
        assert found.abs().max() > 1e-3
        assert torch.allclose(found, expected, rtol=0, atol=1e-7), path


@pytest.mark.parametrize("method", MERGED)
def test_a_change_is_seen_or_refused_while_merged_and_the_base_comes_back(method: str) -> None:
    model = adapted(method)
    before, layer = weights(model), next(iter(adapted_layers(model).values()))
    expected = layer.get_delta_weight("default")
    model.merge_adapter()
    try:
        check_close(layer.get_delta_weight("default"), expected)
    except tuning.AdapterError as error:
        assert "unmerge it" in str(error)
    model.unmerge_adapter()
    after = weights(model)
    for key, value in before.items():
        check_close(after[key], value)


@pytest.mark.parametrize(
    ("config", "options"),
    [
        ("LoKrConfig", {"r": 4}),
        ("MissConfig", {"r": 8, "init_weights": "bat"}),
        ("HiraConfig", {"r": 4}),
        ("LoraConfig", {"r": 4}),
    ],
)
def test_a_change_of_a_base_in_half_precision_is_exact(config: str, options: dict[str, Any]) -> None:
    """The base's weights are numbers of bfloat16, so the same base in single precision has the same change."""
    half = tiny_llama().bfloat16()
    found: list[Tensor] = []
    for base in (half, tiny_llama().bfloat16().float()):
        torch.manual_seed(3)
        model = tuning.get_peft_model(base, getattr(tuning, config)(target_modules=["q_proj"], **options))
        shaken(model)
        found.append(change(model, "model.layers.0.self_attn.q_proj"))
    assert torch.allclose(found[0], found[1], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("config", "options"), [("LoKrConfig", {"r": 4}), ("MissConfig", {"r": 8, "init_weights": "bat"})]
)
def test_a_conversion_on_a_base_in_half_precision_is_pefts(
    config: str, options: dict[str, Any], tmp_path: Path
) -> None:
    options = {"target_modules": ["q_proj", "v_proj"], **options}
    theirs: Any = peft.get_peft_model(tiny_llama().bfloat16(), getattr(peft, config)(**options))
    shaken(theirs)
    theirs.save_pretrained(tmp_path)
    ours = tuning.PeftModel.from_pretrained(tiny_llama().bfloat16(), tmp_path)
    found, expected = (engine.convert_to_lora(model, 8)[1] for engine, model in ((tuning, ours), (peft, theirs)))
    assert set(found) == set(expected)
    for key in (key for key in found if ".lora_A." in key):
        products = [
            tensors[key.replace("lora_A", "lora_B")].float() @ tensors[key].float() for tensors in (found, expected)
        ]
        assert products[0].abs().max() > 1e-3
        assert torch.allclose(*products, rtol=0, atol=2e-3 if "bat" in options.values() else 1e-5), key
