"""ShadowPEFT: what it has beside the laws of all methods and PEFT's numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from transformers import LlamaConfig, LlamaForSequenceClassification, LlamaModel

import tuning
from tests.tuning.oracle import BASES, shaken, tiny_llama, tokens
from tuning.training.objective import Objective


def adapted(base: str = "llama", **options: Any) -> Any:
    torch.manual_seed(5)
    config = tuning.ShadowConfig(task_type="CAUSAL_LM", shadow_alpha=1.0, **options)
    model = tuning.get_peft_model(BASES[base](), config, autocast_adapter_dtype=False).eval()
    shaken(model)
    return model


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}, {"num_return_sequences": 2, "do_sample": True}], ids=str)
@pytest.mark.parametrize("base", BASES)
def test_a_cache_changes_nothing(base: str, options: dict[str, Any]) -> None:
    model, x = adapted(base, shadow_num_hidden_layers=2), tokens()
    mask = torch.ones_like(x)
    mask[0, :2] = 0
    found: list[Any] = []
    for use_cache in (True, False):
        torch.manual_seed(6)
        found.append(
            model.generate(
                input_ids=x, attention_mask=mask, max_new_tokens=6, use_cache=use_cache, pad_token_id=0, **options
            )
        )
    assert torch.equal(*found)
    with model.disable_adapter():
        plain = model.generate(input_ids=x, attention_mask=mask, max_new_tokens=6, pad_token_id=0, **options)
    assert not torch.equal(found[0], plain)


def test_a_cache_that_lacks_the_shadow_is_refused() -> None:
    model = adapted()
    with model.disable_adapter():
        held = model(input_ids=tokens(), use_cache=True)
    with pytest.raises(tuning.ConfigError, match="begin with an empty one"):
        model(input_ids=tokens()[:, :1], past_key_values=held.past_key_values)


def test_its_start_and_its_loss_are_pefts() -> None:
    found: list[Any] = []
    for library in (peft, tuning):
        torch.manual_seed(3)
        config = library.ShadowConfig(task_type="CAUSAL_LM", auxiliary_loss_weight=0.5)
        model = library.get_peft_model(tiny_llama(), config, autocast_adapter_dtype=False).eval()
        output = model(input_ids=tokens(), labels=tokens())
        assert torch.equal(output.shadow_loss, model.last_shadow_loss)
        found.append((output.loss, output.shadow_loss))
    assert torch.allclose(torch.stack(found[0]), torch.stack(found[1]), rtol=0, atol=1e-6)


def test_a_classifiers_shadow_has_a_head_of_its_own(tmp_path: Path) -> None:
    def base() -> Any:
        torch.manual_seed(0)
        return LlamaForSequenceClassification(
            LlamaConfig(vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, pad_token_id=0)
        ).eval()  # fmt: skip

    theirs: Any = peft.get_peft_model(base(), peft.ShadowConfig(task_type="SEQ_CLS")).eval()
    shaken(theirs)
    theirs.save_pretrained(tmp_path)
    ours: Any = tuning.PeftModel.from_pretrained(base(), tmp_path)
    x, mask, labels = tokens() % 63 + 1, torch.ones(3, 7, dtype=torch.long), torch.tensor([0, 1, 1])
    mask[1, 5:] = 0
    one, other = (model(input_ids=x * mask, attention_mask=mask, labels=labels) for model in (ours, theirs))
    for name in ("loss", "shadow_loss", "logits"):
        assert torch.allclose(getattr(one, name), getattr(other, name), rtol=0, atol=1e-5), name
    alone = [model.unload_shadow()(input_ids=x, attention_mask=mask, labels=labels) for model in (ours, theirs)]
    assert torch.allclose(alone[0].loss, alone[1].loss, rtol=0, atol=1e-5)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("share", [True, False])
def test_the_shadow_is_a_model_of_its_own(base: str, share: bool) -> None:
    model, x = adapted(base, share_embeddings=share), tokens()
    with pytest.raises(tuning.AdapterError, match="No shadow backbone found"):
        model.unload_shadow("other")
    loss = model(input_ids=x, labels=x).shadow_loss
    for copy in (False, True):
        alone = model.unload_shadow(copy=copy).eval()
        assert torch.allclose(alone(input_ids=x, labels=x).loss, loss, rtol=0, atol=1e-9)
        cached, plain = (
            alone.generate(input_ids=x, max_new_tokens=4, use_cache=use, pad_token_id=0) for use in (True, False)
        )
        assert torch.equal(cached, plain)


def test_a_model_from_a_folder_is_the_shadow(tmp_path: Path) -> None:
    torch.manual_seed(1)
    sizes: dict[str, Any] = {"vocab_size": 64, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    LlamaModel(LlamaConfig(**sizes, num_attention_heads=2)).save_pretrained(str(tmp_path))
    model = adapted(shadow_model=str(tmp_path))
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert not any("embed_tokens" in name for name in trained)
    assert any("shadow_backbone" in name for name in trained) and any("shadow_projection" in name for name in trained)
    model(input_ids=tokens(), labels=tokens()).loss.backward()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shadow_model": "some/model"}, "is no folder"),
        ({"shadow_model": "some/model", "shadow_hidden_size": 8}, "leave out shadow_hidden_size"),
        ({"r": 0}, "r is 0"),
        ({"target_modules": ["nothing"]}, "no block of LlamaForCausalLM"),
    ],
)
def test_what_is_wrong_is_said(options: dict[str, Any], message: str) -> None:
    with pytest.raises(tuning.TuningError, match=message):
        adapted(**options)


def test_adapters_inside_of_its_blocks_are_refused() -> None:
    model = tuning.get_peft_model(tiny_llama(), tuning.LoraConfig())
    with pytest.raises(tuning.ConfigError, match=r"adapters sit inside of 'model\.layers\.0'"):
        model.add_adapter("shadow", tuning.ShadowConfig())


def test_a_training_runs_the_whole_model_and_evaluates_its_loss_alone() -> None:
    model = adapted(auxiliary_loss_weight=0.5)
    objective, x = Objective(model), tokens()
    total, count = objective({"input_ids": x, "labels": x})
    whole = model(input_ids=x, labels=x)
    assert torch.allclose(total / count, whole.loss, rtol=0, atol=1e-9)
    with torch.no_grad():
        total, count = objective({"input_ids": x, "labels": x})
    assert torch.allclose(total / count, whole.loss - 0.5 * whole.shadow_loss, rtol=0, atol=1e-9)
    with model.disable_adapter():
        assert torch.equal(model(input_ids=x, labels=x).loss, BASES["llama"]()(input_ids=x, labels=x).loss)
