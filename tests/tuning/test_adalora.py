"""AdaLoRA's whole schedule beside HF peft: the same ranks cut, weights and losses at each step, and files of cut ranks."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import peft
import pytest
import torch

import tuning
from tests.tuning.oracle import BASES, both, check_tensors, tokens
from tuning.errors import AdapterError, ConfigError
from tuning.methods._adalora_budget import budget
from tuning.methods.adalora import AdaLoraConfig

LINEAR = {"llama": ["q_proj", "v_proj", "down_proj"], "gpt2": ["c_attn", "c_proj"]}
SCHEDULE = {"init_r": 6, "target_r": 2, "tinit": 2, "tfinal": 4, "deltaT": 2, "total_step": 14, "lora_alpha": 16}


def parameters(model: Any) -> dict[str, Any]:
    return {key: value for key, value in model.state_dict(keep_vars=True).items() if "lora_" in key}


def step(model: Any, optimiser: torch.optim.Optimizer, number: int) -> float:
    loss = model(input_ids=tokens(), labels=tokens()).loss
    loss.backward()
    optimiser.step()
    model.base_model.update_and_allocate(number)
    optimiser.zero_grad()
    return loss.item()


def left(model: Any) -> dict[str, list[bool]]:
    return {
        key.replace(".default", ""): kept for key, kept in (model.peft_config["default"].rank_pattern or {}).items()
    }


def trained(base: str, folder: Path, **options: Any) -> tuple[peft.PeftModel, tuning.PeftModel]:
    """Both models after the whole schedule, compared at each step."""
    schedule = {**SCHEDULE, **options}
    theirs, ours = both(base, "AdaLoraConfig", folder, target_modules=LINEAR[base], **schedule)
    models = (theirs, ours)
    optimisers = [
        torch.optim.AdamW([value for _, value in sorted(parameters(model).items())], lr=1e-2) for model in models
    ]
    for number in range(1, schedule["total_step"] + 1):
        losses = [step(model, optimiser, number) for model, optimiser in zip(models, optimisers, strict=True)]
        assert losses[1] == pytest.approx(losses[0], rel=1e-6), number  # transformers computes them in single precision
        assert left(ours) == left(theirs), number
        check_tensors(parameters(ours), parameters(theirs))
    return models


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("options", [{}, {"tinit": 0, "tfinal": 1, "deltaT": 3, "beta1": 0.5, "orth_reg_weight": 0.1}])
def test_a_schedule_is_pefts(base: str, options: dict[str, Any], tmp_path: Path) -> None:
    theirs, ours = trained(base, tmp_path, **options)
    kept = list(left(ours).values())
    assert sum(map(sum, kept)) == SCHEDULE["target_r"] * len(kept)
    assert len({sum(ranks) for ranks in kept}) > 1
    assert torch.allclose(ours(input_ids=tokens()).logits, theirs(input_ids=tokens()).logits, rtol=0, atol=1e-9)


@pytest.mark.parametrize("base", BASES)
def test_cut_ranks_are_left_out_of_files_both_ways(base: str, tmp_path: Path) -> None:
    theirs, ours = trained(base, tmp_path / "start")
    ours.save_pretrained(tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "theirs")
    files = [tuning.checkpoint.read(tmp_path / name) for name in ("ours", "theirs")]
    check_tensors(*files)
    for key, tensor in files[0].items():
        if "lora_E" in key:
            ranks = left(ours)[key.removeprefix("base_model.model.")]
            assert len(tensor) == sum(ranks) < SCHEDULE["init_r"]
    logits = ours(input_ids=tokens()).logits
    for folder in ("ours", "theirs"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read = [
                peft.PeftModel.from_pretrained(BASES[base](), tmp_path / folder, autocast_adapter_dtype=False),
                tuning.PeftModel.from_pretrained(BASES[base](), tmp_path / folder, autocast_adapter_dtype=False),
            ]
        for model in read:
            assert torch.allclose(model.eval()(input_ids=tokens()).logits, logits, rtol=0, atol=1e-9)


def test_a_file_of_cut_ranks_is_trained_on_and_saved_again(tmp_path: Path) -> None:
    _, ours = trained("llama", tmp_path / "start")
    ours.save_pretrained(tmp_path / "once")
    again = tuning.PeftModel.from_pretrained(
        BASES["llama"](), tmp_path / "once", is_trainable=True, autocast_adapter_dtype=False
    )
    optimiser = torch.optim.AdamW([value for value in again.parameters() if value.requires_grad], lr=1e-2)
    for number in range(1, 15):
        step(again, optimiser, number)
    assert sum(map(sum, left(again).values())) == SCHEDULE["target_r"] * len(left(again))
    again.save_pretrained(tmp_path / "twice")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = peft.PeftModel.from_pretrained(BASES["llama"](), tmp_path / "twice", autocast_adapter_dtype=False)
    logits = again.eval()(input_ids=tokens()).logits
    assert torch.allclose(theirs.eval()(input_ids=tokens()).logits, logits, rtol=0, atol=1e-9)


def test_a_new_adapter_is_the_identity_and_penalised_while_it_trains_alone() -> None:
    config = AdaLoraConfig(total_step=10)
    model = BASES["llama"]()
    plain = model(input_ids=tokens(), labels=tokens())
    adapted = tuning.get_peft_model(model, config, autocast_adapter_dtype=False)
    out = adapted(input_ids=tokens(), labels=tokens())
    assert torch.equal(out.logits, plain.logits)
    assert out.loss > plain.loss
    adapted.set_adapter("default", inference_mode=True)
    assert torch.equal(adapted(input_ids=tokens(), labels=tokens()).loss, plain.loss)


def test_the_budget_falls_along_a_cubic() -> None:
    config = AdaLoraConfig(total_step=10, tinit=2, tfinal=4)
    assert [budget(config, 120, 80, number) for number in range(1, 9)] == [120, 120, 96, 85, 80, 80, 80, 80]


def test_equal_ranks_at_start_and_end_cut_nothing() -> None:
    config = AdaLoraConfig(total_step=4, init_r=4, target_r=4)
    model = tuning.get_peft_model(BASES["llama"](), config)
    optimiser = torch.optim.AdamW([value for value in model.parameters() if value.requires_grad], lr=1e-2)
    for number in range(1, 5):
        step(model, optimiser, number)
    assert all(map(all, left(model).values()))


def test_allocating_without_gradients_says_when_to_do_it() -> None:
    model = tuning.get_peft_model(BASES["llama"](), AdaLoraConfig(total_step=10))
    with pytest.raises(AdapterError, match="before zero_grad"):
        model.base_model.update_and_allocate(1)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"total_step": 5, "tinit": 3, "tfinal": 2},
        {"total_step": 5, "target_r": 20},
        {"total_step": 5, "beta1": 1.0},
    ],
    ids=str,
)
def test_contradictions_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        AdaLoraConfig(**options)
