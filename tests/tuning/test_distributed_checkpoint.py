"""`torch.distributed.checkpoint` saves an adapted model and its optimiser, and fills another with them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict

import tuning
from tests.tuning.oracle import shaken, tiny_llama, tokens

CONFIGS = {
    "lora": tuning.LoraConfig(target_modules=["q_proj", "embed_tokens"], modules_to_save=["lm_head"]),
    "tokens": tuning.LoraConfig(use_dora=True, trainable_token_indices=[1, 2]),
    "vera": tuning.VeraConfig(),
    "prompts": tuning.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2),
}


def adapted(config: tuning.PeftConfig) -> tuple[Any, torch.optim.Optimizer]:
    model = tuning.get_peft_model(tiny_llama(), copy.deepcopy(config), autocast_adapter_dtype=False)
    return model, torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)


def logits(model: nn.Module) -> Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=tokens()).logits


@pytest.mark.parametrize("trained_alone", [False, True])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_model_and_its_optimiser_go_through(config: tuning.PeftConfig, trained_alone: bool, tmp_path: Path) -> None:
    options = StateDictOptions(ignore_frozen_params=trained_alone, strict=not trained_alone)
    model, optimiser = adapted(config)
    shaken(model)
    model(input_ids=tokens(), labels=tokens()).loss.backward()
    optimiser.step()
    optimiser.zero_grad()
    parts = get_state_dict(model, optimiser, options=options)
    dcp.save(dict(zip(("model", "optimiser"), parts, strict=True)), checkpoint_id=tmp_path, no_dist=True)

    again, its_optimiser = adapted(config)
    assert not torch.equal(logits(again), logits(model))
    there = dict(zip(("model", "optimiser"), get_state_dict(again, its_optimiser, options=options), strict=True))
    dcp.load(there, checkpoint_id=tmp_path, no_dist=True)
    set_state_dict(
        again, its_optimiser, model_state_dict=there["model"], optim_state_dict=there["optimiser"], options=options
    )
    assert torch.equal(logits(again), logits(model))
    for each in (model, again):
        each.train()(input_ids=tokens(), labels=tokens()).loss.backward()
    optimiser.step()
    its_optimiser.step()
    assert torch.allclose(logits(again), logits(model), rtol=0, atol=1e-9)
