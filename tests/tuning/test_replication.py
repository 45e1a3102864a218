"""LoRA's `layer_replication`, beside HF peft."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from transformers import LlamaForCausalLM

import tuning
from tests.tuning.oracle import check_same, shaken, tiny_gpt2, tiny_llama, tokens

SPANS = [(0, 1), (0, 2), (1, 2)]


def adapted(library: Any = tuning, base: Any = None, **options: Any) -> Any:
    config = library.LoraConfig(
        **{
            "task_type": "CAUSAL_LM",
            "r": 4,
            "layer_replication": SPANS,
            "target_modules": ["q_proj", "down_proj"],
            **options,
        }
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return library.get_peft_model(
            tiny_llama() if base is None else base, config, autocast_adapter_dtype=False
        ).eval()


def test_it_is_pefts(tmp_path: Path) -> None:
    theirs = adapted(peft)
    shaken(theirs)
    theirs.save_pretrained(tmp_path / "theirs")
    ours: Any = tuning.PeftModel.from_pretrained(
        tiny_llama(), tmp_path / "theirs", is_trainable=True, autocast_adapter_dtype=False
    ).eval()
    check_same(theirs, ours)
    ours.save_pretrained(tmp_path / "ours")
    again = peft.PeftModel.from_pretrained(tiny_llama(), tmp_path / "ours", autocast_adapter_dtype=False).eval()
    x = tokens()
    assert torch.allclose(again(input_ids=x).logits, ours(input_ids=x).logits, rtol=0, atol=1e-9)
    cached, plain = (
        ours.generate(input_ids=x, max_new_tokens=4, use_cache=use, pad_token_id=0) for use in (True, False)
    )
    assert torch.equal(cached, plain)


def test_repeated_layers_share_the_base_and_not_their_adapters() -> None:
    base = tiny_llama()
    count = sum(parameter.numel() for parameter in base.parameters())
    model = adapted(base=base)
    layers = base.model.layers  # pyright: ignore[reportAttributeAccessIssue]
    projections = [layer.self_attn.q_proj for layer in layers]
    assert len(layers) == 4 == base.config.num_hidden_layers
    assert [layer.self_attn.layer_idx for layer in layers] == [0, 1, 2, 3]
    assert len({id(each.base_layer.weight) for each in projections}) == 2
    assert len({id(each.lora_A["default"].weight) for each in projections}) == 4
    assert model.get_nb_trainable_parameters()[1] == count + model.get_nb_trainable_parameters()[0]


def test_merging_gives_each_layer_its_own_weights(tmp_path: Path) -> None:
    model, x = adapted(), tokens()
    shaken(model)
    before = model(input_ids=x).logits
    model.merge_adapter()
    assert torch.allclose(model(input_ids=x).logits, before, rtol=0, atol=1e-9)
    model.unmerge_adapter()
    assert torch.allclose(model(input_ids=x).logits, before, rtol=0, atol=1e-9)
    assert torch.equal(copy.deepcopy(model)(input_ids=x).logits, model(input_ids=x).logits)
    merged: Any = model.merge_and_unload()
    assert torch.allclose(merged(input_ids=x).logits, before, rtol=0, atol=1e-9)
    merged.save_pretrained(str(tmp_path))
    again = LlamaForCausalLM.from_pretrained(tmp_path, dtype=torch.float64)
    assert torch.allclose(again(input_ids=x).logits, before, rtol=0, atol=1e-9)


def test_taking_it_off_gives_the_layers_back() -> None:
    plain = tiny_llama()
    for take_off in ("unload", "delete_adapter"):
        base = tiny_llama()
        model = adapted(base=base)
        shaken(model)
        model.unload() if take_off == "unload" else model.delete_adapter("default")
        assert [(path, type(module)) for path, module in base.named_modules()] == [
            (path, type(module)) for path, module in plain.named_modules()
        ]
        assert base.config.num_hidden_layers == 2
        assert torch.equal(base(input_ids=tokens()).logits, plain(input_ids=tokens()).logits)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer_replication": [(0, 3)]}, "spans .start, end. of the 2 layers"),
        ({"layer_replication": [(1, 1)]}, "spans .start, end. of the 2 layers"),
        ({"target_modules": ["nothing"]}, "not found in the base model"),
    ],
)
def test_what_is_wrong_is_said_and_changes_nothing(options: dict[str, Any], message: str) -> None:
    base = tiny_llama()
    with pytest.raises(tuning.TuningError, match=message):
        adapted(base=base, **options)
    assert torch.equal(base(input_ids=tokens()).logits, tiny_llama()(input_ids=tokens()).logits)
    assert base.config.num_hidden_layers == 2


def test_adapters_on_one_model_repeat_its_layers_alike() -> None:
    model = adapted()
    again = tuning.LoraConfig(target_modules=["q_proj"], layer_replication=SPANS)
    model.add_adapter("again", again)
    with pytest.raises(tuning.ConfigError, match="a model has one"):
        model.add_adapter("other", tuning.LoraConfig(target_modules=["q_proj"], layer_replication=[(0, 2)]))
    model.add_adapter("plain", tuning.LoraConfig(target_modules=["q_proj"]))
    late = tuning.get_peft_model(tiny_gpt2(), tuning.LoraConfig())
    with pytest.raises(tuning.ConfigError, match="add this adapter first"):
        late.add_adapter("late", tuning.LoraConfig(layer_replication=[(0, 2)]))
