"""FRoD's basis: made again, or read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import tuning
from tests.tuning.oracle import shaken, tiny_llama, tokens


def adapted(**options: object) -> tuning.PeftModel:
    model = tuning.get_peft_model(tiny_llama(), tuning.FrodConfig(**options), autocast_adapter_dtype=False)  # type: ignore[arg-type]
    return model.eval()


def test_another_machines_basis_is_followed(tmp_path: Path) -> None:
    """The signs of a basis' vectors are as the machine's library computes them."""
    adapted().save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    keys = [key for key in tensors if ".frod_V." in key]
    for key in keys:
        signs = torch.ones(len(tensors[key]), dtype=torch.float64)
        signs[::2] = -1
        tensors[key] = tensors[key] * signs
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    again = tuning.PeftModel.from_pretrained(tiny_llama(), tmp_path, autocast_adapter_dtype=False)
    assert torch.allclose(again(input_ids=tokens()).logits, tiny_llama()(input_ids=tokens()).logits, rtol=0, atol=1e-4)
    assert all(torch.equal(tuning.get_peft_model_state_dict(again)[key], tensors[key]) for key in keys)


def test_a_basis_that_was_not_saved_is_made_again(tmp_path: Path) -> None:
    model = adapted(save_projection=False)
    shaken(model)
    model.save_pretrained(tmp_path)
    assert not any("frod_V" in key for key in load_file(tmp_path / "adapter_model.safetensors"))
    again = tuning.PeftModel.from_pretrained(tiny_llama(), tmp_path, autocast_adapter_dtype=False)
    assert torch.equal(again(input_ids=tokens()).logits, model(input_ids=tokens()).logits)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | {"save_projection": True}))
    with pytest.raises(tuning.CheckpointError, match=r"no base_model.frod_V.*save_projection=False"):
        tuning.PeftModel.from_pretrained(tiny_llama(), tmp_path)


def test_two_adapters_draw_from_one_seed() -> None:
    model = adapted()
    with pytest.raises(tuning.ConfigError, match="projection_prng_key must be the same"):
        model.add_adapter("other", tuning.FrodConfig(projection_prng_key=1))
    assert list(model.peft_config) == ["default"]
