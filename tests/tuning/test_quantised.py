"""Adapters on bases that bitsandbytes has quantised: trained, merged to a stated error, saved, read by PEFT."""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import bitsandbytes as bnb
import peft
import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel

import tuning
from tests.tuning.cases_mixtures import mixed
from tests.tuning.laws import LAYERS, MERGED, NEEDED
from tests.tuning.oracle import shaken, tasks, tiny_llama, tokens
from tuning.kind_of import kind_of
from tuning.kinds import LINEAR, Affine
from tuning.layers import adapted_layers
from tuning.registry import methods
from tuning.routing import NO_ADAPTER

NF4 = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
FP4 = {"load_in_4bit": True, "bnb_4bit_quant_type": "fp4", "bnb_4bit_use_double_quant": True}
WAYS: dict[str, dict[str, Any]] = {"int8": {"load_in_8bit": True}, "nf4": NF4, "fp4": FP4}
PLAIN_4BIT = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}  # its blocks' scales not quantised themselves
BLOCK = 64  # of 4-bit weights; some CPUs' paths in bitsandbytes 0.50 are wrong where a layer has fewer inputs
ERROR = {
    "int8": (0.0045, None),
    "nf4": (0.16, BLOCK),
    "fp4": (0.175, BLOCK),
}  # of the largest weight of (a row, a block)
WIDE = {**NEEDED, "XLORA": mixed(BLOCK)}
ON_LINEAR = [name for name in LAYERS if LINEAR in methods()[name].roles and methods()[name].on_quantised]  # type: ignore[union-attr]


@pytest.fixture(autouse=True)
def same_on_every_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without bitsandbytes' own path for CPUs with AVX512-BF16, which rounds scales to bfloat16 and needs whole blocks as input."""
    monkeypatch.setattr(bnb.nn.modules, "has_avx512bf16", lambda: False)


every_way = pytest.mark.parametrize("way", WAYS)


@cache
def _saved() -> Path:
    folder = Path(mkdtemp())
    tiny_llama(BLOCK, bias=True).float().save_pretrained(folder)
    return folder


