"""Which adapters are used and trained after one is deleted, beside HF peft; two tuners of one model."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import peft
import pytest
import torch

import tuning
from tests.tuning.laws import config
from tests.tuning.oracle import shaken, tiny_llama, tokens


def trained(model: Any) -> set[str]:
    """The adapters that take gradients."""
    return {name.split(".")[-2] for name, value in model.named_parameters() if value.requires_grad}


def with_three(engine: Any) -> Any:
    model = engine.get_peft_model(tiny_llama(), engine.LoraConfig(target_modules=["q_proj"]), "a")
    for name in "bc":
        model.add_adapter(name, engine.LoraConfig(target_modules=["q_proj"]))
    return model


@pytest.mark.parametrize("inference", [False, True])
def test_deleting_an_unused_adapter_leaves_what_is_trained_as_pefts(inference: bool) -> None:
    models = [with_three(engine) for engine in (tuning, peft)]
    for model in models:
        model.set_adapter("a", inference_mode=inference)
        model.set_requires_grad(["b"], requires_grad=not inference)
    for name, left in (("c", {"a", "b"}), ("a", {"b"})):
        for model in models:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model.delete_adapter(name)
        assert trained(models[0]) == trained(models[1]) == (set() if inference and name == "c" else left)
        assert models[0].active_adapters == list(models[1].active_adapters)


def test_deleting_an_unused_adapter_leaves_another_merged() -> None:
    model = with_three(tuning)
    model.set_adapter("a")
    shaken(model)
    model.set_adapter("c")
    model.merge_adapter(["a"])
    model.delete_adapter("b")
    assert model.base_model.merged() == ["a"]
    assert model.active_adapters == ["c"]


def test_what_failed_to_load_leaves_what_is_trained(tmp_path: Path) -> None:
    model = with_three(tuning)
    model.save_pretrained(tmp_path)
    model.set_adapter("a", inference_mode=True)
    torch.save({}, tmp_path / "a" / "adapter_model.bin")
    (tmp_path / "a" / "adapter_model.safetensors").unlink()
    with pytest.raises(tuning.CheckpointError):
        model.load_adapter(tmp_path / "a", "more")
    assert trained(model) == set() and "more" not in model.peft_config


def second(first: Any, made: Any, name: str = "other") -> Any:
    """One more PeftModel of the same base."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tuning.get_peft_model(first.get_base_model(), made, name, autocast_adapter_dtype=False)


@pytest.mark.parametrize("method", ["LORA", "VERA", "VBLORA"])
def test_two_tuners_of_a_model_know_each_others_adapters(method: str, tmp_path: Path) -> None:
    one = tuning.get_peft_model(
        tiny_llama(), tuning.LoraConfig(target_modules=["q_proj"]), autocast_adapter_dtype=False
    )
    other = second(one, config(method, target_modules=["q_proj", "v_proj"]))
    shaken(other)
    expected = other.eval()(tokens()).logits
    assert trained(one) == {"other"} or method != "LORA"
    one.save_pretrained(tmp_path)
    again = tuning.PeftModel.from_pretrained(tiny_llama(), tmp_path / "other", autocast_adapter_dtype=False)
    assert torch.equal(again(tokens()).logits, expected)
    one.set_adapter("default")
    assert all("default" in name for name, value in one.named_parameters() if value.requires_grad)
    one.set_adapter("other")
    assert torch.equal(one(tokens()).logits, expected)
    one.merge_adapter()
    one.unmerge_adapter()
    other.delete_adapter("other")
    one.set_adapter("default")
    assert set(one.base_model.layers_of("default")) == set(one.base_model.targeted_module_names)
    with pytest.raises(tuning.AdapterError, match="Adapter other does not exist"):
        one.set_adapter("other")


def test_a_method_sees_a_call_once_whichever_tuner_put_it_there() -> None:
    one = tuning.get_peft_model(tiny_llama(), config("SHADOW"))
    base: Any = one.get_base_model()
    other = second(one, config("SHADOW"))
    assert len(base._forward_pre_hooks) == len(base._forward_hooks) == 1
    one.delete_adapter("other")
    other.delete_adapter("default")
    assert not base._forward_pre_hooks and not base._forward_hooks
