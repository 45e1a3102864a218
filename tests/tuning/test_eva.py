"""EVA: the directions of layers' inputs, found in passes over data as HF peft finds them, and an adapter that starts as them."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from torch import Tensor, distributed, nn

import tuning
from tests.tuning.oracle import VOCABULARY, tiny_gpt2, tiny_llama, tokens
from tests.tuning.test_quantised import logits, quantised
from tuning.layers import adapted_layers

TARGETS = {"llama": ["q_proj", "k_proj", "down_proj"], "gpt2": ["c_attn", "c_proj"]}
BASES: dict[str, Callable[[], Any]] = {
    "llama": lambda: tiny_llama().float(),
    "gpt2": lambda: tiny_gpt2().float(),
    "nf4": lambda: quantised("nf4"),
}


def batches(count: int = 3, rows: int = 4) -> list[dict[str, Tensor]]:
    """Tokens with padding, and labels that leave some out."""
    found = []
    for number in range(count):
        generator = torch.Generator().manual_seed(number)
        ids = torch.randint(1, VOCABULARY, (rows, 12), generator=generator)
        mask = torch.ones_like(ids)
        mask[0, 8:] = 0
        found.append({"input_ids": ids, "attention_mask": mask, "labels": torch.where(ids % 5 == 0, -100, ids)})
    return found


def adapted(engine: Any, base: str = "llama", eva: dict[str, Any] | None = None, **options: Any) -> Any:
    given = {"target_modules": TARGETS.get(base, TARGETS["llama"]), "r": 3, "lora_alpha": 6, **options}
    config = engine.LoraConfig(init_lora_weights="eva", eva_config=engine.EvaConfig(**(eva or {})), **given)
    torch.manual_seed(0)
    return engine.get_peft_model(BASES[base](), config).eval()


def check_same_state(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert {name: tuple(value.shape) for name, value in ours.items()} == {
        name: tuple(value.shape) for name, value in theirs.items()
    }
    for name, value in theirs.items():
        assert torch.allclose(ours[name].double(), value.double(), rtol=0, atol=1e-4), name


@pytest.mark.parametrize(
    ("base", "eva", "options"),
    [
        ("llama", {}, {}),
        ("llama", {"rho": 1.0, "tau": 0.9}, {"rank_pattern": {"down_proj": 2}}),
        ("llama", {"use_label_mask": False, "adjust_scaling_factors": False}, {"use_dora": True}),
        ("gpt2", {"rho": 3.0, "tau": 0.8}, {}),
        ("nf4", {"tau": 0.9}, {}),
    ],
    ids=str,
)
def test_it_starts_as_pefts_and_comes_back(
    base: str, eva: dict[str, Any], options: dict[str, Any], tmp_path: Path
) -> None:
    theirs, ours = (adapted(engine, base, eva, **options) for engine in (peft, tuning))
    plain = logits(ours)
    states = [
        engine.get_eva_state_dict(model, batches(), show_progress_bar=False)
        for engine, model in ((tuning, ours), (peft, theirs))
    ]
    check_same_state(*states)
    assert len({len(value) for value in states[0].values()}) > 1
    peft.initialize_lora_eva_weights(theirs, eva_state_dict=dict(states[1]))
    tuning.initialize_lora_eva_weights(ours, batches(), show_progress_bar=False)
    assert torch.allclose(logits(ours), plain, rtol=0, atol=1e-5)  # B is zeros still
    trained = {name: value.shape for name, value in theirs.named_parameters() if value.requires_grad}
    assert {name: value.shape for name, value in ours.named_parameters() if value.requires_grad} == trained
    for name in trained:
        assert torch.allclose(ours.get_parameter(name), theirs.get_parameter(name), rtol=0, atol=1e-4), name
    mine, other = ours.peft_config["default"], theirs.peft_config["default"]
    assert (mine.rank_pattern, mine.alpha_pattern) == (other.rank_pattern, other.alpha_pattern)
    for layer in adapted_layers(ours.get_base_model()).values():
        method: Any = layer.adapters["default"]
        method.lora_B.weight.data += 0.1
    ours.save_pretrained(tmp_path)
    for engine in (tuning, peft):
        for low in (False, True):
            again = engine.PeftModel.from_pretrained(BASES[base](), tmp_path, low_cpu_mem_usage=low).eval()
            assert torch.allclose(logits(again), logits(ours), rtol=0, atol=1e-5)


def test_directions_are_found_without_an_adapter_and_whitened_once() -> None:
    models = {
        engine: engine.LoraConfig(
            r=3, target_modules=TARGETS["llama"], init_lora_weights="eva", eva_config=engine.EvaConfig(rho=1.0)
        )
        for engine in (tuning, peft)
    }
    ours, theirs = (
        engine.get_eva_state_dict(tiny_llama().float(), batches(), config, show_progress_bar=False)
        for engine, config in models.items()
    )
    check_same_state(ours, theirs)
    models[tuning].eva_config.whiten = True
    white = tuning.get_eva_state_dict(tiny_llama().float(), batches(), models[tuning], show_progress_bar=False)
    for name, value in white.items():
        assert torch.allclose(nn.functional.normalize(value), nn.functional.normalize(ours[name]), atol=1e-5), name
        assert not torch.allclose(value, ours[name], atol=1e-2)
    shorter, longer = sorted(
        (white[f"model.layers.0.self_attn.{name}"] for name in ("q_proj", "k_proj")), key=len
    )  # both have the same inputs, and so the same directions
    assert torch.equal(shorter, longer[: len(shorter)])
    model = adapted(tuning)
    tuning.initialize_lora_eva_weights(model, eva_state_dict=ours)  # by the base's own paths
    layer: Any = model.get_submodule("base_model.model.model.layers.0.mlp.down_proj")
    assert torch.allclose(layer.lora_A["default"].weight, ours["model.layers.0.mlp.down_proj"].float())


def test_a_layer_without_directions_loses_the_adapter_and_an_unknown_one_starts_as_ever(tmp_path: Path) -> None:
    model = adapted(tuning, target_modules=["q_proj", "embed_tokens"])
    plain, generator = logits(model), torch.Generator().manual_seed(0)
    path = "base_model.model.model.layers.{}.self_attn.q_proj"
    state = {path.format(0): torch.zeros(0, 32), path.format(1): torch.randn(5, 32, generator=generator)}
    with pytest.warns(UserWarning, match="not found in the eva state_dict: model.embed_tokens"):
        tuning.initialize_lora_eva_weights(model, eva_state_dict=state)
    assert set(adapted_layers(model.get_base_model())) == {"model.layers.1.self_attn.q_proj", "model.embed_tokens"}
    assert torch.allclose(logits(model), plain, rtol=0, atol=1e-5)
    config = model.peft_config["default"]
    assert config.rank_pattern == {"model.layers.1.self_attn.q_proj": 5}
    assert config.alpha_pattern == {"model.layers.1.self_attn.q_proj": 10}
    optimiser = torch.optim.SGD([value for value in model.parameters() if value.requires_grad], lr=1)
    model(input_ids=tokens(), labels=tokens()).loss.backward()
    optimiser.step()
    model.save_pretrained(tmp_path)
    for engine in (tuning, peft):
        again = engine.PeftModel.from_pretrained(tiny_llama().float(), tmp_path).eval()
        assert torch.allclose(logits(again), logits(model), rtol=0, atol=1e-5)


def test_a_model_without_memory_for_its_adapter_gets_one() -> None:
    config = tuning.LoraConfig(r=3, target_modules=["q_proj"], init_lora_weights="eva", eva_config=tuning.EvaConfig())
    model = tuning.get_peft_model(tiny_llama().float(), config, low_cpu_mem_usage=True)
    tuning.initialize_lora_eva_weights(model, batches(), show_progress_bar=False)
    assert not any(parameter.is_meta for parameter in model.parameters())
    assert torch.allclose(logits(model.eval()), logits(tiny_llama().float()), rtol=0, atol=1e-5)


def test_what_a_layer_is_given_can_be_prepared_otherwise() -> None:
    model = adapted(tuning, eva={"tau": 0.0})
    seen: list[str] = []

    def half(layer_input: Any, prepared: Any, name: str) -> Tensor:
        seen.append(name)
        assert set(prepared) == {"input_ids", "attention_mask", "labels"}
        return layer_input[0][: len(layer_input[0]) // 2].flatten(0, 1)

    name = "base_model.model.model.layers.0.mlp.down_proj"
    options = {"prepare_model_inputs_fn": None, "show_progress_bar": False}
    found = tuning.get_eva_state_dict(model, batches(), prepare_layer_inputs_fn={name: half}, **options)
    assert set(seen) == {name}
    assert len(found) == 6
    with pytest.raises(tuning.ConfigError, match=r"mapping but the following module names were not found.*no.layer"):
        tuning.get_eva_state_dict(model, batches(), prepare_layer_inputs_fn={"no.layer": half}, **options)


def test_a_refused_pass_leaves_the_model_as_it_was() -> None:
    model = adapted(tuning).train()
    for data, options, message in (
        ([], {}, "dataloader is empty"),
        (batches(rows=1)[:1], {"eva": 40}, "no batch gave .* 120 inputs"),
        ([[1, 2]], {}, "a batch is list, and not a dict"),
    ):
        changed = copy.deepcopy(model)
        changed.peft_config["default"].eva_config.rho = options.get("eva", 2.0)
        with pytest.raises(tuning.ConfigError, match=message):
            tuning.initialize_lora_eva_weights(changed, data, show_progress_bar=False)
        assert changed.training
        assert not any(module._forward_hooks for module in changed.modules())


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(tuning.ConfigError, match=r"`rho` must be >= 1.0"):
        tuning.EvaConfig(rho=0.5)
    with pytest.raises(tuning.ConfigError, match=r"`tau` must be between 0.0 and 1.0"):
        tuning.EvaConfig(tau=1.5)
    with pytest.raises(tuning.ConfigError, match="must be a PeftModel"):
        tuning.initialize_lora_eva_weights(tiny_llama(), batches())
    with pytest.raises(tuning.ConfigError, match="peft_config is required"):
        tuning.get_eva_state_dict(tiny_llama(), batches())
    model = adapted(tuning)
    with pytest.raises(tuning.ConfigError, match="dataloader is required"):
        tuning.initialize_lora_eva_weights(model)
    model.add_adapter("other", tuning.LoraConfig(target_modules=["q_proj"]))
    with pytest.raises(tuning.ConfigError, match="can only be used with `init_lora_weights='eva'`"):
        tuning.initialize_lora_eva_weights(model, batches(), adapter_name="other")
    model.base_model.set_adapter(["default", "other"])
    with pytest.raises(tuning.AdapterError, match="a single active adapter"):
        tuning.initialize_lora_eva_weights(model, batches())


def test_configs_that_go_unsaid_or_unused_are_warned_of() -> None:
    with pytest.warns(UserWarning, match="`eva_config` is not specified"):
        assert tuning.LoraConfig(init_lora_weights="eva").eva_config == tuning.EvaConfig()
    with pytest.warns(UserWarning, match="`eva_config` specified but will be ignored"):
        tuning.LoraConfig(eva_config=tuning.EvaConfig())


OTHER = """
import sys, torch
sys.path.insert(0, sys.argv[2])
from torch import distributed
import tuning
distributed.init_process_group("gloo", init_method="file://" + sys.argv[1], rank=1, world_size=2)
torch.manual_seed(0)
data = [torch.randn(40, 12, generator=torch.Generator().manual_seed(seed))[25:] for seed in range(3)]
config = tuning.LoraConfig(r=2, target_modules=["0", "2"], init_lora_weights="eva", eva_config=tuning.EvaConfig(tau=0.5))
tuning.get_eva_state_dict(
    torch.nn.Sequential(torch.nn.Linear(12, 12), torch.nn.Tanh(), torch.nn.Linear(12, 12)), data, config, lambda model, x: model(x),
    None, None, show_progress_bar=False,
)
"""


def test_two_processes_find_what_one_finds(tmp_path: Path) -> None:
    data = [torch.randn(40, 12, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]
    config = tuning.LoraConfig(
        r=2, target_modules=["0", "2"], init_lora_weights="eva", eva_config=tuning.EvaConfig(tau=0.5)
    )

    def found(rows: list[Tensor], **options: Any) -> dict[str, Tensor]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 12))
        return tuning.get_eva_state_dict(
            model, rows, config, lambda model, x: model(x), None, None, show_progress_bar=False, **options
        )

    alone = found(data)
    root, store = str(Path(__file__).parents[2]), str(tmp_path / "store")
    other = subprocess.Popen([sys.executable, "-c", OTHER, store, root])
    try:
        distributed.init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=2)
        together = found([rows[:25] for rows in data])
        assert other.wait(timeout=200) == 0
    finally:
        other.kill()
        distributed.destroy_process_group()
    check_same_state(together, alone)
