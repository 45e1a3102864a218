"""What can't work is refused before training, with what was asked, what is there, and what would work; and then nothing has changed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import tuning
from tests.tuning.oracle import BASES, shaken, tiny_llama, tokens


def logits(model: nn.Module) -> Tensor:
    with torch.no_grad():
        return model(input_ids=tokens()).logits


def adapted(**options: Any) -> tuning.PeftModel:
    model = tuning.get_peft_model(tiny_llama(), tuning.LoraConfig(**options), autocast_adapter_dtype=False)
    shaken(model)
    return model.eval()


def check_refused(config: tuning.PeftConfig | Any, error: type[Exception], *parts: str, base: str = "llama") -> None:
    """The adapter is refused, the message has all parts in turn, and the model is as it was."""
    model = BASES[base]()
    before = [(name, type(module)) for name, module in model.named_modules()]
    with pytest.raises(error, match=".*".join(parts)):
        tuning.get_peft_model(model, config() if callable(config) else config)
    assert [(name, type(module)) for name, module in model.named_modules()] == before
    assert torch.equal(logits(model), logits(BASES[base]()))


# targets


def test_unknown_targets_name_the_nearest_and_list_all_by_kind() -> None:
    check_refused(
        tuning.LoraConfig(target_modules=["q_prj"]), tuning.TargetError,
        r"Target modules \['q_prj'\] not found", "nearest are 'q_proj'", "LlamaForCausalLM has", "linear: q_proj ×2, k_proj ×2",
        "lm_head ×1", r"embedding: embed_tokens ×1|embedding",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target_modules": r"encoder\..*"}, "not found in the base model"),
        ({"target_modules": []}, "target_modules is empty"),
        ({"target_modules": ["q_proj"], "exclude_modules": ["q_proj"]}, "No modules were targeted .*exclude_modules"),
        ({"target_modules": ["q_proj"], "layers_to_transform": [7]}, r"'layers_to_transform': \[7\]"),
        ({"target_modules": ["mlp"]}, r"can't adapt 'model.layers.0.mlp' \(LlamaMLP\)"),
        (
            {"target_modules": ["input_layernorm"]},
            r"LORA can't adapt .* a norm layer\); it can adapt attention and convolution and embedding and linear",
        ),
        ({"modules_to_save": ["lm_hed"]}, "name no module; the nearest are 'lm_head'"),
    ],
)
def test_targets_that_cannot_be(options: dict[str, Any], message: str) -> None:
    check_refused(tuning.LoraConfig(**options), tuning.TargetError, message)


@pytest.mark.parametrize(
    ("config", "target"),
    [
        ("IA3Config", "input_layernorm"), ("LoHaConfig", "embed_tokens"), ("VeraConfig", "embed_tokens"),
        ("HRAConfig", "input_layernorm"), ("LNTuningConfig", "embed_tokens"),
    ],
)  # fmt: skip
def test_a_method_that_cannot_do_a_kind_of_layer_says_which_it_can(config: str, target: str) -> None:
    options: dict[str, Any] = {"feedforward_modules": []} if config == "IA3Config" else {}
    made = getattr(tuning, config)(target_modules=[target], **options)
    check_refused(made, tuning.TargetError, f"can't adapt 'model.*{target}'", "it can adapt", " ×2| ×1")


def test_the_usual_layers_of_a_model_without_them() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    with pytest.raises(
        tuning.TargetError, match=r"none of LORA's usual layers. Please specify `target_modules`: linear: 0 ×1"
    ):
        tuning.get_peft_model(model, tuning.LoraConfig())


# ranks and options


@pytest.mark.parametrize(
    ("config", "options"),
    [
        ("LoraConfig", {"r": 17, "init_lora_weights": "pissa"}),
        ("LoraConfig", {"r": 17, "init_lora_weights": "olora"}),
        ("HRAConfig", {"r": 40, "apply_GS": True}),
        ("MissConfig", {"r": 40}),
        ("FourierFTConfig", {"n_frequency": 2000}),
    ],
)
def test_a_rank_above_the_smaller_side_is_refused_where_it_cannot_work(config: str, options: dict[str, Any]) -> None:
    if not hasattr(tuning, config):
        config = config.replace("Miss", "MISS")
    made = getattr(tuning, config)(target_modules=["v_proj", "q_proj"], **options)
    check_refused(made, tuning.ConfigError, r"(r|n_frequency) is \d+.*_proj'")


def test_a_rank_above_the_smaller_side_is_pefts_own_choice_for_lora() -> None:
    assert adapted(r=40).active_adapters == ["default"]


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        ("LoraConfig", {"r": 0}, "r is 0"),
        ("LoraConfig", {"lora_dropout": 1.0}, "lora_dropout is 1.0"),
        ("LoraConfig", {"bias": "lora"}, "'none', 'all', 'lora_only'; the nearest are 'lora_only'|bias is 'lora'"),
        ("LoraConfig", {"init_lora_weights": "gausian"}, "nearest are 'gaussian'"),
        ("LoraConfig", {"lora_bias": True, "use_dora": True}, "lora_bias=True is not for use_dora"),
        (
            "LoraConfig",
            {"target_modules": ".*", "layers_to_transform": [1]},
            "goes with a list of target_modules",
        ),
        ("LoraConfig", {"layers_pattern": "layers"}, "where the numbers of `layers_to_transform` stand"),
        ("LoraConfig", {"task_type": "CAUSAL"}, "Invalid task type: 'CAUSAL'"),
    ],
)
def test_options_that_conflict_or_cannot_be(config: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(tuning.ConfigError, match=message):
        getattr(tuning, config)(**options)


# names


def test_names_that_are_taken_unknown_or_no_names() -> None:
    model = adapted()
    for name, message in (
        ("default", "already exists"),
        ("a.b", "no dots"),
        ("", "not empty"),
        ("__base__", "can't be named"),
    ):
        with pytest.raises(tuning.AdapterError, match=message):
            model.add_adapter(name, tuning.LoraConfig())
    for refused in (
        lambda: model.set_adapter("defalt"),
        lambda: model.merge_adapter(["defalt"]),
        lambda: model(input_ids=tokens(1), adapter_names=["defalt"]),
        lambda: model.delete_adapter("defalt"),
        lambda: model.save_pretrained("nowhere", selected_adapters=["defalt"]),
        lambda: tuning.set_peft_model_state_dict(model, {}, "defalt"),
    ):
        with pytest.raises(tuning.AdapterError, match=r"defalt.*\['default'\]"):
            refused()
    with pytest.raises(tuning.AdapterError, match="has 2 names, and the batch 3 rows"):
        model(input_ids=tokens(3), adapter_names=["default", "default"])
    with pytest.raises(tuning.AdapterError, match="use its add_adapter"):
        tuning.get_peft_model(model, tuning.LoraConfig())


def test_a_merged_adapter_is_not_swapped_and_rows_do_not_choose() -> None:
    model = adapted()
    state = {key: value.clone() for key, value in tuning.get_peft_model_state_dict(model).items()}
    model.merge_adapter()
    with pytest.raises(tuning.AdapterError, match="unmerge"):
        tuning.set_peft_model_state_dict(model, state)
    with pytest.raises(tuning.AdapterError, match="unmerge"):
        model(input_ids=tokens(1), adapter_names=["default"])


def test_a_broken_adapter_is_not_merged_anywhere() -> None:
    model = adapted()
    before = {key: value.clone() for key, value in model.get_base_model().state_dict().items()}
    list(model.tuner_for("test").methods("default"))[-1].lora_B.weight.data[0, 0] = torch.nan
    broken = (
        r"NaNs detected .* adapter default seems to be broken: it makes 'model.layers.1.* hold values .* is not merged"
    )
    with pytest.raises(tuning.AdapterError, match=broken):
        model.merge_adapter(safe_merge=True)
    assert model.get_model_status().merged_adapters == []
    for key, value in model.get_base_model().state_dict().items():
        if "lora_" not in key:
            assert torch.allclose(value, before[key], rtol=0, atol=1e-12)


def test_a_bias_is_merged_into_layers_that_have_one_only() -> None:
    model = adapted(lora_bias=True)
    with pytest.raises(tuning.AdapterError, match=r"q_proj' has no bias that"):
        model.merge_adapter()
    assert model.get_model_status().merged_adapters == []


@pytest.mark.parametrize("method", ["gptq", "awq", "aqlm", "eetq", "hqq"])
@pytest.mark.parametrize("told_by", ["model", "config", "layer"])
def test_a_base_that_is_quantised_otherwise_is_refused(method: str, told_by: str) -> None:
    base: Any = tiny_llama()
    if told_by == "model":
        base.quantization_method = method
    elif told_by == "config":
        base.config.quantization_config = {"quant_method": method}
    else:
        package = {"gptq": "gptqmodel"}.get(method, method)
        base.model.layers[0].mlp.act_fn = type("Packed", (nn.Module,), {"__module__": f"{package}.nn"})()
    with pytest.raises(tuning.ConfigError, match="BitsAndBytesConfig") as refused:
        tuning.get_peft_model(base, tuning.LoraConfig())
    assert method in str(refused.value).lower()
