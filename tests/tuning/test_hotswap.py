"""An adapter's weights in another's place: what is computed then is what PEFT computes; what can't be swapped changes nothing."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from peft.utils.hotswap import hotswap_adapter as theirs_swap

import tuning
from tests.tuning.oracle import shaken, tiny_llama
from tests.tuning.test_refusals import adapted, logits
from tuning.hotswap import hotswap_adapter

LAYERS = ["q_proj", "down_proj"]


def saved(folder: Path, **options: Any) -> Any:
    """PEFT's model with an adapter, which is in the folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = peft.LoraConfig(**{"target_modules": LAYERS, "r": 4, **options})
        model = peft.get_peft_model(tiny_llama(), config, autocast_adapter_dtype=False).eval()
        shaken(model)
        model.save_pretrained(folder)
    return model


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({}, {}),
        ({"r": 6}, {"lora_alpha": 3}),
        ({"r": 2}, {"use_rslora": False}),
        ({}, {"target_modules": ["q_proj"]}),
        ({"use_dora": True}, {"use_dora": True}),
        ({"use_dora": True, "r": 6}, {"use_dora": True, "lora_alpha": 3}),
    ],
    ids=str,
)
def test_a_swapped_adapter_computes_what_the_new_one_does(
    old: dict[str, Any], new: dict[str, Any], tmp_path: Path
) -> None:
    expected = logits(saved(tmp_path, **new))
    model = adapted(**{"target_modules": LAYERS, "r": 4, **old})
    shaken(model)  # once more: other weights than the new one's
    assert not torch.allclose(logits(model), expected, atol=1e-3)
    hotswap_adapter(model, tmp_path, "default")
    assert torch.allclose(logits(model), expected, rtol=0, atol=1e-9)
    if not old.get("use_dora"):  # PEFT 0.21.2 finds no magnitudes by a checkpoint's keys: KeyError
        theirs = saved(tmp_path / "old", **old)
        theirs_swap(theirs, str(tmp_path), "default", torch_device="cpu")
        assert torch.allclose(logits(theirs), logits(model), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        ({}, {"target_modules": [*LAYERS, "v_proj"]}, tuning.CheckpointError, "unexpected keys found: .*v_proj"),
        ({}, {"lora_bias": True}, tuning.CheckpointError, "unexpected keys found: .*lora_B.bias"),
        ({"use_dora": True}, {"use_dora": True, "target_modules": ["q_proj"]}, tuning.CheckpointError, "missing keys found.*down_proj"),
        ({}, {"use_dora": True}, tuning.ConfigError, "for use_dora, False != True"),
        ({"trainable_token_indices": [3]}, {}, tuning.ConfigError, "has trained tokens"),
    ],
)  # fmt: skip
def test_what_cannot_be_swapped_changes_nothing(
    old: dict[str, Any], new: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    saved(tmp_path, **new)
    model = adapted(**{"target_modules": LAYERS, "r": 4, **old})
    before = logits(model)
    with pytest.raises(error, match=message):
        hotswap_adapter(model, tmp_path, "default")
    assert torch.equal(logits(model), before)


def test_a_router_learns_that_an_expert_was_swapped(tmp_path: Path) -> None:
    saved(tmp_path)
    model = adapted(target_modules=LAYERS, r=4)
    routing = model.tuner_for("test").routing
    before = routing.changes
    hotswap_adapter(model, tmp_path, "default")
    assert routing.changes > before
