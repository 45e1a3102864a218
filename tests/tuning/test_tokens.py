"""Trained tokens and tied heads: what stays one weight stays one, through training, merging, saving and loading."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaForCausalLM, PreTrainedModel

import tuning
from tests.tuning.oracle import shaken, tiny_gpt2, tiny_llama, tokens
from tuning.routing import NO_ADAPTER


def tied_llama() -> PreTrainedModel:
    config = tiny_llama().config
    config.tie_word_embeddings = True
    torch.manual_seed(0)
    return LlamaForCausalLM(config).double().eval()


def logits(model: nn.Module, **options: Any) -> Tensor:
    with torch.no_grad():
        return model(input_ids=tokens(), **options).logits


def adapted(config: Any, base: Any = tied_llama) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = tuning.get_peft_model(base(), config, autocast_adapter_dtype=False)
    shaken(model)
    return model.eval()


IDS = [1, 5, 7, 30, 40]
WAYS: dict[str, tuning.PeftConfig | Any] = {
    "beside-lora": lambda: tuning.LoraConfig(trainable_token_indices=IDS),
    "alone": lambda: tuning.TrainableTokensConfig(token_indices=IDS),
    "lora": lambda: tuning.LoraConfig(target_modules=["embed_tokens", "q_proj"], ensure_weight_tying=True),
    "lora-head": lambda: tuning.LoraConfig(target_modules=["lm_head", "q_proj"], ensure_weight_tying=True),
    "lora-pattern": lambda: tuning.LoraConfig(target_modules="embed_tokens|.*q_proj", ensure_weight_tying=True),
    "whole": lambda: tuning.LoraConfig(modules_to_save=["embed_tokens"], ensure_weight_tying=True),
    "whole-head": lambda: tuning.LoraConfig(modules_to_save=["lm_head"], ensure_weight_tying=True),
}
every_way = pytest.mark.parametrize("way", WAYS)


@every_way
def test_a_tied_model_is_read_and_computed_as_peft_does(way: str, tmp_path: Path) -> None:
    options = {key: value for key, value in WAYS[way]().to_dict().items() if value is not None}
    kind = peft.TrainableTokensConfig if way == "alone" else peft.LoraConfig
    known = set(kind.__dataclass_fields__)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = kind(**{key: value for key, value in options.items() if key in known})
        theirs = peft.get_peft_model(tied_llama(), config, autocast_adapter_dtype=False)
        shaken(theirs)
        theirs.save_pretrained(tmp_path / "theirs")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            ours = tuning.PeftModel.from_pretrained(tied_llama(), tmp_path / "theirs", autocast_adapter_dtype=False)
        assert torch.allclose(logits(ours), logits(theirs.eval()), rtol=0, atol=1e-9)
        ours.save_pretrained(tmp_path / "ours")
        again = peft.PeftModel.from_pretrained(tied_llama(), tmp_path / "ours", autocast_adapter_dtype=False).eval()
    assert torch.allclose(logits(again), logits(ours), rtol=0, atol=1e-9)


@every_way
def test_merging_keeps_the_tie(way: str) -> None:
    model = adapted(WAYS[way]())
    applied, base = logits(model), {key: value.clone() for key, value in tied_llama().state_dict().items()}
    assert (applied - logits(tied_llama())).abs().max() > 1e-2
    for keep in (False, True):
        model.merge_adapter(keep_base=keep)
        assert torch.allclose(logits(model), applied, rtol=0, atol=1e-9)
        model.unmerge_adapter()
        assert torch.allclose(logits(model), applied, rtol=0, atol=1e-9)
        with model.disable_adapter():
            assert torch.allclose(logits(model), logits(tied_llama()), rtol=0, atol=1e-9)
    plain = copy.deepcopy(model).merge_and_unload()
    assert plain.lm_head.weight is plain.model.embed_tokens.weight
    assert plain.config.tie_word_embeddings
    assert torch.allclose(logits(plain), applied, rtol=0, atol=1e-9)
    plain = model.unload()
    assert plain.lm_head.weight is plain.model.embed_tokens.weight
    assert all(torch.allclose(value, base[key], rtol=0, atol=1e-12) for key, value in plain.state_dict().items())


def test_a_second_adapter_on_the_embedding_alone_unties_what_is_merged() -> None:
    for way in ("lora", "beside-lora"):
        model = adapted(WAYS[way]())
        applied = logits(model)
        model.add_adapter("other", tuning.LoraConfig(target_modules=["embed_tokens"]), autocast_adapter_dtype=False)
        model.set_adapter("other")
        shaken(model)
        model.set_adapter(["default", "other"])
        stacked = logits(model.eval())
        model.merge_adapter(["default"])
        model.merge_adapter(["other"])
        assert torch.allclose(logits(model), stacked, rtol=0, atol=1e-9)
        model.unmerge_adapter()
        assert torch.allclose(logits(model), stacked, rtol=0, atol=1e-9)
        model.set_adapter("default")
        assert torch.allclose(logits(model.eval()), applied, rtol=0, atol=1e-9)


@every_way
def test_training_trains_one_weight(way: str, tmp_path: Path) -> None:
    model = adapted(WAYS[way]()).train()
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    losses: list[float] = []
    for _ in range(4):
        optimiser.zero_grad()
        loss = model(input_ids=tokens(), labels=tokens()).loss
        loss.backward()
        optimiser.step()
        losses.append(float(loss))
    assert losses[-1] < losses[0]
    applied = logits(model.eval())
    model.save_pretrained(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = tuning.PeftModel.from_pretrained(tied_llama(), tmp_path, autocast_adapter_dtype=False)
    assert torch.equal(logits(again), applied)
    assert torch.allclose(logits(model.merge_and_unload()), applied, rtol=0, atol=1e-9)


@every_way
def test_copies_rows_and_deleting(way: str) -> None:
    plain = tied_llama()
    model = adapted(WAYS[way]())
    applied = logits(model)
    copied = copy.deepcopy(model)
    shaken(copied)
    assert torch.equal(logits(model), applied)
    copied.merge_adapter()
    assert torch.equal(logits(model), applied)
    mixed = logits(model, adapter_names=["default", NO_ADAPTER, "default"])
    assert torch.allclose(mixed[0], applied[0], rtol=0, atol=1e-9)
    assert torch.allclose(mixed[1], logits(plain)[1], rtol=0, atol=1e-9)
    model.delete_adapter("default")
    base = model.get_base_model()
    assert [(name, type(module)) for name, module in base.named_modules()] == [
        (name, type(module)) for name, module in plain.named_modules()
    ]
    assert base.lm_head.weight is base.model.embed_tokens.weight


def test_only_the_tokens_change_and_the_file_holds_no_more(tmp_path: Path) -> None:
    model = adapted(tuning.TrainableTokensConfig(token_indices=[5, 1]), tiny_gpt2)
    before = model.get_base_model().transformer.wte.base_layer.weight.clone()
    model.merge_adapter()
    changed = (model.get_base_model().transformer.wte.base_layer.weight != before).any(1).nonzero().flatten()
    assert changed.tolist() == [1, 5]
    model.unmerge_adapter()
    assert torch.equal(model.get_base_model().transformer.wte.base_layer.weight, before)
    tuning.LoraConfig(trainable_token_indices=[5, 1]).save_pretrained(tmp_path)
    lora = adapted(tuning.LoraConfig(trainable_token_indices=[5, 1]))
    assert not any(value.shape[0] == 64 for value in tuning.get_peft_model_state_dict(lora).values() if value.ndim == 2)


def test_a_padding_token_takes_no_gradient_and_scaled_embeddings_scale() -> None:
    base: Any = tied_llama()
    base.model.embed_tokens.padding_idx = 1
    base.model.embed_tokens.embed_scale = torch.tensor(1.0)
    model = tuning.get_peft_model(
        base, tuning.TrainableTokensConfig(token_indices=[5, 1]), autocast_adapter_dtype=False
    )
    embed = model.get_base_model().model.embed_tokens
    embed(torch.tensor([[1, 5, 2]])).sum().backward()
    rows = next(embed.methods())[1].rows
    assert rows.grad[0].abs().sum() > 0 and rows.grad[1].abs().sum() == 0


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (lambda: tuning.TrainableTokensConfig(), "no token indices"),
        (
            lambda: tuning.TrainableTokensConfig(token_indices=[64]),
            "token index 64 is no row of 'model.embed_tokens', which has 64",
        ),
        (lambda: tuning.TrainableTokensConfig(token_indices=[3, 3]), r"there twice: \[3\]"),
        (
            lambda: tuning.LoraConfig(trainable_token_indices={"embed_tokns": [1]}),
            "no layer has that name; the nearest are 'embed_tokens'",
        ),
        (
            lambda: tuning.LoraConfig(trainable_token_indices=[1], target_modules=["embed_tokens"]),
            r"is adapted \(target_modules\)",
        ),
        (
            lambda: tuning.LoraConfig(trainable_token_indices=[1], modules_to_save=["embed_tokens"]),
            "is trained fully",
        ),
        (
            lambda: tuning.LoraConfig(
                trainable_token_indices={"embed_tokens": [1], "lm_head": [2]}, ensure_weight_tying=True
            ),
            "were given different tokens",
        ),
    ],
)
def test_tokens_that_cannot_be_trained_are_refused(config: Any, message: str) -> None:
    model = tied_llama()
    before = [(name, type(module)) for name, module in model.named_modules()]
    with pytest.raises(tuning.TuningError, match=message):
        tuning.get_peft_model(model, config())
    assert [(name, type(module)) for name, module in model.named_modules()] == before


def test_tying_what_is_not_tied_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="no tied modules were found"):
        tuning.get_peft_model(tiny_llama(), tuning.LoraConfig(ensure_weight_tying=True))
    with pytest.warns(UserWarning, match="no tied modules are added"):
        tuning.get_peft_model(tied_llama(), tuning.LoraConfig(ensure_weight_tying=True))
