"""Weighted combinations of LoRA adapters, beside PEFT's; and the errors for what can't be combined."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from torch import Tensor, nn

import tuning
from tests.tuning.oracle import BASES, shaken, tiny_llama, tokens
from tuning.weighted import COMBINATIONS

FIRST: dict[str, Any] = {
    "target_modules": ["q_proj", "v_proj", "c_attn", "wte", "embed_tokens"],
    "r": 4,
    "lora_alpha": 6,
}
SECOND: dict[str, Any] = {"target_modules": ["v_proj", "down_proj", "c_attn", "c_fc", "wte"], "r": 4, "lora_alpha": 3}
THIRD: dict[str, Any] = {"target_modules": ["q_proj", "c_attn"], "r": 4, "lora_alpha": 5}


def both(base: str, folder: Path, *options: dict[str, Any]) -> tuple[Any, Any]:
    """PEFT's model and ours with the same adapters, named a, b, c."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = peft.get_peft_model(BASES[base](), peft.LoraConfig(**options[0]), "a", autocast_adapter_dtype=False)
        for name, more in zip("bcd", options[1:], strict=False):
            theirs.add_adapter(name, peft.LoraConfig(**more), autocast_adapter_dtype=False)
        generator = torch.Generator().manual_seed(3)
        for key, parameter in theirs.named_parameters():
            if "lora_" in key:
                parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
        theirs.save_pretrained(folder)
        ours = tuning.PeftModel.from_pretrained(BASES[base](), folder / "a", "a", autocast_adapter_dtype=False)
        for name in list(theirs.peft_config)[1:]:
            ours.load_adapter(folder / name, name, autocast_adapter_dtype=False)
    return theirs.eval(), ours.eval()


def logits(model: nn.Module) -> Tensor:
    with torch.no_grad():
        return model(input_ids=tokens()).logits


def check_same(theirs: Any, ours: Any, adapters: list[str], weights: list[float], **options: Any) -> None:
    for model in (theirs, ours):
        torch.manual_seed(5)
        model.add_weighted_adapter(adapters, weights, "mixed", **options)
        model.set_adapter("mixed")
    ours.eval()
    base = logits(BASES["llama" if "llama" in type(ours.get_base_model()).__name__.lower() else "gpt2"]())
    assert (logits(ours) - base).abs().max() > 1e-3
    assert torch.allclose(logits(ours), logits(theirs), rtol=0, atol=2e-6)  # PEFT has its weights in single precision


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("combination", COMBINATIONS)
def test_a_combination_is_pefts(combination: str, base: str, tmp_path: Path) -> None:
    options = [dict(one) for one in (FIRST, SECOND, THIRD)]
    if combination.startswith("dare"):  # PEFT draws random numbers for an embedding's A, which then starts as zeros
        for one in options:
            one["target_modules"] = [name for name in one["target_modules"] if name not in ("wte", "embed_tokens")]
    theirs, ours = both(base, tmp_path, *options)
    check_same(
        theirs, ours, ["a", "b", "c"], [0.7, -0.4, 1.3], combination_type=combination, density=0.6,
        majority_sign_method="frequency" if combination.startswith("dare") else "total",
    )  # fmt: skip
    ours.save_pretrained(tmp_path / "ours")
    again = peft.PeftModel.from_pretrained(BASES[base](), tmp_path / "ours" / "mixed", autocast_adapter_dtype=False)
    assert torch.allclose(logits(again.eval()), logits(ours), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("combination", "options"),
    [
        ("svd", {"svd_rank": 2, "svd_full_matrices": False}),
        ("svd", {"svd_rank": 6, "svd_clamp": 0.95}),
        ("cat", {}),
        ("ties_svd", {"density": 0.5, "svd_rank": 16}),
    ],
)
def test_ranks_may_differ_where_weights_are_combined(combination: str, options: dict[str, Any], tmp_path: Path) -> None:
    one, other = {"target_modules": ["q_proj", "v_proj"], "r": 3}, {"target_modules": ["q_proj"], "r": 8}
    theirs, ours = both("llama", tmp_path, one, other)
    check_same(theirs, ours, ["a", "b"], [0.5, 2.0], combination_type=combination, **options)
    ours.save_pretrained(tmp_path / "ours")
    again = tuning.PeftModel.from_pretrained(
        BASES["llama"](), tmp_path / "ours" / "mixed", autocast_adapter_dtype=False
    )
    assert torch.equal(logits(again), logits(ours))


