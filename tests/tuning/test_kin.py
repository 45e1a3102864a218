"""What is particular to the methods that are kin to LoRA and VeRA (`cases_kin.py`)."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from peft.tuners.waveft.waverec2d import waverec2d
from torch import Tensor, nn

import tuning
from tests.tuning.cases_kin import KIN
from tests.tuning.oracle import BASES, both, check_same, shaken, tiny_llama, tokens
from tuning.errors import ConfigError
from tuning.methods._wavelets import filters, reconstructed


def of_base(options: dict[str, Any], base: str) -> dict[str, Any]:
    return {key: value[base] if isinstance(value, dict) and base in value else value for key, value in options.items()}


def started(engine: Any, config: str, options: dict[str, Any], base: str = "llama") -> dict[str, Tensor]:
    """A new adapter's tensors, from one seed."""
    plain = BASES[base]()
    torch.manual_seed(3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = getattr(engine, config)(task_type="CAUSAL_LM", **copy.deepcopy(of_base(options, base)))
        model = engine.get_peft_model(plain, made, autocast_adapter_dtype=False)
    return engine.get_peft_model_state_dict(model)


@pytest.mark.parametrize(
    ("config", "options"), KIN, ids=lambda value: value if isinstance(value, str) else "-".join(value)
)
def test_an_adapter_starts_as_pefts_does_from_the_same_seed(config: str, options: dict[str, Any]) -> None:
    theirs, ours = started(peft, config, options), started(tuning, config, options)
    assert set(ours) >= set(theirs)
    for key, tensor in theirs.items():
        assert ours[key].dtype == tensor.dtype, key
        assert torch.allclose(ours[key], tensor, rtol=0, atol=1e-9), key


class Convolves(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(4, 8, 3, padding=1)
        self.one = nn.Conv2d(8, 4, 1)
        self.flat = nn.Conv1d(4, 6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.flat(self.one(self.conv(x)).flatten(2))


def test_hira_on_convolutions_is_pefts(tmp_path: Path) -> None:
    x = torch.randn(2, 4, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    config = peft.HiraConfig(target_modules=["conv", "one", "flat"], r=3)
    theirs: Any = peft.get_peft_model(Convolves().double(), config, autocast_adapter_dtype=False).eval()
    shaken(theirs)
    theirs.save_pretrained(tmp_path)
    ours: Any = tuning.PeftModel.from_pretrained(Convolves().double(), tmp_path, autocast_adapter_dtype=False).eval()
    assert torch.allclose(ours(x), theirs(x), rtol=0, atol=1e-9)
    assert torch.allclose(ours.merge_and_unload()(x), theirs(x), rtol=0, atol=1e-9)
    with pytest.raises(ConfigError, match="groups"):
        tuning.get_peft_model(nn.Sequential(nn.Conv2d(4, 4, 3, groups=2)), tuning.HiraConfig(target_modules=["0"]))


def test_hira_takes_the_ranks_that_a_checkpoint_has(tmp_path: Path) -> None:
    theirs, ours = both("llama", "HiraConfig", tmp_path, r=4, target_modules=["q_proj"], rank_pattern={"q_proj": 2})
    check_same(theirs, ours)
    assert started(tuning, "HiraConfig", {"r": 4, "target_modules": ["q_proj"], "rank_pattern": {"0.*q_proj": 2}})[
        "base_model.model.model.layers.0.self_attn.q_proj.hira_A"
    ].shape == (2, 32)


@torch.no_grad()
def test_hira_gives_a_weight_back_that_it_made_zero() -> None:
    base = nn.Sequential(nn.Linear(4, 4))
    before = base[0].weight.clone()
    model: Any = tuning.get_peft_model(base, tuning.HiraConfig(target_modules=["0"], r=1))
    layer = model.base_model.model[0]
    layer.hira_A["default"].fill_(1.0)
    layer.hira_B["default"].copy_(torch.tensor([[-1.0], [0.5], [0.0], [2.0]]))
    model.merge_adapter()
    assert not layer.weight[0].any()
    model.unmerge_adapter()
    assert torch.allclose(layer.weight, before)


def test_shira_takes_places_from_a_function_and_from_a_checkpoint(tmp_path: Path) -> None:
    def first_ones(layer: nn.Linear, r: int, **_: Any) -> Tensor:
        flat = torch.zeros(layer.weight.numel())
        flat[: r * sum(layer.weight.shape)] = 1
        return flat.view(layer.weight.shape)

    config = tuning.ShiraConfig(target_modules=["q_proj"], r=2, mask_type="first", task_type="CAUSAL_LM")
    config.mask_fn = first_ones
    model = tuning.get_peft_model(tiny_llama(), config, autocast_adapter_dtype=False).eval()
    shaken(model)
    model.save_pretrained(tmp_path)
    indices = tuning.get_peft_model_state_dict(model)["base_model.model.model.layers.0.self_attn.q_proj.shira_indices"]
    assert indices.dtype == torch.int32 and indices[0].max() == 3
    expected = model(tokens()).logits
    for engine in (tuning, peft):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            again: Any = engine.PeftModel.from_pretrained(tiny_llama(), tmp_path, autocast_adapter_dtype=False).eval()
        assert torch.allclose(again(tokens()).logits, expected, rtol=0, atol=1e-9)
    config = tuning.ShiraConfig(target_modules=["q_proj"], r=2, mask_type="first")
    with pytest.raises(ConfigError, match="mask_fn"):
        tuning.get_peft_model(tiny_llama(), config)(tokens())


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("HiraConfig", {"r": 0}, "r is 0"),
    ("HiraConfig", {"init_weights": "gauss"}, "gaussian"),
    ("RoadConfig", {"variant": "road_3"}, "road_1"),
    ("RoadConfig", {"group_size": 7}, "divisible by 2"),
    ("RoadConfig", {"group_size": 24}, "does not divide the 32 outputs"),
    ("ShiraConfig", {"r": 32}, "take a lower r"),
    ("C3AConfig", {}, "the largest is 32"),
    ("C3AConfig", {"init_weights": "gauss"}, "gaussian"),
    ("DeloraConfig", {"bias": "some"}, "delora_only"),
    ("GraloraConfig", {"gralora_k": 3}, "r should be divisible by gralora_k"),
    ("VBLoRAConfig", {}, "must be divisible by `vector_length`"),
    ("VBLoRAConfig", {"topk": 9, "num_vectors": 8}, "the bank has 8 vectors"),
    ("UniLoraConfig", {"theta_d_length": 0}, "above 0"),
    ("TinyLoraConfig", {"weight_tying": 1.5}, "from 0 to 1"),
    ("PveraConfig", {"r": 0}, "above 0"),
    ("GloraConfig", {"config_C": "constant"}, "'vector', 'none'"),
    ("LilyConfig", {"num_B": 1}, "at least 2"),
    ("LilyConfig", {"stride_A": 0}, "at least 1"),
    ("WaveFTConfig", {}, "from 1 to 1024"),
    ("WaveFTConfig", {"wavelet_family": "coif5"}, "coif3"),  # PEFT has it, with a filter that is none
    ("GraloraConfig", {"gralora_k": 3, "r": 6}, "should be divisible by gralora_k"),
]


@pytest.mark.parametrize(("config", "options", "said"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_can_not_be_is_refused(config: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        tuning.get_peft_model(tiny_llama(), getattr(tuning, config)(**{"target_modules": ["q_proj"], **options}))


@pytest.mark.parametrize("name", filters())
def test_a_wavelet_is_orthogonal_and_pefts(name: str) -> None:
    low = torch.tensor(filters()[name], dtype=torch.float64)
    for shift in range(0, len(low), 2):
        product = low[shift:] @ low[: len(low) - shift]
        assert torch.allclose(product, torch.tensor(float(shift == 0), dtype=torch.float64), rtol=0, atol=1e-9)
    coefficients = torch.randn(60, 52, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (top, right), (left, bottom) = (half.chunk(2, dim=1) for half in coefficients.chunk(2))
    expected = waverec2d((top, (right, left, bottom)), name)
    assert torch.allclose(reconstructed(coefficients, name), expected, rtol=0, atol=1e-9)


def test_vblora_saves_only_what_counts_as_peft_does(tmp_path: Path) -> None:
    options = {"target_modules": ["q_proj"], "r": 3, "vector_length": 8, "num_vectors": 20, "topk": 3}
    theirs, ours = both("llama", "VBLoRAConfig", tmp_path / "theirs", save_only_topk_weights=True, **options)
    x = tokens()
    assert torch.allclose(ours(x).logits, theirs(x).logits, rtol=0, atol=1e-9)
    assert ours.get_nb_savable_parameters() == theirs.get_nb_savable_parameters()
    saved = tuning.get_peft_model_state_dict(ours)
    expected = peft.get_peft_model_state_dict(theirs)
    assert {key: tensor.dtype for key, tensor in saved.items()} == {
        key: tensor.dtype for key, tensor in expected.items()
    }
    ours.float().save_pretrained(tmp_path / "ours")  # PEFT reads it in single precision alone
    again = peft.PeftModel.from_pretrained(tiny_llama().float(), tmp_path / "ours").eval()
    assert torch.allclose(again(x).logits, ours(x).logits, rtol=0, atol=1e-5)
    with pytest.raises(tuning.TrainingError, match="save_only_topk_weights"):
        ours.train()(x)


def test_pvera_draws_what_peft_draws(tmp_path: Path) -> None:
    for options in (
        {"sample_at_inference": True, "generator_seed": 5},
        {"sample_at_inference": True},
        {"generator_seed": 5},
    ):
        theirs, ours = both("llama", "PveraConfig", tmp_path, r=4, **options)
        for training in (False, True):
            drawn: list[Tensor] = []
            for model in (theirs, ours):
                torch.manual_seed(4)
                drawn.append(model.train(training)(tokens()).logits)
            assert torch.allclose(drawn[1], drawn[0], rtol=0, atol=1e-9)
        assert not torch.allclose(drawn[1], ours.eval().merge_and_unload()(tokens()).logits, rtol=0, atol=1e-4)


def test_layers_that_share_all_that_is_trained_have_a_status() -> None:
    for config in ("UniLoraConfig", "TinyLoraConfig"):
        theirs, ours = (engine.get_peft_model(tiny_llama(), getattr(engine, config)()) for engine in (peft, tuning))
        for model in (theirs, ours):
            model.base_model.set_requires_grad("default", False)
        for field in ("requires_grad", "devices", "trainable_params", "total_params"):
            assert getattr(ours.get_model_status(), field) == getattr(theirs.get_model_status(), field), field


@pytest.mark.parametrize(
    "forms", [("lora", "lora", "constant"), ("vector", "vector", "vector"), ("none", "none", "vector")]
)
def test_glora_on_layers_with_a_bias_is_pefts(forms: tuple[str, str, str], tmp_path: Path) -> None:
    options: dict[str, Any] = dict(zip(("config_A_B", "config_C", "config_D_E"), forms, strict=True))
    x = torch.randn(3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    config = peft.GloraConfig(target_modules=["0", "2"], r=2, **options)
    theirs: Any = peft.get_peft_model(perceptron(), config, autocast_adapter_dtype=False).eval()
    shaken(theirs)
    theirs.save_pretrained(tmp_path)
    ours: Any = tuning.PeftModel.from_pretrained(perceptron(), tmp_path, autocast_adapter_dtype=False).eval()
    expected = theirs(x)
    assert torch.allclose(ours(x), expected, rtol=0, atol=1e-9)
    ours.merge_adapter()
    assert torch.allclose(ours(x), expected, rtol=0, atol=1e-9)
    ours.unmerge_adapter()
    assert torch.allclose(ours.unload()(x), perceptron()(x), rtol=0, atol=1e-9)


def perceptron() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4)).double()


@pytest.mark.parametrize("autocast", [True, False])
def test_what_layers_share_has_the_precision_that_was_asked_for(autocast: bool) -> None:
    for config in (tuning.VBLoRAConfig(vector_length=8), tuning.UniLoraConfig(), tuning.TinyLoraConfig()):
        model = tuning.get_peft_model(tiny_llama().bfloat16(), config, autocast_adapter_dtype=autocast)
        found = {parameter.dtype for parameter in model.parameters() if parameter.requires_grad}
        assert found == {torch.float32 if autocast else torch.bfloat16}
        assert torch.isfinite(model(tokens()).logits).all()
