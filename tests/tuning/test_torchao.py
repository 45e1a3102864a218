"""Adapters on bases of torchao's 8-bit tensors: trained, merged to a stated error, as HF peft has it."""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM, TorchAoConfig

import tuning
from tests.tuning.laws import NEEDED
from tests.tuning.oracle import check_tensors, shaken, tiny_llama
from tests.tuning.test_quantised import logits, loss
from tuning.kinds import Affine
from tuning.layers import adapted_layers
from tuning.registry import methods

ao: Any = pytest.importorskip("torchao.quantization", reason="torchao is not installed")
WAYS: dict[str, Any] = {
    "rows": ao.Int8WeightOnlyConfig(),
    "groups": ao.Int8WeightOnlyConfig(granularity=ao.PerGroup(16)),
    "inputs": ao.Int8DynamicActivationInt8WeightConfig(),
}
TARGETS = ["q_proj", "v_proj", "down_proj"]
every_way = pytest.mark.parametrize("way", WAYS)


@cache
def _saved() -> Path:
    folder = Path(mkdtemp())
    tiny_llama(64).float().save_pretrained(folder)
    return folder


def quantised(way: Any) -> Any:
    config = TorchAoConfig(WAYS[way] if isinstance(way, str) else way)
    return AutoModelForCausalLM.from_pretrained(
        _saved(), quantization_config=config, device_map="cpu", dtype=torch.float32
    ).eval()


def adapted(way: str, method: str = "LORA", **options: Any) -> tuning.PeftModel:
    torch.manual_seed(7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = tuning.get_peft_model(quantised(way), methods()[method].config(**NEEDED.get(method, {}), **options))
    shaken(model)
    return model.eval()


@pytest.mark.parametrize("dora", [False, True])
@every_way
def test_peft_computes_trains_and_merges_the_same(way: str, dora: bool, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = peft.get_peft_model(quantised(way), peft.LoraConfig(target_modules=TARGETS, r=4, use_dora=dora))
        shaken(theirs)
        theirs.save_pretrained(str(tmp_path / "theirs"))
        ours = tuning.PeftModel.from_pretrained(quantised(way), tmp_path / "theirs", is_trainable=True)
        ours.save_pretrained(tmp_path / "ours")
        again = peft.PeftModel.from_pretrained(quantised(way), tmp_path / "ours")
    models = [theirs.eval(), ours.eval()]
    applied = logits(theirs)
    for model in (ours, again.eval()):
        assert torch.allclose(logits(model), applied, rtol=0, atol=1e-4)
    for model in models:
        loss(model).backward()
    gradients = [
        {key: value.grad for key, value in model.named_parameters() if value.requires_grad} for model in models
    ]
    check_tensors(gradients[1], gradients[0], 1e-4)
    if not dora:  # PEFT 0.21 merges it as plain LoRA
        for model in models:
            model.merge_adapter()
        assert torch.allclose(logits(ours), logits(theirs), rtol=0, atol=1e-3)


@pytest.mark.parametrize("method", ["LORA", "IA3", "OFT", "HRA", "RANDLORA"])
def test_a_method_trains_through_the_frozen_layer(method: str) -> None:
    model = adapted("rows", method)
    start = float(loss(model))
    trained = [parameter for parameter in model.train().parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=1e-2)
    for _ in range(4):
        optimiser.zero_grad()
        loss(model).backward()
        optimiser.step()
    assert float(loss(model.eval())) < start


@every_way
def test_merging_errs_no_more_than_stated_and_a_kept_base_comes_back(way: str) -> None:
    model = adapted(way, target_modules=TARGETS)
    applied = logits(model)
    layers = adapted_layers(model.get_base_model())
    before = {path: layer.frozen.weight.clone() for path, layer in layers.items()}
    with torch.no_grad():
        exact = {
            path: next(layer.methods())[1].merged(Affine(before[path], None), layer.frozen).weight
            for path, layer in layers.items()
        }
    model.merge_adapter(keep_base=True)
    for path, layer in layers.items():
        largest = exact[path].abs().amax(1, keepdim=True)
        assert ((layer.frozen.weight - exact[path]).abs() <= largest / 250).all()
        assert not torch.equal(layer.frozen.weight, before[path])
    assert (logits(model) - applied).norm() < 0.05 * applied.norm()
    model.unmerge_adapter()
    assert torch.equal(logits(model), applied)
    merged: Any = model.merge_and_unload()
    kinds = {name: type(value) for name, value in quantised(way).named_parameters()}
    assert {name: type(value) for name, value in merged.named_parameters()} == kinds


def test_what_is_not_read_is_refused_and_what_gives_no_gradient_warned_of() -> None:
    refused = quantised(ao.Float8WeightOnlyConfig())
    with pytest.raises(tuning.ConfigError, match="torchao's Float8Tensor, which this engine can't read"):
        tuning.get_peft_model(refused, tuning.LoraConfig())
    with pytest.warns(tuning.PeftWarning, match="rounds the inputs of .* no gradient comes through"):
        tuning.get_peft_model(quantised("inputs"), tuning.LoraConfig())
    status = tuning.get_layer_status(adapted("rows"))
    assert {layer.quantization_backend for layer in status} == {"torchao"}
