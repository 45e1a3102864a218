"""From a base and adapters to a scorer: by the graph where it covers the base, else by torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

import tuning
from tests.tuning.models import TEXT, byte_level, tiny
from tests.tuning.ranking.serving.test_scorer import NAMES, searched
from tuning.errors import AdapterError
from tuning.ranking.learning.torch_models import TorchRuntime, tokens_of
from tuning.ranking.serving.model import compiling, loading
from tuning.ranking.serving.model.compiling import GRAPH, compiled
from tuning.ranking.serving.model.errors import ModelFileBroken, ModelUnsupported, NeedsEngine, ScorerMissing
from tuning.ranking.serving.model.loading import load_scorer, on_onnx
from tuning.ranking.serving.model.model_store import ABOUT
from tuning.ranking.serving.model.onnx_runtime import OnnxRuntime
from tuning.ranking.serving.model.prompt import build_prompt
from tuning.ranking.serving.model.scorer import Scorer

PROMPT = build_prompt(path="a.py", before=TEXT + "x = value.")


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return byte_level()


def saved(folder: Path, tokenizer: Any, kind: str = "wide llama") -> Any:
    model = tiny(kind, len(tokenizer))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


def adapter(base: Any, folder: Path, config: Any, seed: int = 1) -> Any:
    """An adapter that changes what the base says, and the adapted model."""
    adapted = tuning.get_peft_model(base, config)
    torch.manual_seed(seed)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn_like(parameter)
    adapted.save_pretrained(folder)
    return adapted.eval()


def test_missing_or_pickled_model_is_said(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(ScorerMissing, match="safetensors"):
        load_scorer(tmp_path)


def test_a_hub_id_that_was_downloaded_once_needs_no_connection(tmp_path: Path, tokenizer) -> None:
    snapshot = tmp_path / "models--someone--tiny" / "snapshots" / "0123"
    tiny("wide llama", len(tokenizer)).save_pretrained(snapshot)
    tokenizer.save_pretrained(snapshot)
    (tmp_path / "models--someone--tiny" / "refs").mkdir()
    (tmp_path / "models--someone--tiny" / "refs" / "main").write_text("0123")
    load = "from tuning.ranking.serving.model.loading import load_scorer; load_scorer('someone/tiny', allow_download=%s); print('loaded')"
    refuse = "import socket; socket.socket.connect = None\n"
    for allowed in (True, False):
        done = subprocess.run(
            [sys.executable, "-c", refuse + load % allowed],
            env={**os.environ, "HF_HUB_CACHE": str(tmp_path)},
            capture_output=True,
            text=True,
        )
        assert done.stdout == "loaded\n", done.stderr


def test_a_base_that_the_graph_does_not_cover_runs_in_torch(tokenizer: Any, tmp_path: Path) -> None:
    saved(tmp_path / "wide", tokenizer)
    assert isinstance(load_scorer(tmp_path / "wide").runtime, OnnxRuntime)
    for kind in ("gpt2", "llama"):  # another architecture, and heads of a size that the attention does not take
        saved(tmp_path / kind, tokenizer, kind)
        assert isinstance(load_scorer(tmp_path / kind).runtime, TorchRuntime)


def test_without_torch_it_says_what_is_needed(tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = saved(tmp_path / "llama", tokenizer)
    saved(tmp_path / "gpt2", tokenizer, "gpt2")
    adapter(base, tmp_path / "loha", tuning.LoHaConfig(target_modules=["q_proj"]))
    monkeypatch.setattr(loading, "has_torch", lambda: False)
    with pytest.raises(ModelUnsupported, match=r"\[train\]"):
        load_scorer(tmp_path / "gpt2")
    with pytest.raises(NeedsEngine, match=r"\[train\]"):
        load_scorer(tmp_path / "llama", adapter=str(tmp_path / "loha"))
    with pytest.raises(ScorerMissing, match="a hub id needs torch"):
        load_scorer("someone/model")


CONFIGS = {
    "lora": lambda: tuning.LoraConfig(target_modules="all-linear", r=4, lora_alpha=6),
    "rank-stabilised": lambda: tuning.LoraConfig(
        target_modules=["q_proj"], use_rslora=True, alpha_pattern={"q_proj": 3}
    ),
    "dora": lambda: tuning.LoraConfig(target_modules=["q_proj", "down_proj"], use_dora=True),
    "ia3": lambda: tuning.IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]),
    "loha, by the engine": lambda: tuning.LoHaConfig(target_modules=["q_proj", "down_proj"]),
    "oft, by the engine": lambda: tuning.OFTConfig(target_modules=["q_proj", "down_proj"]),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_an_adapter_is_in_the_scores(
    name: str, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapted = adapter(saved(tmp_path / "base", tokenizer), tmp_path / "adapter", CONFIGS[name]())
    if "engine" not in name:
        monkeypatch.setattr(loading, "has_torch", lambda: False)
    wanted = searched(Scorer(TorchRuntime(adapted), tokens_of(tokenizer)), "k", PROMPT, NAMES)
    merged = load_scorer(tmp_path / "base", adapter=str(tmp_path / "adapter"), quantize=False)
    assert np.allclose(searched(merged, "k", PROMPT, NAMES), wanted, atol=1e-4)
    assert not np.allclose(
        searched(load_scorer(tmp_path / "base", quantize=False), "k", PROMPT, NAMES), wanted, atol=1e-3
    )


def test_stacked_and_weighed_adapters_are_what_the_engine_makes_of_them(tokenizer: Any, tmp_path: Path) -> None:
    from tuning.ranking.learning import torch_models

    saved(tmp_path / "base", tokenizer)
    for number, name in enumerate("ab"):
        adapter(
            tiny("wide llama", len(tokenizer)), tmp_path / name, tuning.LoraConfig(target_modules=["q_proj"]), number
        )
    for spec in ("{0}/a,{0}/b", "{0}/a@0.3,{0}/b@-0.5"):
        spec = spec.format(tmp_path)
        model = torch_models.base_and_tokenizer(str(tmp_path / "base"), spec)[0]
        wanted = searched(Scorer(TorchRuntime(model), tokens_of(tokenizer)), "k", PROMPT, NAMES)
        found = searched(load_scorer(tmp_path / "base", adapter=spec, quantize=False), "k", PROMPT, NAMES)
        assert np.allclose(found, wanted, atol=1e-4)


def test_an_adapter_that_fits_in_part_is_refused(tokenizer: Any, tmp_path: Path) -> None:
    saved(tmp_path / "base", tokenizer)
    from transformers import AutoModelForCausalLM, LlamaConfig

    deeper = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2,
    )  # fmt: skip
    adapter(AutoModelForCausalLM.from_config(deeper), tmp_path / "deeper", tuning.LoraConfig(target_modules=["q_proj"]))
    with pytest.raises(AdapterError, match="fits this base only in part"):
        load_scorer(tmp_path / "base", adapter=str(tmp_path / "deeper"))


def test_an_adapter_that_has_no_place_in_the_weights_is_named(tokenizer: Any, tmp_path: Path) -> None:
    base = saved(tmp_path / "base", tokenizer)
    adapted = tuning.get_peft_model(base, tuning.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2))
    adapted.save_pretrained(tmp_path / "adapter")
    with pytest.raises(tuning.TuningError, match="PREFIX_TUNING"):
        load_scorer(tmp_path / "base", adapter=str(tmp_path / "adapter"), quantize=False)


def test_few_bits_say_about_the_same(tokenizer: Any, tmp_path: Path) -> None:
    saved(tmp_path / "base", tokenizer)
    whole = searched(load_scorer(tmp_path / "base", quantize=False), "k", PROMPT, NAMES)
    few = searched(load_scorer(tmp_path / "base"), "k", PROMPT, NAMES)
    assert not np.array_equal(few, whole)
    assert np.abs(few - whole).max() < 0.1


def test_a_model_of_another_processor_is_made_again(
    tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path / "base", tokenizer)
    before = searched(load_scorer(tmp_path / "base"), "k", PROMPT, NAMES)
    made = compiled(tmp_path / "base", [])
    assert b"prepacked_" in (made.folder / GRAPH).read_bytes()  # so the weights are mapped as they are
    monkeypatch.setattr(compiling, "machine", lambda: "another processor")
    other = compiled(tmp_path / "base", [])
    assert other.folder != made.folder

    elsewhere = msgspec.structs.replace(other.about, sample=[logit + 1 for logit in other.about.sample])
    (other.folder / ABOUT).write_bytes(msgspec.json.encode(elsewhere))
    with pytest.raises(ModelFileBroken, match="another processor"):
        on_onnx(compiled(tmp_path / "base", []), 1)
    assert np.array_equal(searched(load_scorer(tmp_path / "base"), "k", PROMPT, NAMES), before)
    assert compiled(tmp_path / "base", []).about.sample == made.about.sample
