"""Arrow: tokens routed to LoRA adapters, beside HF peft."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import pytest
import torch

import tuning
from tests.tuning.oracle import BASES, shaken, tokens


def saved(folder: Path, base: str, seed: int, **options: Any) -> str:
    plain = BASES[base]()
    torch.manual_seed(seed)
    targets = {"llama": ["q_proj", "down_proj"], "gpt2": ["c_attn"]}[base]
    config = tuning.LoraConfig(
        **{"r": 4, "lora_alpha": 8 + seed, "target_modules": targets, "init_lora_weights": False, **options}
    )
    model = tuning.get_peft_model(plain, config, autocast_adapter_dtype=False)
    model.save_pretrained(folder / str(seed))
    return str(folder / str(seed))


def routed(library: Any, base: str, task: list[str], general: list[str] | None = None, **options: Any) -> Any:
    config = library.ArrowConfig(**{"rng_seed": 3, **options})
    return library.create_arrow_model(
        BASES[base](), task, config, general_adapter_paths=general, autocast_adapter_dtype=False
    ).eval()


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("options", [{"top_k": 2}, {"top_k": 1, "router_temperature": 0.3, "use_gks": True}], ids=str)
def test_it_is_pefts(base: str, options: dict[str, Any], tmp_path: Path) -> None:
    paths = [saved(tmp_path, base, seed) for seed in range(5)]
    task, general = paths[:3], paths[3:] if options.get("use_gks") else None
    theirs, ours = (routed(library, base, task[:2], general, **options) for library in (peft, tuning))
    x = tokens()
    before = ours(input_ids=x).logits
    assert torch.allclose(before, theirs(input_ids=x).logits, rtol=0, atol=1e-9)
    with ours.disable_adapter():
        assert (ours(input_ids=x).logits - before).abs().max() > 1e-3
    for model in (theirs, ours):  # one more expert, which is routed to from then on
        model.load_adapter(task[2], adapter_name="more", autocast_adapter_dtype=False)
        model.eval()
    after = ours(input_ids=x).logits
    assert torch.allclose(after, theirs(input_ids=x).logits, rtol=0, atol=1e-9)
    assert (after - before).abs().max() > 1e-6
    at_once = routed(tuning, base, task, general, **options)
    assert torch.allclose(at_once(input_ids=x).logits, after, rtol=0, atol=1e-9)


def test_an_expert_that_is_trained_or_taken_off_is_seen(tmp_path: Path) -> None:
    paths = [saved(tmp_path, "llama", seed) for seed in range(3)]
    model, x = routed(tuning, "llama", paths, top_k=2), tokens()
    before = model(input_ids=x).logits
    model.set_adapter("task_1")
    shaken(model)
    model.set_adapter("arrow_router")
    trained = model(input_ids=x).logits
    assert (trained - before).abs().max() > 1e-6
    again = tuning.get_peft_model_state_dict(model, adapter_name="task_1")
    fresh = routed(tuning, "llama", paths, top_k=2)
    fresh(input_ids=x)
    tuning.set_peft_model_state_dict(fresh, again, adapter_name="task_1")
    assert torch.allclose(fresh(input_ids=x).logits, trained, rtol=0, atol=1e-9)
    model.delete_adapter("task_1")
    model.set_adapter("arrow_router")
    left = routed(tuning, "llama", [paths[0], paths[2]], top_k=2)
    assert torch.allclose(model(input_ids=x).logits, left(input_ids=x).logits, rtol=0, atol=1e-9)


def test_the_router_is_saved_and_not_merged(tmp_path: Path) -> None:
    model = routed(tuning, "llama", [saved(tmp_path, "llama", seed) for seed in range(2)], top_k=2)
    before = model(input_ids=tokens()).logits
    model.save_pretrained(tmp_path / "all")
    theirs = peft.PeftConfig.from_pretrained(tmp_path / "all" / "arrow_router")
    assert theirs.arrow_config.top_k == 2  # pyright: ignore[reportAttributeAccessIssue]
    again = tuning.PeftModel.from_pretrained(
        BASES["llama"](), tmp_path / "all" / "task_0", autocast_adapter_dtype=False
    )
    again.load_adapter(tmp_path / "all" / "task_1", "task_1", autocast_adapter_dtype=False)
    again.load_adapter(tmp_path / "all" / "arrow_router", "arrow_router", autocast_adapter_dtype=False)
    again.set_adapter("arrow_router")
    assert torch.allclose(again.eval()(input_ids=tokens()).logits, before, rtol=0, atol=1e-9)
    for merge in (model.merge_adapter, model.merge_and_unload):
        with pytest.raises(RuntimeError, match="Cannot merge an active Arrow router adapter"):
            merge()
    assert torch.equal(model(input_ids=tokens()).logits, before)


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    one = saved(tmp_path, "llama", 0)
    cases: list[tuple[list[str], dict[str, Any], str]] = [
        ([], {}, "at least one adapter path"),
        ([one], {"use_gks": True}, "provide general LoRA paths"),
        ([one, saved(tmp_path, "llama", 1, r=2)], {}, "rank mismatch: 2, and 4"),
        ([one, saved(tmp_path, "llama", 2, target_modules=["v_proj"])], {}, "target_modules mismatch"),
        ([one, saved(tmp_path, "llama", 3, use_dora=True)], {}, "has use_dora"),
        ([saved(tmp_path, "llama", 4, target_modules=["embed_tokens"])], {}, "must only target Linear-like layers"),
        ([str(tmp_path)], {}, "does not contain 'adapter_config.json'"),
    ]
    for paths, options, message in cases:
        with pytest.raises(tuning.TuningError, match=message):
            routed(tuning, "llama", paths, **options)
    with pytest.raises(tuning.ConfigError, match="top_k is 0"):
        tuning.ArrowConfig(top_k=0)
