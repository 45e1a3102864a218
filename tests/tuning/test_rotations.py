"""What `cases_more.py` can't say of the methods that turn a layer's input: butterflies, dropout, Conv1D, stacks."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from peft.tuners.boft import layer as boft_of_peft
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

import tuning
from tests.tuning.oracle import both, check_file_written_by_us, check_same, shaken, tiny_gpt2, tiny_llama, tokens
from tuning.errors import ConfigError


class KernelInTorch:
    """What PEFT's CUDA kernel for BOFT computes; without it PEFT makes one butterfly factor, whatever is asked."""

    def forward(self, blocks: Tensor) -> list[Tensor]:
        return [torch.stack([torch.block_diag(*factor) for factor in blocks])]

    def backward(self, gradient: Tensor, blocks: Tensor) -> list[Tensor]:
        factors, count, size, _ = blocks.shape
        parts = gradient.view(factors, count, size, count, size)
        return [torch.stack([parts[:, number, :, number] for number in range(count)], dim=1)]


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(boft_of_peft, "_FBD_CUDA", KernelInTorch())
    return


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize(
    "options",
    [
        {"boft_n_butterfly_factor": 2},
        {"boft_n_butterfly_factor": 4, "boft_block_size": 2},
        {"boft_n_butterfly_factor": 3, "boft_block_size": 0, "boft_block_num": 4, "bias": "all"},
    ],
    ids=str,
)
def test_butterflies_are_pefts(options: dict[str, Any], tmp_path: Path) -> None:
    theirs, ours = both("llama", "BOFTConfig", tmp_path / "theirs", **options)
    check_same(theirs, ours)
    check_file_written_by_us(theirs, ours, "llama", tmp_path / "ours")
    before = ours(input_ids=tokens()).logits
    ours.merge_adapter()
    assert torch.allclose(ours(input_ids=tokens()).logits, before, rtol=0, atol=1e-9)
    ours.unmerge_adapter()
    assert torch.allclose(ours(input_ids=tokens()).logits, before, rtol=0, atol=1e-9)


@pytest.mark.usefixtures("kernel")
def test_dropout_leaves_out_the_blocks_that_peft_does(tmp_path: Path) -> None:
    theirs, ours = both("llama", "BOFTConfig", tmp_path, boft_n_butterfly_factor=2, boft_dropout=0.4)
    logits: list[Tensor] = []
    for model in (theirs.train(), ours.train()):
        torch.manual_seed(5)
        logits.append(model(input_ids=tokens()).logits)
    assert torch.allclose(logits[0], logits[1], rtol=0, atol=1e-9)
    assert not torch.allclose(logits[1], ours.eval()(input_ids=tokens()).logits, rtol=0, atol=1e-9)


def test_a_file_with_the_one_factor_that_peft_made_is_read(tmp_path: Path) -> None:
    theirs, ours = both("llama", "BOFTConfig", tmp_path, boft_n_butterfly_factor=2)
    check_same(theirs, ours)


def test_blocks_left_out_of_oft_turn_nothing() -> None:
    model = tuning.get_peft_model(tiny_llama(), tuning.OFTConfig(oft_block_size=4, module_dropout=0.9))
    shaken(model)
    x = tokens()
    turned = model.train()(input_ids=x).logits
    assert not torch.allclose(turned, model.eval()(input_ids=x).logits)


CONV1D = [
    ("OFTConfig", {"oft_block_size": 8}),
    ("BOFTConfig", {}),
    ("HRAConfig", {}),
    ("MissConfig", {"r": 8}),
    ("MissConfig", {"r": 8, "init_weights": "bat"}),
]


@pytest.mark.parametrize(("config", "options"), CONV1D, ids=str)
def test_on_conv1d_they_compute_what_they_do_on_the_linear_layer_it_stands_for(
    config: str, options: dict[str, Any], tmp_path: Path
) -> None:
    options = {"target_modules": ["c_attn", "mlp.c_proj"], **options}
    base = with_linear_layers(tiny_gpt2())
    theirs = peft.get_peft_model(base, getattr(peft, config)(**options), autocast_adapter_dtype=False)
    shaken(theirs)
    theirs.save_pretrained(tmp_path)
    ours = tuning.PeftModel.from_pretrained(tiny_gpt2(), tmp_path, autocast_adapter_dtype=False)
    expected = theirs.eval()(input_ids=tokens()).logits
    assert torch.allclose(ours(input_ids=tokens()).logits, expected, rtol=0, atol=1e-9)
    ours.merge_adapter()
    assert torch.allclose(ours(input_ids=tokens()).logits, expected, rtol=0, atol=1e-9)


def with_linear_layers(model: nn.Module) -> nn.Module:
    for path, module in list(model.named_modules()):
        if isinstance(module, Conv1D):
            linear = nn.Linear(*module.weight.shape, dtype=module.weight.dtype)
            linear.weight.data, linear.bias.data = module.weight.data.T.contiguous(), module.bias.data
            parent, _, name = path.rpartition(".")
            setattr(model.get_submodule(parent), name, linear)
    return model


@pytest.mark.parametrize(("config", "options"), [("HRAConfig", {}), ("BOFTConfig", {})], ids=str)
def test_stacks_are_pefts(config: str, options: dict[str, Any], tmp_path: Path) -> None:
    theirs, ours = both("llama", config, tmp_path, **options)
    torch.manual_seed(6)
    theirs.add_adapter("other", getattr(peft, config)(init_weights=False, **options), autocast_adapter_dtype=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs.save_pretrained(tmp_path)
    ours.load_adapter(tmp_path / "other", "other", autocast_adapter_dtype=False)
    for model in (theirs, ours):
        model.base_model.set_adapter(["default", "other"]) if model is theirs else model.set_adapter(
            ["default", "other"]
        )
    expected = theirs(input_ids=tokens()).logits
    assert torch.allclose(ours(input_ids=tokens()).logits, expected, rtol=0, atol=1e-9)
    ours.merge_adapter()
    assert torch.allclose(ours(input_ids=tokens()).logits, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("config", "options"),
    [
        ("OFTConfig", {"r": 2}),
        ("OFTConfig", {"oft_block_size": 0}),
        ("BOFTConfig", {"boft_block_num": 2}),
        ("BOFTConfig", {"boft_block_size": 5}),
        ("BOFTConfig", {"boft_block_size": 16, "boft_n_butterfly_factor": 3}),
        ("HRAConfig", {"r": 40, "apply_GS": True}),
        ("MissConfig", {}),
        ("MissConfig", {"r": 5, "init_weights": "bat"}),
        ("MissConfig", {"r": 8, "init_weights": "mini", "mini_r": 5}),
        ("FourierFTConfig", {}),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(config: str, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        tuning.get_peft_model(tiny_llama(), getattr(tuning, config)(**options))
