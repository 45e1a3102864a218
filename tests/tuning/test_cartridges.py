"""Cartridges made from texts and put together; prompts of many tasks that start from other tasks'; CPT's loss."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import peft
import pytest
import torch

import tuning
from tests.tuning.oracle import check_tensors, shaken, tiny_llama, tokens

ADAPTER = "adapter_model.safetensors"


def cartridge(count: int = 4, kind: str = "CartridgeConfig", **options: Any) -> Any:
    config = getattr(tuning, kind)(task_type="CAUSAL_LM", num_virtual_tokens=count, **options)
    return tuning.get_peft_model(tiny_llama(), config).eval()


def tokenizer(text: str, **options: Any) -> dict[str, torch.Tensor]:
    assert text == "text"
    return {"input_ids": tokens(1, 7)}


@pytest.mark.parametrize("kind", ["CartridgeConfig", "PrefixTuningConfig"])
def test_a_text_can_be_what_comes_before(kind: str) -> None:
    model = cartridge(7, kind)
    tuning.initialize_kv_prefix_from_text(model, tokenizer, text="text")
    x = tokens(1, 3)
    whole = tiny_llama()(input_ids=torch.cat([tokens(1, 7), x], dim=1)).logits[:, 7:]
    assert torch.allclose(model(input_ids=x).logits, whole, rtol=0, atol=1e-5)


def test_keys_and_values_lie_as_in_peft() -> None:
    cache = [(torch.randn(1, 2, 5, 8), torch.randn(1, 2, 5, 8)) for _ in range(2)]
    ours = tuning.prompt_embeddings_from_past_key_values(cache, num_virtual_tokens=3)
    assert torch.equal(ours, peft.prompt_embeddings_from_past_key_values(cache, num_virtual_tokens=3))
    with pytest.raises(tuning.ConfigError, match="Need at least 6 cached tokens, got 5"):
        tuning.prompt_embeddings_from_past_key_values(cache, num_virtual_tokens=6)
    with pytest.raises(tuning.ConfigError, match="one row"):
        tuning.prompt_embeddings_from_past_key_values([(torch.zeros(2, 2, 5, 8),) * 2], num_virtual_tokens=3)
    with pytest.raises(tuning.AdapterError, match="must be a CARTRIDGE"):
        model = cartridge(2, "PromptTuningConfig")
        tuning.initialize_kv_prefix_from_past_key_values(model, past_key_values=cache)


def test_frozen_tokens_stay(tmp_path: Path) -> None:
    model = cartridge(num_frozen_tokens=2).train()
    before = tuning.get_peft_model_state_dict(model)["prompt_embeddings"].clone()
    optimiser = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=0.1, weight_decay=0.1)
    model(input_ids=tokens(), labels=tokens()).loss.backward()
    optimiser.step()
    model.save_pretrained(tmp_path)
    again = tuning.PeftModel.from_pretrained(tiny_llama(), tmp_path, is_trainable=True)
    for one in (model, again):
        moved = (tuning.get_peft_model_state_dict(one)["prompt_embeddings"] != before).any(dim=1)
        assert moved.tolist() == [False, False, True, True]
    assert sum(p.numel() for p in again.parameters() if p.requires_grad) == before[2:].numel()


def test_cartridges_are_put_together(tmp_path: Path) -> None:
    models = [cartridge(3), cartridge(2)]
    for number, model in enumerate(models):
        model.save_pretrained(tmp_path / str(number))
    paths = [tmp_path / "0", tmp_path / "1"]
    tuning.compose_cartridge_adapters(paths, output_path=tmp_path / "ours")
    peft.compose_cartridge_adapters(paths, output_path=tmp_path / "theirs")
    ours, theirs = (tuning.PeftModel.from_pretrained(tiny_llama(), tmp_path / name) for name in ("ours", "theirs"))
    check_tensors(tuning.get_peft_model_state_dict(ours), tuning.get_peft_model_state_dict(theirs), 0)
    assert ours.active_peft_config.num_virtual_tokens == 5
    with pytest.raises(tuning.ConfigError, match="at least 2"):
        tuning.compose_cartridge_adapters(paths[:1], output_path=tmp_path / "ours")


@pytest.mark.parametrize("how", ["AVERAGE_SOURCE_TASKS", "EXACT_SOURCE_TASK", "ONLY_SOURCE_SHARED"])
def test_a_prompt_starts_from_other_tasks(how: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"task_type": "CAUSAL_LM", "num_virtual_tokens": 3, "num_ranks": 2}
    model = tuning.get_peft_model(tiny_llama(), tuning.MultitaskPromptTuningConfig(num_tasks=3, **options))
    shaken(model)
    model.save_pretrained(tmp_path)
    options |= {"prompt_tuning_init": how, "prompt_tuning_init_state_dict_path": str(tmp_path / ADAPTER)}
    states = []
    for engine in (tuning, peft):
        made: Any = engine.get_peft_model(
            tiny_llama(), engine.MultitaskPromptTuningConfig(prompt_tuning_init_task=1, **options)
        )
        states.append(engine.get_peft_model_state_dict(made))
    if how == "ONLY_SOURCE_SHARED":  # the rest is random
        states = [{"prompt_embeddings": state["prompt_embeddings"]} for state in states]
    check_tensors(*states, 0)


def test_a_row_without_a_task_is_refused() -> None:
    config = tuning.MultitaskPromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3, num_tasks=2)
    model = tuning.get_peft_model(tiny_llama(), config).eval()
    ids = torch.tensor([0, 1, 1])
    assert model.generate(tokens(), task_ids=ids, max_new_tokens=2).shape == (3, 9)
    for call in (model, model.generate):
        with pytest.raises(tuning.ConfigError, match="task_ids cannot be None"):
            call(input_ids=tokens())
    with pytest.raises(tuning.ConfigError, match="state_dict_path needs"):
        config = tuning.MultitaskPromptTuningConfig(
            task_type="CAUSAL_LM", num_virtual_tokens=3, prompt_tuning_init="EXACT_SOURCE_TASK"
        )
        tuning.get_peft_model(tiny_llama(), config)


def test_cpt_counts_outputs_alone() -> None:
    base: Any = SimpleNamespace(task_type="CAUSAL_LM", cpt_token_ids=[3, 9, 40], cpt_tokens_type_mask=[1, 2, 4])
    losses = []
    kinds = torch.tensor([[1, 2, 2, 2, 3, 4, 4]] * 3)
    for engine in (tuning, peft):
        model: Any = engine.get_peft_model(tiny_llama(), engine.CPTConfig(**vars(base))).eval()
        losses.append(model(input_ids=tokens(), labels=tokens(), input_type_mask=kinds.clone()).loss)
    assert torch.allclose(*losses, rtol=0, atol=1e-6)
    config = tuning.CPTConfig(task_type="CAUSAL_LM", cpt_token_ids=[3, 9])
    with pytest.raises(tuning.ConfigError, match="multiple of 4"):
        tuning.get_peft_model(tiny_llama(), config)(input_ids=tokens(), labels=tokens())
    with pytest.raises(tuning.ConfigError, match="only supports task_type"):
        tuning.CPTConfig(task_type="SEQ_CLS")
