"""Adapters of other methods as LoRA, beside HF peft."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from torch import nn

import tuning
from tests.tuning.oracle import both, tiny_llama, tokens

CASES: list[tuple[str, dict[str, Any]]] = [
    ("LoKrConfig", {"r": 4, "target_modules": ["q_proj", "down_proj"]}),
    ("LoHaConfig", {"r": 2, "target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}),
    ("VeraConfig", {"r": 4, "target_modules": ".*v_proj"}),
    ("MissConfig", {"r": 8, "target_modules": ["q_proj", "down_proj"]}),
    ("MissConfig", {"r": 8, "target_modules": ["q_proj"], "init_weights": "mini", "mini_r": 4}),
    ("LoraConfig", {"r": 4, "target_modules": ["q_proj"]}),
    ("UniLoraConfig", {"target_modules": ["q_proj"], "init_weights": False}),
]


@pytest.mark.parametrize("rank", [8, 0.9])
@pytest.mark.parametrize(("config", "options"), CASES)
def test_a_method_becomes_the_lora_that_pefts_becomes(
    config: str, options: dict[str, Any], rank: float, tmp_path: Path
) -> None:
    theirs, ours = both("llama", config, tmp_path / "before", **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, expected = (engine.convert_to_lora(model, rank) for engine, model in ((tuning, ours), (peft, theirs)))
    for name in ("r", "lora_alpha", "rank_pattern", "alpha_pattern", "target_modules", "modules_to_save"):
        assert getattr(found[0], name) == getattr(expected[0], name), name
    assert set(found[1]) == set(expected[1])
    for key in expected[1]:
        if ".lora_A." not in key:
            continue
        products = [tensors[key.replace("lora_A", "lora_B")] @ tensors[key] for tensors in (found[1], expected[1])]
        assert torch.allclose(*products, rtol=0, atol=1e-5), key


def test_what_is_saved_is_a_lora_that_does_the_same(tmp_path: Path) -> None:
    _, ours = both("llama", "MissConfig", tmp_path / "before", r=8, target_modules=["q_proj", "v_proj"])
    tuning.save_as_lora(tmp_path / "lora", ours, rank=8)
    again = tuning.PeftModel.from_pretrained(tiny_llama(), tmp_path / "lora", autocast_adapter_dtype=False)
    assert again.peft_config["default"].peft_type == "LORA"
    x = tokens()
    assert torch.allclose(again(input_ids=x).logits, ours(input_ids=x).logits, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("config", "options"),
    [
        *CASES,
        ("IA3Config", {}),
        ("ShiraConfig", {"r": 2}),
        ("SupertuningConfig", {"sparsity": 0.9, "target_modules": ["q_proj"]}),
        ("LoraConfig", {"kasa_config": {}}),
        ("PromptTuningConfig", {"num_virtual_tokens": 2}),
    ],
)
def test_what_can_be_converted_is_said_as_pefts(config: str, options: dict[str, Any]) -> None:
    said = [
        engine.get_peft_model(tiny_llama(), getattr(engine, config)(task_type="CAUSAL_LM", **options)).supports_lora_conversion()
        for engine in (tuning, peft)
    ]  # fmt: skip
    assert said[0] is said[1]


@pytest.mark.parametrize(
    ("config", "rank", "error", "message"),
    [
        (None, 4, TypeError, "Could not detect any layer that supports LoRA conversion"),
        (lambda: tuning.IA3Config(), 4, TypeError, "IA3 do not support LoRA conversion"),
        (lambda: tuning.LoraConfig(use_dora=True), 4, TypeError, "do not support LoRA conversion"),
        (lambda: tuning.LoraConfig(target_modules=["embed_tokens"]), 4, TypeError, "do not support LoRA conversion"),
        (lambda: tuning.LoKrConfig(target_modules=["q_proj"]), 0, ValueError, "rank is 0"),
        (lambda: tuning.LoKrConfig(target_modules=["q_proj"]), 1.5, ValueError, "at most 1"),
        (lambda: tuning.LoKrConfig(target_modules=["q_proj"]), 99, ValueError, "can have 32 at most"),
    ],
)
def test_what_is_no_lora_is_refused(config: Any, rank: float, error: type[Exception], message: str) -> None:
    model: nn.Module = tiny_llama() if config is None else tuning.get_peft_model(tiny_llama(), config())
    with pytest.raises(error, match=message):
        tuning.convert_to_lora(model, rank)
