"""Kinds of layer beside linear ones and embeddings: merging equals applying, and the base comes back."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import tuning
from tests.tuning.oracle import tiny_llama, tokens


class Mixed(nn.Module):
    """A convolution, attention, and experts in one parameter."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(4, 8, 3)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.experts = Experts()

    def forward(self, x: Tensor) -> Tensor:
        rows = self.conv(x).flatten(2).transpose(1, 2)
        seen, _ = self.attention(rows, rows, rows)
        return self.experts(seen)


class Experts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.randn(3, 5, 8))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("rti,eoi->rto", x, self.weights)


X = torch.randn(2, 4, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
CASES: list[Any] = [
    tuning.LoraConfig(target_modules=["conv", "attention"], target_parameters=["experts.weights"]),
    tuning.LoraConfig(target_modules=["conv"], use_dora=True),
    tuning.AdaLoraConfig(target_modules=["conv"], total_step=10),
    tuning.LoHaConfig(target_modules=["conv"]),
    tuning.LoHaConfig(target_modules=["conv"], use_effective_conv2d=True),
    tuning.LoKrConfig(target_modules=["conv"]),
    tuning.LoKrConfig(target_modules=["conv"], use_effective_conv2d=True, r=2),
    tuning.HRAConfig(target_modules=["conv"]),
    tuning.OFTConfig(target_modules=["conv"], oft_block_size=4),
    tuning.BOFTConfig(target_modules=["conv"]),
    tuning.IA3Config(target_modules=["conv"], feedforward_modules=["conv"]),
    tuning.IA3Config(target_modules=["conv"], feedforward_modules=[]),
]


def shaken(model: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(2)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return model.eval()


@pytest.mark.parametrize("config", CASES, ids=lambda config: f"{config.METHOD}")
@torch.no_grad()
def test_merging_equals_applying_and_the_base_comes_back(config: Any) -> None:
    before = Mixed().double().eval()(X)
    model: Any = tuning.get_peft_model(Mixed().double(), copy.deepcopy(config))
    shaken(model)
    applied = model(X)
    assert not torch.allclose(applied, before, rtol=0, atol=1e-3)
    model.merge_adapter()
    assert torch.allclose(model(X), applied, rtol=0, atol=1e-9)
    model.unmerge_adapter()
    assert torch.allclose(copy.deepcopy(model)(X), applied, rtol=0, atol=1e-9)
    assert torch.allclose(model.unload()(X), before, rtol=0, atol=1e-9)


@torch.no_grad()
def test_torchs_fast_path_does_not_pass_adapters_over() -> None:
    torch.manual_seed(0)
    base = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 1, enable_nested_tensor=False)
    x = torch.randn(2, 3, 8, dtype=torch.float64)
    model: Any = tuning.get_peft_model(base.double().eval(), tuning.LoraConfig(target_modules=["linear1", "self_attn"]))
    shaken(model)
    applied = model(x)
    assert torch.allclose(model.merge_and_unload()(x), applied, rtol=0, atol=1e-9)
    assert base.layers[0].activation_relu_or_gelu  # as torch had it


@torch.no_grad()
def test_a_scaled_embedding_is_merged_as_it_is_applied() -> None:
    class Scaled(nn.Embedding):
        embed_scale = 3.0

        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input) * self.embed_scale

    for options in ({}, {"use_dora": True}):
        base = nn.Sequential(Scaled(16, 8)).double()
        model: Any = tuning.get_peft_model(base, tuning.LoraConfig(target_modules=["0"], **options))
        shaken(model)
        applied = model(torch.arange(5))
        assert torch.allclose(model.merge_and_unload()(torch.arange(5)), applied, rtol=0, atol=1e-9)


def test_dora_on_a_row_of_zeros_stays_finite() -> None:
    base = nn.Sequential(nn.Linear(8, 8))
    base[0].weight.data[3] = 0
    model: Any = tuning.get_peft_model(base, tuning.LoraConfig(target_modules=["0"], use_dora=True))
    out = model(torch.ones(2, 8))
    out.sum().backward()
    assert torch.isfinite(out).all()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    assert torch.isfinite(model.merge_and_unload()[0].weight).all()


@pytest.mark.parametrize("how", ["pissa", "pissa_niter_4", "olora"])
@torch.no_grad()
def test_an_adapter_that_began_as_a_part_of_the_base_leaves_it_as_it_was(how: str) -> None:
    plain = tiny_llama()(input_ids=tokens()).logits
    base = tiny_llama()
    model: Any = tuning.get_peft_model(base, tuning.LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=how))
    assert torch.allclose(model.eval()(input_ids=tokens()).logits, plain, rtol=0, atol=1e-6)
    shaken(model)
    with model.disable_adapter(), model.disable_adapter():
        assert torch.equal(model(input_ids=tokens()).logits, plain)
    assert not torch.allclose(model(input_ids=tokens()).logits, plain, rtol=0, atol=1e-3)
    assert torch.equal(model.unload()(input_ids=tokens()).logits, plain)
