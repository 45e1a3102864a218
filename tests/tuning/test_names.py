"""PEFT's names: they are all there, cost nothing until they are used, and carry a script that was written for PEFT."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from tokenizers import Tokenizer, models
from torch import nn
from transformers import PreTrainedTokenizerFast

import tuning
from benchmarks import tuning_methods
from tests.tuning import methods_page
from tests.tuning.oracle import BASES, VOCABULARY, shaken, tiny_llama, tokens
from tuning.errors import AdapterError, CheckpointError, ConfigError
from tuning.registry import method_named, methods

SCRIPT = """
import tuning as peft
from tests.tuning.oracle import tiny_llama, tokens

config = peft.LoraConfig(task_type=peft.TaskType.CAUSAL_LM, r=4, target_modules=["q_proj"], inference_mode=False)
assert config.peft_type == peft.PeftType.LORA
model = peft.get_peft_model(tiny_llama(), config)
assert isinstance(model, peft.PeftModelForCausalLM) and isinstance(model, peft.PeftModel)
model.print_trainable_parameters()
model(input_ids=tokens(), labels=tokens()).loss.backward()
model.save_pretrained("{folder}")
assert peft.PeftConfig.from_pretrained("{folder}").r == 4
again = peft.PeftModel.from_pretrained(tiny_llama(), "{folder}")
assert again(input_ids=tokens()).logits.equal(model.eval()(input_ids=tokens()).logits)
merged = again.merge_and_unload()
assert type(merged).__name__ == "LlamaForCausalLM"
"""


def run(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", tuning.__all__)
def test_a_name_is_there(name: str) -> None:
    assert getattr(tuning, name) is not None
    assert hasattr(peft, name) or name.endswith(("Error", "Missing")) or name == "as_peft"


def test_importing_loads_no_torch() -> None:
    loaded = run(
        "import sys, tuning; tuning.TaskType, tuning.PeftConfig, tuning.TuningError, dir(tuning); print(*sys.modules)"
    )
    assert {"torch", "transformers"} & set(loaded.split()) == set()


def test_a_script_written_for_peft_runs(tmp_path: Path) -> None:
    assert "trainable params: 512 || all params: " in run(SCRIPT.format(folder=tmp_path))


@pytest.mark.parametrize("name", list(methods()))
def test_a_type_is_pefts(name: str) -> None:
    assert getattr(peft.PeftType, name).value == name
    assert method_named(name).config.__name__ == peft.mapping.PEFT_TYPE_TO_CONFIG_MAPPING[peft.PeftType(name)].__name__


def test_the_page_has_every_method() -> None:
    page = methods_page.PAGE.read_text("utf-8")
    assert page == methods_page.with_table(page), "python -m tests.tuning.methods_page writes the table"


def test_the_page_of_costs_has_the_figures_that_were_measured() -> None:
    page = tuning_methods.PAGE.read_text("utf-8")
    assert page == tuning_methods.with_table(page), "python -m benchmarks.tuning_methods --page writes the table"


def test_the_types_are_all_of_pefts() -> None:
    assert {kind.value for kind in tuning.PeftType} == {kind.value for kind in peft.PeftType}
    with pytest.raises(ConfigError, match="the nearest are 'LORA'"):
        method_named("LORAX")


def test_a_config_comes_from_a_dict() -> None:
    config: Any = tuning.get_peft_config({"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 3})
    assert (type(config), config.r) == (tuning.LoraConfig, 3)
    with pytest.raises(ConfigError, match="no peft_type"):
        tuning.get_peft_config({"r": 3})


@pytest.mark.parametrize("task", list(tuning.TaskType))
def test_a_task_has_its_class(task: str) -> None:
    config = tuning.LoraConfig(task_type=task, target_modules=["q_proj"])
    name = type(tuning.get_peft_model(tiny_llama(), config)).__name__
    assert name == peft.auto.MODEL_TYPE_TO_PEFT_MODEL_MAPPING[task].__name__
    assert hasattr(tuning, f"Auto{name}")


def test_a_class_says_the_task(tmp_path: Path) -> None:
    config = tuning.PromptTuningConfig(num_virtual_tokens=2)
    model = tuning.PeftModelForCausalLM(tiny_llama(), config)
    assert config.task_type == "CAUSAL_LM"
    model.save_pretrained(tmp_path)
    assert type(tuning.PeftModel.from_pretrained(tiny_llama(), tmp_path)) is tuning.PeftModelForCausalLM


def saved(folder: Path, base: str = "llama", **options: Any) -> Any:
    """An adapter in a folder, whose base lies in another."""
    plain = BASES[base]()
    plain.save_pretrained(folder / "base")
    plain.name_or_path = str(folder / "base")
    model = tuning.get_peft_model(plain, tuning.LoraConfig(**{"task_type": "CAUSAL_LM", **options}))
    shaken(model)
    model.save_pretrained(folder / "adapter")
    return model.eval()


@pytest.mark.parametrize("base", BASES)
def test_the_base_comes_with_the_adapter(base: str, tmp_path: Path) -> None:
    model = saved(tmp_path, base)
    ours: Any = tuning.AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter", dtype=torch.float64)
    assert isinstance(ours, tuning.PeftModelForCausalLM)
    assert not any(parameter.requires_grad for parameter in ours.parameters())
    assert torch.allclose(ours(tokens()).logits, model(tokens()).logits, rtol=0, atol=1e-9)
    theirs = peft.AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter", dtype=torch.float64)
    assert torch.allclose(ours(tokens()).logits, theirs(tokens()).logits, rtol=0, atol=1e-9)
    again: Any = tuning.AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter", is_trainable=True)
    assert any(parameter.requires_grad for parameter in again.parameters())


def test_the_base_grows_with_the_tokenizer(tmp_path: Path) -> None:
    saved(tmp_path)
    words = {f"w{number}": number for number in range(VOCABULARY + 3)}
    PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel(words))).save_pretrained(tmp_path / "adapter")
    model: Any = tuning.AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter")
    assert model.get_input_embeddings().weight.shape[0] == VOCABULARY + 3


def test_a_base_that_is_not_here_is_not_fetched(tmp_path: Path) -> None:
    saved(tmp_path)
    with pytest.raises(ConfigError, match="take AutoPeftModelForCausalLM"):
        tuning.AutoPeftModelForSeq2SeqLM.from_pretrained(tmp_path / "adapter")
    (tmp_path / "base").rename(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match=r"can't be loaded.*local_files_only=False"):
        tuning.AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter")
    with pytest.raises(CheckpointError, match="is no folder"):
        tuning.AutoPeftModelForCausalLM.from_pretrained("someone/adapter")
    with pytest.raises(ConfigError, match=r"call AutoPeftModelForCausalLM.from_pretrained"):
        tuning.AutoPeftModelForCausalLM()


def test_adapters_are_injected_into_a_model_that_stays_itself() -> None:
    model, x = tiny_llama(), tokens()
    before = model(x).logits
    config = tuning.LoraConfig(r=4, target_modules=["q_proj"])
    assert tuning.inject_adapter_in_model(config, model) is model
    assert model(x).logits.equal(before)
    shaken(model)
    tensors = tuning.get_peft_model_state_dict(model)
    assert set(tensors) == set(peft.get_peft_model_state_dict(_by_peft("q_proj")))

    other = tiny_llama()
    config = tuning.LoraConfig(r=4)
    tuning.inject_adapter_in_model(config, other, state_dict=tensors)
    assert {status.name.rsplit(".", 1)[-1] for status in tuning.get_layer_status(other)} == {"q_proj"}
    assert tuning.set_peft_model_state_dict(other, tensors).unexpected_keys == []
    assert other(x).logits.equal(model(x).logits)
    trainable = [name for name, value in other.named_parameters() if value.requires_grad]
    assert len(trainable) == 4 and all("lora_" in name for name in trainable)

    tuning.inject_adapter_in_model(tuning.IA3Config(target_modules=["k_proj"], feedforward_modules=[]), other, "second")
    status = tuning.get_model_status(other)
    assert (status.available_adapters, status.num_adapter_layers) == (["default", "second"], 4)


def test_a_checkpoints_layers_are_found_in_a_model_that_has_adapters() -> None:
    targets = ["q_proj", "v_proj"]
    other = tuning.inject_adapter_in_model(tuning.LoraConfig(r=4, target_modules=targets), tiny_llama())
    shaken(other)
    tensors = tuning.get_peft_model_state_dict(other)
    model = tuning.inject_adapter_in_model(tuning.LoraConfig(r=2, target_modules=targets[:1]), tiny_llama())
    tuning.inject_adapter_in_model(tuning.LoraConfig(r=4), model, "second", state_dict=tensors)
    there = {status.name for status in tuning.get_layer_status(model) if "second" in status.available_adapters}
    assert there == {status.name for status in tuning.get_layer_status(other)}
    tuning.set_peft_model_state_dict(model, tensors, "second")
    assert model(tokens()).logits.equal(other(tokens()).logits)


def _by_peft(target: str) -> nn.Module:
    return peft.inject_adapter_in_model(peft.LoraConfig(r=4, target_modules=[target]), tiny_llama())


def test_the_status_of_a_model_is_told() -> None:
    model = tuning.get_peft_model(tiny_llama(), tuning.LoraConfig(target_modules=["q_proj"]))
    theirs = peft.get_peft_model(tiny_llama(), peft.LoraConfig(target_modules=["q_proj"]))
    ours, expected = tuning.get_model_status(model), peft.get_model_status(theirs)
    for field in ("trainable_params", "total_params", "num_adapter_layers", "enabled", "active_adapters", "peft_types"):
        assert getattr(ours, field) == getattr(expected, field), field
    assert [layer.active_adapters for layer in tuning.get_layer_status(model)] == [["default"]] * 2
    with pytest.raises(AdapterError, match=r"No adapter layers found in the model.*LlamaForCausalLM"):
        tuning.get_layer_status(tiny_llama())
    config = tuning.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    with pytest.raises(AdapterError, match="virtual tokens sit on no layer"):
        tuning.get_model_status(tuning.get_peft_model(tiny_llama(), config))
    with pytest.raises(ConfigError, match="adapts no layers"):
        tuning.inject_adapter_in_model(config, tiny_llama())


class Named(nn.Module):
    """A base whose own modules have names that a tuner could want for itself."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.layers = nn.Embedding(8, 4), nn.ModuleList([nn.Linear(4, 4)])


def test_a_bases_own_modules_are_reached_through_the_tuner() -> None:
    base = Named()
    model = tuning.get_peft_model(base, tuning.LoraConfig(target_modules=["layers.0"]))
    assert model.base_model.shared is base.shared
    assert model.base_model.layers[0].active_adapters == ["default"]


def test_rows_of_tokens_are_no_adapter_of_a_layer_without_them() -> None:
    model = tuning.get_peft_model(Named(), tuning.LoraConfig(target_modules=["layers.0"]))
    model.add_adapter("other", tuning.LoraConfig(target_modules=["layers.0"], trainable_token_indices={"shared": [0]}))
    assert model.base_model.shared.active_adapters == []
    model.set_adapter("other")
    assert model.base_model.shared.active_adapters == ["other"]


def test_a_parameters_layer_prints_its_name() -> None:
    model = tuning.get_peft_model(tiny_llama(), tuning.LoraConfig(target_parameters=["q_proj.weight"]))
    assert "parameter_name='weight'" in repr(model.get_submodule("base_model.model.model.layers.0.self_attn.q_proj"))