def quantised(way: str | dict[str, Any], dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """The tiny Llama as `transformers` loads it; its head stays as it is."""
    options = WAYS[way] if isinstance(way, str) else way
    model = AutoModelForCausalLM.from_pretrained(
        _saved(), quantization_config=BitsAndBytesConfig(**options), device_map="cpu", dtype=dtype
    )
    return model.eval()


def adapted(way: str | dict[str, Any], method: str = "LORA", **options: Any) -> tuning.PeftModel:
    torch.manual_seed(7)
    model = tuning.get_peft_model(quantised(way), methods()[method].config(**WIDE.get(method, {}), **options))
    shaken(model)
    return model.eval()


def logits(model: nn.Module, **options: Any) -> Tensor:
    with torch.no_grad():
        return model(input_ids=tokens(), **options).logits


def loss(model: nn.Module) -> Tensor:
    return model(input_ids=tokens(), labels=tokens(), **tasks(model)).loss


@every_way
def test_peft_computes_the_same_and_reads_what_was_written(way: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = peft.get_peft_model(quantised(way), peft.LoraConfig(target_modules="all-linear", r=4))
        shaken(theirs)
        theirs.save_pretrained(tmp_path / "theirs")
        ours = tuning.PeftModel.from_pretrained(quantised(way), tmp_path / "theirs", is_trainable=True)
        ours.save_pretrained(tmp_path / "ours")
        again = peft.PeftModel.from_pretrained(quantised(way), tmp_path / "ours", is_trainable=True)
    for mode in (False, True):  # on a CPU 8-bit layers round their input in evaluation only
        for model in (theirs, ours, again):
            model.train(mode)
        assert torch.equal(logits(ours), logits(theirs))
        assert torch.equal(logits(again), logits(theirs))
    losses = [model(input_ids=tokens(), labels=tokens()).loss for model in (theirs, ours)]
    for loss in losses:
        loss.backward()
    key = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight"
    gradients = [model.state_dict(keep_vars=True)[key].grad for model in (theirs, ours)]
    assert gradients[0].abs().max() > 1e-4
    assert torch.allclose(gradients[0], gradients[1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", ON_LINEAR)
@every_way
def test_every_method_trains_through_the_frozen_layer(method: str, way: str) -> None:
    model = adapted(way, method)
    start = float(loss(model))
    model.train()
    before = {key: tensor.clone() for key, tensor in model.get_base_model().state_dict().items()}
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert all(parameter.dtype == torch.float32 for parameter in trainable)
    optimiser = torch.optim.AdamW(trainable, lr=1e-2)
    for _ in range(4):
        optimiser.zero_grad()
        loss(model).backward()
        optimiser.step()
    assert float(loss(model.eval())) < start
    after = model.get_base_model().state_dict()
    assert all(torch.equal(tensor, after[key]) for key, tensor in before.items() if ".base_layer." in key)


def largest(weight: Tensor, block: int | None) -> Tensor:
    """For each weight the largest of its row, or of its block in memory."""
    if block is None:
        return weight.abs().amax(1, keepdim=True).expand_as(weight)
    blocks = weight.reshape(-1, block)
    return blocks.abs().amax(1, keepdim=True).expand_as(blocks).reshape(weight.shape)


@pytest.mark.parametrize("method", [method for method in ON_LINEAR if method in MERGED])
@every_way
def test_merging_errs_no_more_than_stated(method: str, way: str) -> None:
    model = adapted(way, method)
    layer = next(iter(adapted_layers(model.get_base_model()).values()))
    base, applied = layer.frozen.weight.clone(), logits(model)
    with torch.no_grad():
        exact = next(layer.methods())[1].merged(Affine(base, None), layer.frozen).weight
    part, block = ERROR[way]
    model.merge_adapter(safe_merge=True)
    assert ((layer.frozen.weight - exact).abs() <= part * largest(exact, block)).all()
    assert (logits(model) - applied).norm() < (0.1 if way == "int8" else 0.8) * applied.norm()
    model.unmerge_adapter()
    assert (layer.frozen.weight - base).norm() < (0.03 if way == "int8" else 0.3) * exact.norm()


@pytest.mark.parametrize(("way", "relative"), [("int8", 0.008), ("nf4", 0.10), ("fp4", 0.13)])
def test_the_error_of_a_normal_matrix_is_as_stated(way: str, relative: float) -> None:
    torch.manual_seed(0)
    weight = torch.randn(256, 512)
    kind: Any
    layer: Any
    if way == "int8":
        layer = bnb.nn.Linear8bitLt(512, 256, bias=False, has_fp16_weights=False)
    else:
        layer = bnb.nn.Linear4bit(512, 256, bias=False, quant_type=way)
    layer.to("cpu")
    kind = kind_of(layer)
    kind.write(layer, weight)
    assert 0.8 * relative < (kind.read(layer) - weight).norm() / weight.norm() < relative
    kind.write(layer, again := kind.read(layer))
    assert (kind.read(layer) - again).norm() / weight.norm() < relative / 3  # what is on the grid stays near it


@every_way
def test_a_kept_base_comes_back_bit_for_bit(way: str) -> None:
    model = adapted(way, target_modules="all-linear")
    before, applied = _bytes(model), logits(model)
    assert _bytes(model) == before
    for _ in range(2):
        model.merge_adapter(keep_base=True)
        assert _bytes(model) != before
        with model.disable_adapter():
            assert torch.equal(logits(model), logits(quantised(way)))
        model.unmerge_adapter()
        assert _bytes(model) == before
        assert torch.equal(logits(model), applied)


def _bytes(model: tuning.PeftModel) -> dict[str, bytes]:
    return {key: tensor.numpy().tobytes() for key, tensor in model.get_base_model().state_dict().items()}


@every_way
def test_a_merged_base_stands_alone_and_is_still_quantised(way: str, tmp_path: Path) -> None:
    model = adapted(way)
    kinds = {name: type(module) for name, module in quantised(way).named_modules()}
    model.merge_adapter()
    merged = logits(model)
    plain: Any = model.merge_and_unload()
    assert {name: type(module) for name, module in plain.named_modules()} == kinds
    assert torch.equal(logits(plain), merged)
    plain.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path, device_map="cpu").eval()
    assert torch.allclose(logits(again), merged, rtol=0, atol=1e-5)


@every_way
def test_a_copy_is_whole_and_its_own(way: str) -> None:
    model = adapted(way)
    before = logits(model)
    copied = copy.deepcopy(model)
    assert torch.equal(logits(copied), before)
    copied.merge_adapter()
    assert torch.equal(logits(model), before)
    assert list(copied.state_dict()) == list(model.state_dict())
    count, total = model.get_nb_trainable_parameters()
    assert count < total == sum(p.numel() for p in tiny_llama(BLOCK, bias=True).parameters()) + count


@every_way
def test_a_change_of_a_layer_that_is_read_in_half_precision_is_exact(way: str) -> None:
    config = tuning.MissConfig(r=8, init_weights="bat", target_modules=["q_proj"])
    model = tuning.get_peft_model(quantised(way, torch.bfloat16), config)
    shaken(model)
    for layer in adapted_layers(model).values():
        expected = layer.adapters["default"].change(layer.frozen.weight.float())
        assert torch.allclose(layer.get_delta_weight("default"), expected, rtol=0, atol=1e-6)


@every_way
def test_adapters_switch_stack_and_route_on_a_quantised_base(way: str) -> None:
    model = adapted(way)
    model.add_adapter("other", tuning.LoraConfig())
    model.set_adapter("other")
    shaken(model)
    model.train(False)
    names = ["other", NO_ADAPTER, "default"]
    mixed = logits(model, adapter_names=names)
    for row, name in enumerate(names):
        if name == NO_ADAPTER:
            with model.disable_adapter():
                alone = logits(model)
        else:
            model.set_adapter(name)
            alone = logits(model)
        # 8-bit layers round their input, which a difference in the last bit can turn either way
        assert (mixed[row] - alone[row]).norm() < (2e-2 if way == "int8" else 1e-5) * alone[row].norm()
    model.delete_adapter("other")
    model.delete_adapter("default")
    assert torch.equal(logits(model), logits(quantised(way)))


@pytest.mark.parametrize("options", [NF4, PLAIN_4BIT], ids=["nested", "plain"])
def test_weights_that_a_forward_pass_repacked_are_read_as_they_were(options: dict[str, Any]) -> None:
    """CPUs with AVX512-BF16: bitsandbytes stores the weight in another order at the first forward pass in evaluation."""
    layer: Any = quantised(options).get_submodule("model.layers.0.mlp.down_proj")
    kind: Any = kind_of(layer)
    before = kind.read(layer)
    layer.weight.data, _ = bnb.functional._convert_weight_packed_for_cpu(layer.weight.data, layer.weight.quant_state)
    after = kind.read(layer)
    assert torch.allclose(after, before, rtol=2**-8, atol=0)  # the blocks' scales are in bfloat16 by then
    assert torch.equal(kind.read(layer), after)
    assert layer.weight.quant_state.packing_format_for_cpu
    kind.write(layer, before)
    assert (kind.read(layer) - before).norm() / before.norm() < 0.04


def test_dora_and_pissa_work_on_a_quantised_base() -> None:
    base = logits(quantised("nf4"))
    with torch.no_grad():
        dora = tuning.get_peft_model(quantised("nf4"), tuning.LoraConfig(use_dora=True)).eval()
        assert torch.allclose(logits(dora), base, rtol=0, atol=1e-4)
        moved = tuning.get_peft_model(quantised("int8"), tuning.LoraConfig(init_lora_weights="pissa")).eval()
    assert (logits(moved) - logits(quantised("int8"))).abs().max() < 0.5


@pytest.mark.parametrize("reentrant", [True, False])
@every_way
def test_preparing_freezes_and_saves_activations(way: str, reentrant: bool) -> None:
    options = {"use_reentrant": reentrant}
    model: Any = quantised(way, torch.bfloat16)
    theirs = peft.prepare_model_for_kbit_training(quantised(way, torch.bfloat16), gradient_checkpointing_kwargs=options)
    ours = tuning.prepare_model_for_kbit_training(model, gradient_checkpointing_kwargs=options)
    assert ours is model and ours.is_gradient_checkpointing
    assert not any(parameter.requires_grad for parameter in ours.parameters())
    assert {key: value.dtype for key, value in ours.named_parameters()} == {
        key: value.dtype for key, value in theirs.named_parameters()
    }
    assert ours.get_input_embeddings().weight.dtype == torch.float32
    trained = tuning.get_peft_model(ours, tuning.LoraConfig()).train()
    trained(input_ids=tokens(), labels=tokens()).loss.backward()
    assert all(parameter.grad is not None for parameter in trained.parameters() if parameter.requires_grad)


def test_preparing_a_plain_model_leaves_checkpointing_off() -> None:
    model: Any = tuning.prepare_model_for_kbit_training(tiny_llama().bfloat16())
    assert not model.is_gradient_checkpointing
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


@pytest.fixture
def without_library(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)  # type: ignore[arg-type]
    yield


@every_way
def test_a_quantised_base_without_its_library_is_refused(way: str, request: pytest.FixtureRequest) -> None:
    model = quantised(way)
    request.getfixturevalue("without_library")
    for refused in (
        lambda: tuning.get_peft_model(model, tuning.LoraConfig()),
        lambda: tuning.prepare_model_for_kbit_training(model),
    ):
        with pytest.raises(
            tuning.LibraryMissing, match=r"bitsandbytes is not installed. Run: .*\[quantised\]"
        ) as caught:
            refused()
        assert isinstance(caught.value, ImportError)


def test_a_plain_base_needs_no_library(without_library: None) -> None:
    assert tuning.get_peft_model(tiny_llama(), tuning.LoraConfig()).active_adapters == ["default"]
