"""LoRA-FA's optimiser beside HF peft's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft.optimizers import create_lorafa_optimizer as theirs_of

import tuning
from tests.tuning.oracle import both, check_tensors, tiny_llama, tokens
from tuning.lora_fa import create_lorafa_optimizer


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_steps_are_pefts(decay: float, tmp_path: Path) -> None:
    options = {"r": 4, "lora_alpha": 6, "target_modules": ["q_proj", "v_proj"], "alpha_pattern": {"v_proj": 3}}
    models = both("llama", "LoraConfig", tmp_path, modules_to_save=["lm_head"], **options)
    optimisers = [
        make(model, r=4, lora_alpha=6, lr=0.01, weight_decay=decay)
        for make, model in zip((theirs_of, create_lorafa_optimizer), models, strict=True)
    ]
    for _ in range(3):
        for model, optimiser in zip(models, optimisers, strict=True):
            optimiser.zero_grad()
            model(input_ids=tokens(), labels=tokens()).loss.backward()
            optimiser.step()
    found = [{name: value for name, value in model.named_parameters() if ".default" in name} for model in models]
    check_tensors(found[1], found[0])
    assert not any(value.requires_grad for name, value in found[1].items() if "lora_A" in name)


def test_another_scaling_than_the_configs_is_refused() -> None:
    model = tuning.get_peft_model(tiny_llama(), tuning.LoraConfig())
    with pytest.raises(tuning.ConfigError, match="use_rslora=True was passed"):
        create_lorafa_optimizer(model, r=8, lora_alpha=8, lr=0.1, use_rslora=True)
    assert isinstance(create_lorafa_optimizer(model, r=8, lora_alpha=8, lr=0.1), torch.optim.Optimizer)
