"""LoftQ: a base that is rounded, or was quantised, and LoRA that starts as what that took from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import bitsandbytes as bnb
import peft
import pytest
import torch
from peft.utils.loftq_utils import replace_lora_weights_loftq as theirs_of_quantised
from torch import nn
from torch.overrides import TorchFunctionMode

import tuning
from tests.tuning.oracle import shaken, tiny_gpt2, tiny_llama, tokens
from tests.tuning.test_quantised import BLOCK, logits, quantised
from tuning.layers import AdaptedLayer, adapted_layers

LAYERS = ["q_proj", "down_proj"]


class OnCpu(TorchFunctionMode):
    """PEFT computes LoftQ on a GPU, whatever the base is on: here what it would move there stays."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        def here(value: Any) -> Any:
            return torch.device("cpu") if getattr(value, "type", value) == "cuda" else value

        return func(*map(here, args), **{key: here(value) for key, value in (kwargs or {}).items()})


def config(engine: Any, **options: Any) -> Any:
    given = {"target_modules": LAYERS, "r": 4, "lora_alpha": 4, "init_lora_weights": "loftq", **options}
    given.setdefault("loftq_config", engine.LoftQConfig())
    return engine.LoraConfig(**given)


@pytest.mark.parametrize(("bits", "rounds", "dora"), [(4, 1, False), (4, 3, False), (8, 2, False), (4, 1, True)])
def test_it_starts_as_pefts_and_comes_back(bits: int, rounds: int, dora: bool, tmp_path: Path) -> None:
    def options(engine: Any) -> Any:
        return config(engine, use_dora=dora, loftq_config=engine.LoftQConfig(loftq_bits=bits, loftq_iter=rounds))

    with OnCpu():
        theirs = peft.get_peft_model(tiny_llama(BLOCK).float(), options(peft)).eval()
    ours = tuning.get_peft_model(tiny_llama(BLOCK).float(), options(tuning)).eval()
    found = {**dict(ours.named_parameters()), **dict(ours.named_buffers())}
    for key, value in theirs.state_dict().items():
        assert torch.allclose(found[key], value, rtol=0, atol=1e-6), key
    assert not torch.allclose(
        ours.get_base_model().model.layers[0].mlp.down_proj.weight, tiny_llama(BLOCK).float().model.layers[0].mlp.down_proj.weight, atol=1e-4
    )  # fmt: skip
    assert torch.allclose(logits(ours), logits(theirs), rtol=0, atol=1e-5)
    assert ours.peft_config["default"].loftq_config == theirs.peft_config["default"].loftq_config
    shaken(ours)
    ours.save_pretrained(tmp_path)
    for low in (False, True):
        again = tuning.PeftModel.from_pretrained(tiny_llama(BLOCK).float(), tmp_path, low_cpu_mem_usage=low).eval()
        assert torch.equal(logits(again), logits(ours))
    with OnCpu():
        read = peft.PeftModel.from_pretrained(tiny_llama(BLOCK).float(), tmp_path).eval()
    assert torch.allclose(logits(read), logits(ours), rtol=0, atol=1e-5)


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
def test_base_and_start_together_are_nearer_to_the_base_before(make: Callable[[], nn.Module]) -> None:
    targets = "all-linear"
    whole = make()
    one, more = (
        tuning.get_peft_model(
            make(), config(tuning, target_modules=targets, loftq_config={"loftq_bits": 4, "loftq_iter": rounds})
        )
        for rounds in (1, 5)
    )
    errors: list[float] = []
    for model in (one, more):
        apart = [
            (
                layer.frozen.weight - _read(whole, path),
                layer.frozen.weight + _change(layer) - _read(whole, path),
            )
            for path, layer in adapted_layers(model.get_base_model()).items()
        ]
        assert apart
        assert all(0 < after.norm() < before.norm() for before, after in apart)
        errors.append(sum(float(after.norm()) for _, after in apart))
    assert errors[1] < errors[0]


def adapter(layer: AdaptedLayer) -> Any:
    return layer.adapters["default"]


def _read(model: nn.Module, path: str) -> torch.Tensor:
    module: Any = model.get_submodule(path)
    return module.weight.T if type(module).__name__ == "Conv1D" else module.weight


def _change(layer: AdaptedLayer) -> torch.Tensor:
    return adapter(layer).change(layer.frozen).detach()


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """The weights that `quantised` has quantised, in two files with an index."""
    folder = tmp_path / "base"
    tiny_llama(BLOCK, bias=True).float().save_pretrained(folder, max_shard_size="50KB")
    assert not (folder / "model.safetensors").exists()
    return folder