def test_a_rank_above_a_layers_smaller_side_is_filled_with_zeros(tmp_path: Path) -> None:
    model = adapted()
    model.add_weighted_adapter(["default", "other"], [1.0, 1.0], "mixed", svd_rank=40)
    model.set_adapter(["default", "other"])
    both_active = logits(model)
    model.set_adapter("mixed")
    assert torch.allclose(logits(model), both_active, rtol=0, atol=1e-9)
    model.save_pretrained(tmp_path)
    again = tuning.PeftModel.from_pretrained(BASES["llama"](), tmp_path / "mixed", autocast_adapter_dtype=False)
    assert torch.equal(logits(again), logits(model))


def test_cat_is_the_exact_weighted_sum() -> None:
    model = adapted()
    model.add_weighted_adapter(["default", "other"], [0.25, -3.0], "mixed", combination_type="cat")
    for layer in model.tuner_for("test").layers_of("mixed").values():
        changes = [layer.adapters[name].change(layer.frozen) for name in ("default", "other", "mixed")]
        assert torch.allclose(0.25 * changes[0] - 3 * changes[1], changes[2], rtol=0, atol=1e-12)


def test_rank_stabilised_adapters_keep_their_scale() -> None:
    """PEFT multiplies the combination by √r once more."""
    model = adapted(use_rslora=True)
    model.add_weighted_adapter(["default"], [1.0], "mixed", combination_type="linear")
    for layer in model.tuner_for("test").layers_of("mixed").values():
        assert torch.allclose(
            layer.adapters["default"].change(layer.frozen),
            layer.adapters["mixed"].change(layer.frozen),
            rtol=0,
            atol=1e-12,
        )


def test_layers_to_transform_of_both_are_covered() -> None:
    model = tuning.get_peft_model(
        BASES["llama"](), tuning.LoraConfig(target_modules=["q_proj"], layers_to_transform=[0])
    )
    model.add_adapter("other", tuning.LoraConfig(target_modules=".*1.*k_proj"))
    model.add_weighted_adapter(["default", "other"], [1.0, 1.0], "mixed", combination_type="svd")
    assert set(model.tuner_for("test").layers_of("mixed")) == {
        "model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.k_proj",
    }  # fmt: skip


def test_a_combination_is_frozen_and_the_active_adapter_stays() -> None:
    model = adapted()
    before = logits(model)
    model.add_weighted_adapter(["default", "other"], [1.0, 1.0], "mixed")
    assert model.active_adapters == ["default"]
    assert torch.equal(logits(model), before)
    assert not any(p.requires_grad for key, p in model.state_dict(keep_vars=True).items() if ".mixed" in key)
    model.set_adapter("mixed")
    assert any(p.requires_grad for key, p in model.state_dict(keep_vars=True).items() if ".mixed" in key)


def test_what_one_adapter_trained_whole_goes_with_it() -> None:
    model = tuning.get_peft_model(BASES["llama"](), tuning.LoraConfig(modules_to_save=["lm_head"]))
    shaken(model)
    model.add_adapter("other", tuning.LoraConfig())
    model.add_weighted_adapter(["other", "default"], [0.0, 1.0], "mixed", combination_type="cat")
    before = logits(model.eval())
    model.set_adapter("mixed")
    assert torch.allclose(logits(model.eval()), before, rtol=0, atol=1e-9)
    with pytest.raises(tuning.ConfigError, match="default, mixed each train modules whole"):
        model.add_weighted_adapter(["default", "mixed"], [1.0, 1.0], "more", combination_type="cat")


def adapted(**options: Any) -> tuning.PeftModel:
    model = tuning.get_peft_model(BASES["llama"](), tuning.LoraConfig(**options), autocast_adapter_dtype=False)
    shaken(model)
    model.add_adapter("other", tuning.LoraConfig(**options), autocast_adapter_dtype=False)
    model.set_adapter("other")
    shaken(model)
    model.set_adapter("default")
    return model.eval()


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((["default", "othr"], [1, 1], "mixed"), {}, "Adapter othr does not exist.*nearest are 'other'"),
        (([], [], "mixed"), {}, "list of names"),
        ((["default", "other"], [1], "mixed"), {}, "2 adapters and 1 weights"),
        ((["default", "other"], [1, 1], "other"), {}, "other already exists"),
        ((["default", "other"], [1, 1], "mixed"), {"combination_type": "tie"}, "nearest are 'ties'"),
        ((["default", "other"], [1, 1], "mixed"), {"combination_type": "ties"}, "density is None; ties needs one"),
        (
            (["default", "other"], [1, 1], "mixed"),
            {"combination_type": "dare_ties_svd", "density": -1},
            "density is -1",
        ),
        ((["default", "other"], [1, 1], "mixed"), {"majority_sign_method": "most"}, "'total', 'frequency'"),
        ((["default", "other"], [1, 1], "mixed"), {"svd_rank": 0}, "svd_rank is 0"),
        ((["default", "other"], [1, 1], "mixed"), {"svd_clamp": 95}, "a quantile"),
        ((["default", "wide"], [1, 1], "mixed"), {"combination_type": "linear"}, "default 8, wide 9.*svd and cat"),
        ((["default", "ia3"], [1, 1], "mixed"), {}, "'ia3' is IA3; adapters of LORA alone"),
        ((["default", "dora"], [1, 1], "mixed"), {}, "'dora' has use_dora"),
    ],
)
def test_what_cannot_be_combined_is_refused(arguments: tuple[Any, ...], options: dict[str, Any], message: str) -> None:
    model = adapted()
    model.add_adapter("wide", tuning.LoraConfig(r=9))
    model.add_adapter("ia3", tuning.IA3Config())
    model.add_adapter("dora", tuning.LoraConfig(use_dora=True))
    before = list(model.state_dict())
    with pytest.raises(tuning.TuningError, match=message):
        model.add_weighted_adapter(*arguments, **options)
    assert list(model.peft_config) == ["default", "other", "wide", "ia3", "dora"]
    assert list(model.state_dict()) == before


