"""Adapters by row where `generate` repeats rows, beside HF peft; rows that are not the batch's; rows while adapters are disabled."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from torch import Tensor
from transformers import GenerationConfig, T5Config, T5ForConditionalGeneration

import tuning
from tests.tuning.oracle import VOCABULARY, shaken, tiny_gpt2, tiny_llama, tokens

NAMES = ["a", "b", "__base__"]
LENGTH = {"max_new_tokens": 4, "min_new_tokens": 4}


def tiny_t5() -> Any:
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=VOCABULARY, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, decoder_start_token_id=0, dropout_rate=0.0
    )  # fmt: skip
    return T5ForConditionalGeneration(config).double().eval()


BASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "llama": (tiny_llama, {"target_modules": ["q_proj", "v_proj", "lm_head"]}),
    "t5": (tiny_t5, {"target_modules": ["q", "v", "wo", "lm_head"], "task_type": "SEQ_2_SEQ_LM"}),
}


def both(base: str, folder: Path) -> tuple[Any, Any]:
    """PEFT's model and ours with the adapters a and b."""
    make, options = BASES[base]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = peft.get_peft_model(make(), peft.LoraConfig(**options), "a", autocast_adapter_dtype=False)
        theirs.add_adapter("b", peft.LoraConfig(**options), autocast_adapter_dtype=False)
        generator = torch.Generator().manual_seed(3)
        for key, parameter in theirs.named_parameters():
            if "lora_" in key:
                parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
        theirs.save_pretrained(folder)
        ours = tuning.PeftModel.from_pretrained(make(), folder / "a", "a", autocast_adapter_dtype=False)
        ours.load_adapter(folder / "b", "b", autocast_adapter_dtype=False)
    return theirs.eval(), ours.eval()


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("beams", [1, 2])
def test_rows_that_generate_repeats_are_pefts(base: str, beams: int, tmp_path: Path) -> None:
    theirs, ours = both(base, tmp_path)
    options: dict[str, Any] = {"input_ids": tokens(), "num_beams": beams, **LENGTH}
    found, expected = (model.generate(adapter_names=NAMES, **options) for model in (ours, theirs))
    assert torch.equal(found, expected)
    assert not torch.equal(found, ours.generate(**options))  # by the names, not by what is active


def settings(model: Any, how: str, **options: Any) -> dict[str, Any]:
    """Options of `generate`, given it in one of the ways there are."""
    if how == "model's":
        model.get_base_model().generation_config.update(**options)
        return {}
    return {"generation_config": GenerationConfig(**options)} if how == "generation_config" else options


@pytest.mark.parametrize("how", ["arguments", "generation_config", "model's"])
@pytest.mark.parametrize("base", BASES)
def test_several_results_of_a_row_are_of_its_adapter(base: str, how: str, tmp_path: Path) -> None:
    _, ours = both(base, tmp_path)
    options = {"do_sample": True, "num_return_sequences": 3, **LENGTH}

    def sampled(**more: Any) -> Tensor:
        torch.manual_seed(5)
        return ours.generate(input_ids=tokens(), **settings(ours, how, **options), **more)

    mixed = sampled(adapter_names=NAMES)
    for row, name in enumerate(NAMES[:2]):
        ours.set_adapter(name)
        assert torch.equal(mixed[3 * row : 3 * row + 3], sampled()[3 * row : 3 * row + 3])


def test_rows_of_an_encoder_are_of_their_tasks() -> None:
    """The encoder is given each row once, and the decoder as many times as there are beams."""
    config = tuning.PolyConfig(task_type="SEQ_2_SEQ_LM", n_tasks=2, target_modules=["q", "v", "wo"], r=4)
    model = tuning.get_peft_model(tiny_t5(), config, "a", autocast_adapter_dtype=False).eval()
    shaken(model)
    model.add_adapter("b", copy.deepcopy(config), autocast_adapter_dtype=False)
    tuner, encoder = model.tuner_for("test"), model.get_base_model().get_submodule("encoder")
    tuner.routing.task_ids = torch.tensor([0, 1, 1])
    with tuner.by_rows(["b", "b", "a", "a", "b", "b"]):
        mixed = encoder(tokens()).last_hidden_state
    for name, rows in (("a", [1]), ("b", [0, 2])):
        model.set_adapter(name)
        assert torch.allclose(mixed[rows], encoder(tokens()).last_hidden_state[rows], rtol=0, atol=1e-9)


def test_several_beams_of_an_activated_adapter() -> None:
    config = tuning.LoraConfig(alora_invocation_tokens=[5], target_modules=["q_proj", "lm_head"], task_type="CAUSAL_LM")
    model = tuning.get_peft_model(tiny_llama(), config, autocast_adapter_dtype=False).eval()
    shaken(model)
    x = tokens()
    x[:2, 3] = 5
    best, several = (model.generate(x, num_beams=2, num_return_sequences=count, **LENGTH) for count in (1, 2))
    assert torch.equal(several[::2], best)
    named = model.generate(x, adapter_names=["default"] * 3, num_beams=2, num_return_sequences=2, **LENGTH)
    assert torch.equal(named, several)


def test_rows_that_are_not_the_batchs_are_refused() -> None:
    model = tuning.get_peft_model(tiny_gpt2(), tuning.LoraConfig(target_modules=["wpe"]))
    with pytest.raises(tuning.AdapterError, match="for 2 rows, and a layer is given 1"):
        model(tokens(2), adapter_names=["default", "__base__"])
    with pytest.raises(tuning.AdapterError, match="has 2 names, and the batch 3 rows"):
        model.generate(tokens(3), adapter_names=["default", "default"], num_beams=2)
    model.set_adapter("default")
    routing = model.tuner_for("test").routing
    routing.names = ["a", "a", "b", "b", "b", "b"]
    assert routing.rows(3) == {"a": [0], "b": [1, 2]}
    for count in (0, 2, 4, 12):
        with pytest.raises(tuning.AdapterError, match=f"given {count}"):
            routing.rows(count)


def test_disabled_copies_are_not_used_by_row_either() -> None:
    model = tuning.get_peft_model(tiny_llama(), tuning.LoraConfig(modules_to_save=["lm_head"])).eval()
    shaken(model)
    with model.disable_adapter():
        assert torch.equal(model(tokens(), adapter_names=["default"] * 3).logits, tiny_llama()(tokens()).logits)
