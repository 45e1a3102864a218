"""What methods apart do besides the laws: those that know tasks, those that are not merged, those that are computed from the base."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

import tuning
from tests.tuning.laws import LAYERS, MERGED, adapted, config, logits
from tests.tuning.oracle import tiny_gpt2, tiny_llama, tokens


@pytest.mark.parametrize("method", LAYERS)
def test_an_adapter_is_loaded_without_memory_for_its_start(method: str, tmp_path: Path) -> None:
    model = adapted(method)
    model.save_pretrained(tmp_path)
    base = adapted(method).unload()
    again = tuning.PeftModel.from_pretrained(base, tmp_path, low_cpu_mem_usage=True, autocast_adapter_dtype=False)
    assert not any(parameter.is_meta for parameter in again.parameters())
    assert torch.equal(logits(again), logits(model))


@pytest.mark.parametrize("method", sorted(set(LAYERS) - set(MERGED)))
def test_what_is_no_change_of_weights_is_not_merged(method: str) -> None:
    model = adapted(method)
    before = logits(model)
    with pytest.raises(tuning.AdapterError, match="can't be merged"):
        model.merge_adapter()
    with pytest.raises(tuning.AdapterError, match="can't be merged"):
        model.merge_and_unload()
    assert torch.equal(logits(model), before)


def test_a_task_is_said_for_each_row() -> None:
    model, x = adapted("POLY"), tokens(4)
    with pytest.raises(tuning.ConfigError, match="task_ids should not be None"):
        model(input_ids=x)
    with pytest.raises(tuning.ConfigError, match=r"Only 2 tasks available.*Found task id = 2"):
        model(input_ids=x, task_ids=torch.tensor([0, 2, 0, 0]))
    with pytest.raises(tuning.ConfigError, match="task_ids has 3 rows, and the batch 4"):
        model(input_ids=x, task_ids=torch.tensor([0, 1, 0]))
    with pytest.raises(tuning.ConfigError, match="n_splits is 5"):
        tuning.get_peft_model(tiny_llama(), tuning.PolyConfig(n_splits=5))
    ids = torch.tensor([0, 1, 1, 0])
    found = model.generate(x, task_ids=ids, max_new_tokens=3, num_beams=2, do_sample=False)
    alone = [
        model.generate(x[row : row + 1], task_ids=ids[row : row + 1], max_new_tokens=3, num_beams=2, do_sample=False)
        for row in range(4)
    ]
    assert torch.equal(found, torch.cat(alone))


def test_tasks_are_drawn_as_in_peft() -> None:
    options: dict[str, Any] = {"n_tasks": 3, "n_splits": 2, "task_type": "CAUSAL_LM", "init_weights": False}
    losses, ids = [], torch.tensor([2, 0, 1])
    for engine in (tuning, peft):
        torch.manual_seed(4)
        model: Any = engine.get_peft_model(tiny_llama(), engine.PolyConfig(**options))
        torch.manual_seed(5)
        losses.append(model.train()(input_ids=tokens(), labels=tokens(), task_ids=ids).loss)
    assert torch.allclose(*losses, rtol=0, atol=1e-9)


def test_prompts_inside_of_attention_are_for_some_models() -> None:
    for options, message in (
        ({"adapter_layers": 3}, "more adapter layers '3' than the model has '2'"),
        ({"adapter_layers": None}, "needs adapter_len"),
        ({"adapter_len": 0}, "adapter_len is 0"),
    ):
        with pytest.raises(tuning.ConfigError, match=message):
            made = tuning.AdaptionPromptConfig(**{"adapter_len": 2, "adapter_layers": 1, **options})
            tuning.get_peft_model(tiny_gpt2(), made)
    t5 = T5ForConditionalGeneration(T5Config(vocab_size=9, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2))
    with pytest.raises(tuning.ConfigError, match="Unsupported model type for adaption prompt: 't5'"):
        tuning.get_peft_model(t5, tuning.AdaptionPromptConfig(adapter_len=2, adapter_layers=1))
    model = adapted("LORA")
    with pytest.raises(tuning.ConfigError, match="adapters sit inside of"):
        model.add_adapter("other", config("ADAPTION_PROMPT"))


def test_prompts_inside_of_attention_go_with_a_cache() -> None:
    model, x = adapted("ADAPTION_PROMPT"), tokens(2)
    with torch.no_grad():
        first = model(input_ids=x[:, :4], use_cache=True)
        cache = getattr(first, "cache", None) or first.past_key_values
        name = "cache" if hasattr(first, "cache") else "past_key_values"
        second = model(input_ids=x[:, 4:], **{name: cache})
    assert torch.allclose(second.logits, logits(model, x)[:, 4:], rtol=0, atol=1e-9)
