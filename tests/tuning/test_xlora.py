"""X-LoRA: what it has beside the laws of all methods and PEFT's numbers."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import peft
import pytest
import torch

import tuning
from tests.tuning.cases_mixtures import MIXED
from tests.tuning.oracle import shaken, tiny_llama, tokens
from tuning.layers import adapted_layers
from tuning.training.objective import Objective


def both(**options: Any) -> tuple[Any, Any]:
    """PEFT's model and ours, whose classifiers were drawn alike."""
    found: list[Any] = []
    for library in (peft, tuning):
        torch.manual_seed(3)
        config = library.XLoraConfig(task_type="CAUSAL_LM", **{**MIXED, **options})
        found.append(library.get_peft_model(tiny_llama(cached=False), config, autocast_adapter_dtype=False).eval())
    return found[0], found[1]


def test_its_functions_are_pefts() -> None:
    theirs, ours = both(layerwise_scalings=True)
    for model in (theirs, ours):
        assert model.get_latest_scalings() is None
        model.enable_scalings_logging()
        model.set_topk_lora(1)
        model.set_global_scaling_weight(0.5)
        model.set_scaling_pass_value(None)
        assert (model.get_global_scaling_weight(), model.xlora_config.scaling_pass_value) == (0.5, 0.5)
    generated = [model.generate(input_ids=tokens(), max_new_tokens=3) for model in (theirs, ours)]
    assert torch.equal(*generated)
    for one, other in zip(ours.get_scalings_log(), theirs.get_scalings_log(), strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-12)
    assert torch.equal(ours.get_latest_scalings(), ours.get_scalings_log()[-1])
    assert {length: places for length, (places, _) in ours.get_bucketed_scalings_log().items()} == {
        7: [0],
        8: [1],
        9: [2],
    }
    ours.disable_scalings_logging()
    ours(input_ids=tokens())
    assert len(ours.get_scalings_log()) == 3
    ours.clear_scalings_log()
    assert ours.get_scalings_log() == []


def test_trained_experts_are_saved_beside_it(tmp_path: Path) -> None:
    _, model = both(use_trainable_adapters=True)
    shaken(model)
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert any("lora_A" in name for name in trained)
    model(input_ids=tokens(), labels=tokens()).loss.backward()
    assert all(model.get_parameter(name).grad is not None for name in trained)
    model.save_pretrained(tmp_path)
    config = tuning.PeftConfig.from_pretrained(tmp_path)
    assert isinstance(config, tuning.XLoraConfig)
    config.adapters = {expert: str(tmp_path / expert) for expert in ("0", "1")}
    for library in (tuning, peft):
        if library is peft:
            config = peft.XLoraConfig(**config.to_dict())
        base = tiny_llama(cached=False)
        again = library.PeftModel.from_pretrained(base, tmp_path, config=config, autocast_adapter_dtype=False).eval()
        assert torch.allclose(again(input_ids=tokens()).logits, model(input_ids=tokens()).logits, rtol=0, atol=1e-9)


def test_a_layer_by_itself_has_all_experts_at_once() -> None:
    theirs, ours = both()
    layers = [
        next(module for name, module in model.named_modules() if name.endswith("0.self_attn.q_proj"))
        for model in (theirs, ours)
    ]
    x = torch.randn(2, 5, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ours(input_ids=tokens())
    assert torch.allclose(layers[1](x), layers[0](x), rtol=0, atol=1e-12)


def test_layers_that_are_computed_again_have_the_same_gradients() -> None:
    gradients: list[list[Any]] = []
    for again in (False, True):
        torch.manual_seed(3)
        model = tuning.get_peft_model(tiny_llama(), tuning.XLoraConfig(task_type="CAUSAL_LM", xlora_depth=2, **MIXED))
        shaken(model)
        if again:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        model.train()
        torch.manual_seed(4)
        model(input_ids=tokens(), labels=tokens()).loss.backward()
        gradients.append([parameter.grad for parameter in model.parameters() if parameter.requires_grad])
    assert all(torch.allclose(one, other, rtol=0, atol=1e-9) for one, other in zip(*gradients, strict=True))


def test_hooks_go_with_the_adapter() -> None:
    base = tiny_llama()
    model = tuning.get_peft_model(base, tuning.XLoraConfig(task_type="CAUSAL_LM", **MIXED))
    assert base._forward_pre_hooks and base._forward_hooks  # pyright: ignore[reportPrivateUsage]
    model.unload()
    assert not base._forward_pre_hooks and not base._forward_hooks  # pyright: ignore[reportPrivateUsage]
    assert not adapted_layers(base)


def saved(folder: Path, **options: Any) -> Path:
    model = tuning.get_peft_model(
        tiny_llama(), tuning.LoraConfig(task_type="CAUSAL_LM", **{"r": 2, "target_modules": ["q_proj"], **options})
    )
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"use_dora": True}, "use_dora, which X-LoRA currently does not support"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save, which X-LoRA"),
        ({"bias": "all"}, "bias, which X-LoRA"),
    ],
)
def test_what_it_cannot_mix_is_refused(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    adapters = {"one": str(saved(tmp_path, **options))}
    with pytest.raises(tuning.ConfigError, match=message):
        tuning.get_peft_model(tiny_llama(), tuning.XLoraConfig(hidden_size=32, adapters=adapters))


def test_what_is_wrong_is_said() -> None:
    with pytest.warns(UserWarning, match="hidden_size"), pytest.warns(UserWarning, match="no adapters"):
        config = tuning.XLoraConfig()
    with pytest.raises(tuning.ConfigError, match="X-LoRA needs adapters"):
        tuning.get_peft_model(tiny_llama(), config)
    with pytest.raises(tuning.ConfigError, match="top_k_lora is 3, of 2 adapters"):
        tuning.get_peft_model(tiny_llama(), tuning.XLoraConfig(top_k_lora=3, **MIXED))
    with pytest.raises(tuning.CheckpointError, match="is no folder"):
        tuning.get_peft_model(tiny_llama(), tuning.XLoraConfig(hidden_size=32, adapters={"one": "nowhere"}))
    with pytest.raises(TypeError, match="target_modules"):
        tuning.XLoraConfig(target_modules=["q_proj"], **MIXED)  # pyright: ignore[reportCallIssue]
    model = tuning.get_peft_model(tiny_llama(), tuning.XLoraConfig(**MIXED))
    with warnings.catch_warnings(), pytest.raises(tuning.ConfigError, match="`use_cache` must be False"):
        model.generate(input_ids=tokens(), max_new_tokens=2, use_cache=True)


def test_a_training_runs_the_whole_model() -> None:
    model = tuning.get_peft_model(
        tiny_llama(), tuning.XLoraConfig(task_type="CAUSAL_LM", **MIXED), autocast_adapter_dtype=False
    ).eval()
    total, count = Objective(model)({"input_ids": tokens(), "labels": tokens()})
    assert torch.allclose(total / count, model(input_ids=tokens(), labels=tokens()).loss, rtol=0, atol=1e-9)
