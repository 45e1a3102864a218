"""Which layers a config means: PEFT's own rules, for any names."""

from __future__ import annotations

import warnings
from typing import Any

import peft
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from peft.tuners.tuners_utils import check_target_module_exists
from transformers import GPT2Config, GPT2ForSequenceClassification, LlamaConfig, LlamaForSequenceClassification

import tuning
from tests.tuning.oracle import BASES
from tuning.layers import adapted_layers
from tuning.targets import targeted

PARTS = ["model", "layers", "h", "0", "1", "2", "10", "experts", "attn", "q_proj", "v_proj", "proj", "up", "lm_head"]
names = st.lists(st.sampled_from(PARTS), min_size=1, max_size=7).map(".".join)
lists = st.lists(st.one_of(st.sampled_from(PARTS), names), min_size=1, max_size=3)
patterns = st.sampled_from(
    [".*", r".*\.q_proj", r".*attn.*", r"model\..*\.(q|v)_proj", r".*layers\.[01]\..*", "q_proj", r".*\d+.*proj", ""]
)
numbers = st.one_of(st.none(), st.integers(0, 12), st.lists(st.integers(0, 12), max_size=3))
layer_patterns = st.one_of(st.none(), st.sampled_from(["layers", "h", "experts", "lay.*"]), st.just(["h", "layers"]))


@settings(max_examples=1500)
@given(
    name=names,
    target_modules=st.one_of(lists, patterns),
    exclude_modules=st.one_of(st.none(), lists, patterns),
    layers_to_transform=numbers,
    layers_pattern=layer_patterns,
    modules_to_save=st.one_of(st.none(), st.lists(st.sampled_from(PARTS), max_size=2)),
)
def test_any_name_is_meant_as_peft_means_it(name: str, **options: Any) -> None:
    if isinstance(options["target_modules"], str):
        options["layers_to_transform"] = options["layers_pattern"] = None
    if not options["layers_to_transform"]:
        options["layers_pattern"] = None
    assume(options["exclude_modules"] != "")
    theirs = bool(check_target_module_exists(peft.LoraConfig(**options), name))
    assert targeted(tuning.LoraConfig(**options), name) == theirs


def classifier(kind: str) -> torch.nn.Module:
    torch.manual_seed(0)
    if kind == "llama":
        config = LlamaConfig(
            vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2,
        )  # fmt: skip
        return LlamaForSequenceClassification(config)
    return GPT2ForSequenceClassification(GPT2Config(vocab_size=64, n_embd=32, n_layer=2, n_head=4, n_positions=64))


MODELS = {**BASES, "llama-score": lambda: classifier("llama"), "gpt2-score": lambda: classifier("gpt2")}


def both(model: str, method: str = "Lora", **options: Any) -> tuple[set[str], set[str]]:
    """The paths of the layers that PEFT adapts, and that we do."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = peft.get_peft_model(MODELS[model](), getattr(peft, f"{method}Config")(**options))
    ours = tuning.get_peft_model(MODELS[model](), getattr(tuning, f"{method}Config")(**options))
    return (
        {path for path, module in theirs.base_model.model.named_modules() if hasattr(module, "base_layer")},
        set(adapted_layers(ours.get_base_model())),
    )


@pytest.mark.parametrize(
    ("model", "task"),
    [(model, task) for model in MODELS for task in (None, "SEQ_CLS" if "score" in model else "CAUSAL_LM")],
)
def test_all_linear_is_pefts(model: str, task: str | None) -> None:
    theirs, ours = both(model, target_modules="all-linear", task_type=task)
    assert ours == theirs


def test_all_linear_without_what_is_trained_whole() -> None:
    theirs, ours = both("llama", target_modules="all-linear", modules_to_save=["lm_head", "mlp"])
    assert ours == theirs
    assert not any(".mlp." in path for path in ours)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"target_modules": ["q_proj", "c_attn", "model.layers.1.mlp.up_proj"], "layers_to_transform": 0},
        {"target_modules": r".*(c_fc|gate_proj)", "exclude_modules": r".*\.1\..*"},
        {"target_modules": ["c_proj", "o_proj"], "layers_to_transform": [1], "layers_pattern": ["h", "layers"]},
    ],
    ids=str,
)
@pytest.mark.parametrize("model", BASES)
def test_targets_are_pefts(model: str, options: dict[str, Any]) -> None:
    theirs, ours = both(model, **options)
    assert ours == theirs and ours


def test_a_second_adapter_finds_the_same_layers() -> None:
    model = tuning.get_peft_model(BASES["llama"](), tuning.LoraConfig(target_modules="all-linear"))
    first = set(adapted_layers(model.get_base_model()))
    model.add_adapter("other", tuning.LoraConfig(target_modules="all-linear"))
    assert set(model.tuner_for("test").layers_of("other")) == first


def test_a_module_that_another_adapter_trains_whole_is_no_target() -> None:
    model = tuning.get_peft_model(BASES["llama"](), tuning.LoraConfig(modules_to_save=["lm_head"]))
    model.add_adapter("other", tuning.LoraConfig(target_modules="all-linear"))
    assert not any("lm_head" in path for path in model.tuner_for("test").layers_of("other"))