def test_factors_of_ia3_are_summed() -> None:
    config = {"target_modules": ["k_proj", "down_proj"], "feedforward_modules": ["down_proj"]}
    model = tuning.get_peft_model(tiny_llama(), tuning.IA3Config(**config))
    model.add_adapter("other", tuning.IA3Config(**config))
    for name, parameter in model.named_parameters():
        if "ia3_l" in name:
            parameter.data += torch.rand_like(parameter)
    model.add_weighted_adapter(["default", "other"], [0.25, 2.0], "sum", combination_type="linear")
    for layer in model.base_model.layers_of("sum").values():
        wanted = 0.25 * layer.ia3_l["default"] + 2.0 * layer.ia3_l["other"]
        assert torch.equal(layer.ia3_l["sum"], wanted)
    with pytest.raises(tuning.ConfigError, match="'cat'; it can be 'linear'"):
        model.add_weighted_adapter(["default", "other"], [1.0, 1.0], "more", combination_type="cat")


class Convolves(nn.Module):
    def __init__(self, groups: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.one, self.flat = nn.Conv2d(4, 8, 3, groups=groups), nn.Conv2d(8, 4, 1), nn.Conv1d(4, 6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.flat(self.one(self.conv(x)).flatten(2))


X = torch.randn(2, 4, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def convolving(engine: Any, targets: list[str], groups: int = 1) -> Any:
    """A model of an engine with the adapters a and b, which are the same for both engines."""
    model: Any = None
    for name, rank in (("a", 4), ("b", 4)):
        config = engine.LoraConfig(target_modules=targets, r=rank, lora_alpha=6)
        if model is None:
            base = Convolves(groups).double()
            model = engine.get_peft_model(base, config, name, autocast_adapter_dtype=False)
        else:
            model.add_adapter(name, config, autocast_adapter_dtype=False)
    generator = torch.Generator().manual_seed(3)
    for key, value in sorted(model.state_dict(keep_vars=True).items()):
        if "lora_" in key:
            value.data = 0.3 * torch.randn(value.shape, generator=generator, dtype=value.dtype)
    return model.eval()


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_a_combination_on_convolutions_is_pefts(combination: str) -> None:
    models = [convolving(engine, ["conv", "one"]) for engine in (tuning, peft)]
    before = models[0](X)
    for model in models:
        torch.manual_seed(5)
        model.add_weighted_adapter(["a", "b"], [0.7, -0.4], "mixed", combination_type=combination, density=0.6)
        model.set_adapter("mixed")
    assert (models[0](X) - before).abs().max() > 1e-3
    assert torch.allclose(models[0](X), models[1](X), rtol=0, atol=2e-6)


def test_a_combination_on_a_convolution_of_one_dimension_is_exact_up_to_the_rank() -> None:
    model = convolving(tuning, ["conv", "flat"])
    model.add_weighted_adapter(["a", "b"], [1.0, 1.0], "mixed", svd_rank=8)
    for layer in model.tuner_for("test").layers_of("mixed").values():
        changes = [layer.get_delta_weight(name) for name in ("a", "b", "mixed")]
        assert torch.allclose(changes[0] + changes[1], changes[2], rtol=0, atol=1e-9)


def test_ranks_of_groups_are_not_put_beside_each_other() -> None:
    model = convolving(tuning, ["conv"], groups=2)
    with pytest.raises(tuning.ConfigError, match="convolves groups apart"):
        model.add_weighted_adapter(["a", "b"], [1.0, 1.0], "mixed", combination_type="cat")
    assert list(model.peft_config) == ["a", "b"]
    model.add_weighted_adapter(["a", "b"], [1.0, 1.0], "mixed", combination_type="linear")
