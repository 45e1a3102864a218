"""Several layers with one weight (T5: three embeddings and a head), and adapters that share projections: computed as PEFT computes them."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import peft
import pytest
import torch
from torch import Tensor, nn
from transformers import ResNetConfig, ResNetModel, T5Config, T5ForConditionalGeneration

import tuning
from tests.tuning.oracle import shaken, tiny_llama, tokens

IDS, DECODED = torch.tensor([[3, 4, 5, 9]]), torch.tensor([[0, 4, 7, 3]])


def tiny_t5() -> Any:
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=60, d_model=16, d_kv=4, d_ff=32, num_layers=2, num_heads=4, decoder_start_token_id=0,
        tie_word_embeddings=True,
    )  # fmt: skip
    return T5ForConditionalGeneration(config).double().eval()


def logits(model: nn.Module) -> Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=IDS, decoder_input_ids=DECODED).logits


def adapted(engine: Any, method: str, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = engine.get_peft_model(tiny_t5(), getattr(engine, method)(**options), autocast_adapter_dtype=False)
    shaken(model)
    return model


WAYS = {
    "alone": ("TrainableTokensConfig", {"token_indices": [4, 7]}),
    "alone-by-name": ("TrainableTokensConfig", {"token_indices": [4, 7], "target_modules": ["shared"]}),
    "beside-lora": ("LoraConfig", {"target_modules": ["q"], "trainable_token_indices": [4, 7]}),
    "by-name": ("LoraConfig", {"target_modules": ["q"], "trainable_token_indices": {"shared": [4, 7]}}),
    "two-layers-of-one-name": (
        "LoraConfig",
        {"target_modules": ["q"], "trainable_token_indices": {"embed_tokens": [4, 7]}},
    ),
    "whole": ("LoraConfig", {"target_modules": ["q"], "modules_to_save": ["shared"]}),
}


@pytest.mark.parametrize("way", WAYS)
def test_t5_computes_what_peft_computes(way: str) -> None:
    method, options = WAYS[way]
    ours, theirs = (adapted(engine, method, **copy.deepcopy(options)) for engine in (tuning, peft))
    named = {name: parameter for name, parameter in theirs.named_parameters() if parameter.requires_grad}
    mine = {name: parameter for name, parameter in ours.named_parameters() if parameter.requires_grad}
    assert mine.keys() == named.keys()
    with torch.no_grad():
        for name, parameter in mine.items():
            parameter.copy_(named[name])
    assert (logits(ours) - logits(tiny_t5())).abs().max() > 1e-2
    assert torch.allclose(logits(ours), logits(theirs), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "options",
    [
        {"target_modules": ["q"], "trainable_token_indices": [4, 7]},
        {"target_modules": ["lm_head"], "ensure_weight_tying": True},
        {"target_modules": ["q"], "modules_to_save": ["lm_head"], "ensure_weight_tying": True},
    ],
    ids=["tokens", "lora", "whole"],
)
def test_all_four_layers_have_the_change_and_stay_tied_when_merged(options: dict[str, Any]) -> None:
    model = adapted(tuning, "LoraConfig", **options)
    applied, base = logits(model), model.get_base_model()
    assert (applied - logits(tiny_t5())).abs().max() > 1e-2
    assert torch.equal(base.encoder.embed_tokens(IDS), base.decoder.embed_tokens(IDS))
    assert torch.equal(base.encoder.embed_tokens(IDS), base.shared(IDS))
    plain = model.merge_and_unload()
    assert torch.allclose(logits(plain), applied, rtol=0, atol=1e-9)
    assert plain.lm_head.weight is plain.shared.weight is plain.encoder.embed_tokens.weight


@pytest.mark.parametrize("method", ["VeraConfig", "RandLoraConfig"])
def test_a_second_adapter_has_the_first_ones_projections(method: str) -> None:
    def two(engine: Any) -> Any:
        small = {"r": 4, "init_weights": False}
        model = engine.get_peft_model(
            tiny_llama(), getattr(engine, method)(target_modules="all-linear", **small), autocast_adapter_dtype=False
        )
        second = getattr(engine, method)(target_modules=["q_proj"], **small)
        model.add_adapter("other", second, autocast_adapter_dtype=False)
        model.set_adapter("other")
        return model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours, theirs = two(tuning), two(peft)
    given = {name: parameter for name, parameter in theirs.named_parameters() if ".other" in name}
    with torch.no_grad():
        for name, parameter in ours.named_parameters():
            if name in given:
                parameter.copy_(given[name])
        outs = [model.eval()(input_ids=tokens()).logits for model in (ours, theirs)]
    assert torch.allclose(*outs, rtol=0, atol=1e-7)
    with pytest.raises(tuning.ConfigError, match="share their projections, which come from one projection_prng_key"):
        ours.add_adapter("third", getattr(tuning, method)(target_modules=["q_proj"], r=4, projection_prng_key=5))
    assert "third" not in ours.peft_config


def test_layers_with_adapters_of_their_own_choice_are_merged_by_it() -> None:
    model = tuning.get_peft_model(
        tiny_llama(), tuning.LoraConfig(target_modules=["q_proj", "v_proj"]), autocast_adapter_dtype=False
    )
    model.add_adapter("other", tuning.LoraConfig(target_modules=["q_proj", "v_proj"]), autocast_adapter_dtype=False)
    for name in ("default", "other"):
        model.set_adapter(name)
        shaken(model)
    layer = model.get_base_model().model.layers[0].self_attn.q_proj
    layer.set_adapter(["default", "other"])
    with torch.no_grad():
        applied = model.eval()(input_ids=tokens()).logits
        model.merge_adapter()
        assert layer.merged_adapters == ["default", "other"]
        assert torch.allclose(model(input_ids=tokens()).logits, applied, rtol=0, atol=1e-9)


def test_a_model_without_words_is_adapted_and_merged() -> None:
    config = ResNetConfig(num_channels=1, embedding_size=4, hidden_sizes=[4], depths=[1], layer_type="basic")
    base = ResNetModel(config).eval()
    x = torch.randn(1, 1, 32, 32)
    model = tuning.get_peft_model(
        base, tuning.LoraConfig(target_modules=["convolution"], init_lora_weights=False)
    ).eval()
    before = model(pixel_values=x).last_hidden_state
    merged = model.merge_and_unload()
    assert torch.allclose(merged(pixel_values=x).last_hidden_state, before, rtol=0, atol=1e-5)
