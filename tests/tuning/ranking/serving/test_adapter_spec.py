"""Which adapters are in a base's weights: Starling's own for its default base, and beneath what was trained on top of it."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

import tuning
from tests.tuning.models import byte_level, tiny
from tuning.errors import AdapterError
from tuning.ranking.learning import torch_models
from tuning.ranking.learning.torch_models import base_and_tokenizer, on_base
from tuning.ranking.serving.model import adapter_registry, model_store
from tuning.ranking.serving.model import adapter_spec as adapting
from tuning.ranking.serving.model.adapter_registry import Card
from tuning.ranking.serving.model.adapter_spec import shipped


def adapter(folder: Path, seed: int) -> Path:
    """One that changes the weights."""
    adapted = tuning.get_peft_model(tiny("llama", 320), tuning.LoraConfig(task_type="CAUSAL_LM", r=2))
    torch.manual_seed(seed)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(std=0.1)
    adapted.save_pretrained(folder)
    return folder


def weight(model: Any) -> torch.Tensor:
    return model.model.layers[0].self_attn.q_proj.weight.detach()


@pytest.fixture
def default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A default base, with an adapter of Starling's own."""
    tiny("llama", 320).save_pretrained(tmp_path / "default")
    byte_level().save_pretrained(tmp_path / "default")
    monkeypatch.setattr(model_store, "training_folder", lambda: tmp_path / "default")
    own = adapter(tmp_path / "shipped", seed=1)
    monkeypatch.setattr(adapting, "SHIPPED", own)
    monkeypatch.setattr(torch_models, "SHIPPED", own)
    return tmp_path / "default"


def test_the_default_base_has_starlings_own_in_it_and_no_other_base_has(default: Path, tmp_path: Path) -> None:
    bare, own = weight(on_base(tiny("llama", 320), default, "none")), weight(on_base(tiny("llama", 320), default, ""))
    assert not torch.equal(bare, own)
    assert torch.equal(weight(on_base(tiny("llama", 320), tmp_path / "other", "")), bare)
    assert torch.equal(weight(base_and_tokenizer(str(default), adapter="")[0]), own)
    assert torch.equal(weight(base_and_tokenizer(str(default))[0]), bare)
    assert shipped(default) == shipped("") != ""
    assert shipped(tmp_path / "other") == ""


def test_what_was_trained_on_top_gets_it_beneath_and_what_was_not_does_not(default: Path, tmp_path: Path) -> None:
    bare, own = weight(on_base(tiny("llama", 320), default, "none")), weight(on_base(tiny("llama", 320), default, ""))
    folder = adapter(tmp_path / "team", seed=2)
    alone = weight(on_base(tiny("llama", 320), default, str(folder)))
    adapter_registry.write_card(folder, Card(base="", beneath=shipped(default)))
    on_top = weight(on_base(tiny("llama", 320), default, str(folder)))
    torch.testing.assert_close(on_top - alone, own - bare)


def test_what_stands_on_another_version_is_not_used(default: Path, tmp_path: Path) -> None:
    folder = adapter(tmp_path / "old", seed=2)
    adapter_registry.write_card(folder, Card(base="", beneath="0123456789abcdef"))
    with pytest.raises(AdapterError, match="another version of Starling's own adapter beneath; train it again"):
        on_base(tiny("llama", 320), default, str(folder))


def test_an_adapter_that_was_trained_on_another_machine_gives_no_warning(default: Path, tmp_path: Path) -> None:
    folder = adapter(tmp_path / "team", seed=2)
    expected = weight(on_base(tiny("llama", 320), default, str(folder)))
    config = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    config["base_model_name_or_path"] = "/home/somebody/models/base"
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("error", tuning.PeftWarning)
        assert torch.equal(weight(on_base(tiny("llama", 320), default, str(folder))), expected)
