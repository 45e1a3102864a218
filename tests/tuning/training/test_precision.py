"""A base that is held in bfloat16 while it trains computes what it did before."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import tuning
from tests.tuning.laws import LAYERS, adapted
from tests.tuning.oracle import tasks, tiny_gpt2, tokens
from tuning.layers import AdaptedLayer
from tuning.training.loop import train
from tuning.training.options import Options
from tuning.training.precision import autocast, held_as_bf16

CPU = torch.device("cpu")


def rounded(method: str, **options: Any) -> nn.Module:
    """A float32 model whose weights bfloat16 has exactly."""
    model = adapted(method, torch.float32, **options)
    for parameter in model.parameters():
        if not parameter.requires_grad:
            parameter.data = parameter.data.bfloat16().float()
    return model


def step(model: nn.Module) -> list[torch.Tensor]:
    """The logits, and the gradients of what is trained."""
    torch.manual_seed(3)
    x = tokens()
    with autocast(CPU, True):
        found = model(input_ids=x, **tasks(model, len(x))).logits
    model.zero_grad()
    found.float().square().mean().backward()
    return [found, *(entry.grad for entry in model.parameters() if entry.grad is not None)]


@pytest.mark.parametrize("method", LAYERS)
def test_nothing_that_is_computed_changes(method: str) -> None:
    model = rounded(method)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    expected = step(model)
    with held_as_bf16(model):
        halves = [parameter for parameter in model.parameters() if parameter.dtype == torch.bfloat16]
        found = step(model)
    assert halves
    assert not any(parameter.requires_grad for parameter in halves)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


def test_an_embedding_that_is_tied_to_the_head_gives_float32() -> None:
    model = tuning.get_peft_model(tiny_gpt2(), tuning.LoraConfig(task_type="CAUSAL_LM", r=4)).float()
    table = model.get_input_embeddings()
    for parameter in model.parameters():
        parameter.data = parameter.data.bfloat16().float()
    expected = step(model)
    with held_as_bf16(model):
        assert table.weight.dtype == torch.bfloat16
        assert table(tokens()).dtype == torch.float32
        found = step(model)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))
    assert table.weight.dtype == torch.float32
    assert table.weight is model.get_output_embeddings().weight
    assert table.bfloat16()(tokens()).dtype == torch.bfloat16, "nothing is left on it"


def test_what_bfloat16_has_not_stays_as_it_is() -> None:
    model = adapted("LORA", torch.float32)
    with held_as_bf16(model):
        assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


def test_a_model_is_as_it_was_after_a_training_that_failed() -> None:
    model, seen = rounded("LORA"), set[torch.dtype]()
    kinds = {layer: layer.frozen for layer in model.modules() if isinstance(layer, AdaptedLayer)}

    def fails(model: nn.Module, batch: Any) -> torch.Tensor:
        seen.update(parameter.dtype for parameter in model.parameters())
        raise RuntimeError("stop here")

    with pytest.raises(RuntimeError, match="stop here"):
        train(model, [[1, 2, 3]], Options(bf16=True, window=8), loss=fails, show=False)
    assert seen == {torch.float32, torch.bfloat16}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert all(layer.frozen is frozen for layer, frozen in kinds.items())