@pytest.fixture(autouse=True)
def same_on_every_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bnb.nn.modules, "has_avx512bf16", lambda: False)


def test_a_quantised_bases_loss_is_what_lora_starts_as(base: Path) -> None:
    models = []
    for engine in (peft, tuning):
        torch.manual_seed(0)
        model = engine.get_peft_model(
            quantised("nf4"), engine.LoraConfig(target_modules=LAYERS, r=4, lora_alpha=4)
        ).eval()
        before = logits(model)
        replace = theirs_of_quantised if engine is peft else tuning.replace_lora_weights_loftq
        with OnCpu():
            replace(model, str(base))
        assert not torch.allclose(logits(model), before, atol=1e-3)
        models.append(model)
    assert torch.allclose(logits(models[1]), logits(models[0]), rtol=0, atol=1e-5)


def test_what_the_callback_does_not_want_stays_as_it_was(base: Path) -> None:
    model = tuning.get_peft_model(quantised("nf4"), tuning.LoraConfig(target_modules=LAYERS, r=4))
    seen: list[str] = []

    def wanted(changed: nn.Module, path: str) -> bool:
        assert changed is model
        seen.append(path)
        return "down_proj" in path

    tuning.replace_lora_weights_loftq(model, model_path=str(base), callback=wanted)
    assert len(seen) == 4
    for path, layer in adapted_layers(model.get_base_model()).items():
        assert bool(adapter(layer).factors[1].any()) == ("down_proj" in path)


def test_the_base_is_read_from_where_it_was_loaded() -> None:
    model = tuning.get_peft_model(quantised("nf4"), tuning.LoraConfig(target_modules=LAYERS, r=4))
    tuning.replace_lora_weights_loftq(model)
    assert all(adapter(layer).factors[1].any() for layer in adapted_layers(model.get_base_model()).values())


@pytest.mark.parametrize(
    ("made", "error", "message"),
    [
        (lambda: tuning.LoraConfig(init_lora_weights="loftq"), tuning.ConfigError, "must be specified"),
        (lambda: tuning.LoftQConfig(loftq_bits=2), tuning.ConfigError, "loftq_bits is 2; it can be 4, 8"),
        (lambda: tuning.LoftQConfig(loftq_iter=0), tuning.ConfigError, "loftq_iter is 0"),
        (lambda: adapted(target_modules=["embed_tokens"]), tuning.ConfigError, "rounds linear layers.*is embedding"),
        (lambda: tuning.get_peft_model(quantised("nf4"), config(tuning)), tuning.ConfigError, "is quantised already"),
        (lambda: adapted(r=40), tuning.ConfigError, "loftq can take apart into 32 at most"),
        (lambda: tuning.replace_lora_weights_loftq(adapted()), tuning.ConfigError, "No bnb LoRA module found"),
        (
            lambda: tuning.replace_lora_weights_loftq(on_nf4(), "nowhere"),
            tuning.CheckpointError,
            "nowhere has no safetensors",
        ),
        (lambda: tuning.replace_lora_weights_loftq(on_nf4("some/name")), tuning.CheckpointError, "on this machine"),
        (lambda: tuning.replace_lora_weights_loftq(on_nf4("")), tuning.ConfigError, "give model_path"),
    ],
)
def test_what_cannot_be_is_refused(made: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        made()


def test_a_refused_adapter_leaves_the_base_as_it_was() -> None:
    model = tiny_llama()
    with pytest.raises(tuning.TargetError):
        tuning.get_peft_model(model, config(tuning, modules_to_save=["lm_hed"]))
    assert torch.equal(model(input_ids=tokens()).logits, tiny_llama()(input_ids=tokens()).logits)


def test_a_config_that_goes_unused_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="`loftq_config` specified but will be ignored"):
        unused = tuning.LoraConfig(loftq_config=tuning.LoftQConfig())
    assert unused.loftq_config == {}


def adapted(**options: Any) -> Any:
    return tuning.get_peft_model(tiny_llama(), config(tuning, **options))


def on_nf4(name: str | None = None) -> Any:
    model: Any = tuning.get_peft_model(quantised("nf4"), tuning.LoraConfig(target_modules=LAYERS))
    if name is not None:
        model.config._name_or_path = name
    return model
