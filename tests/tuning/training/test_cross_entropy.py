"""Chunked cross-entropy: the plain one's value and gradients, for any head."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import tuning
from tests.tuning.oracle import HIDDEN, VOCABULARY, shaken, tiny_llama
from tuning.training.cross_entropy import chunked_cross_entropy


def frozen() -> nn.Module:
    return nn.Linear(HIDDEN, VOCABULARY).double().requires_grad_(False)


def trained() -> nn.Module:
    return nn.Linear(HIDDEN, VOCABULARY, bias=False).double()


def adapted() -> nn.Module:
    model = tuning.get_peft_model(tiny_llama(), tuning.LoraConfig(r=4, target_modules=["lm_head"]))
    shaken(model)
    return model.get_base_model().get_output_embeddings()


def saved() -> nn.Module:
    config = tuning.LoraConfig(r=4, target_modules=["q_proj"], modules_to_save=["lm_head"])
    return tuning.get_peft_model(tiny_llama(), config).get_base_model().get_output_embeddings()


def capped(logits: Tensor) -> Tensor:
    return torch.tanh(logits / 5) * 5


@pytest.mark.parametrize("after", [None, capped])
@pytest.mark.parametrize("make", [frozen, trained, adapted, saved])
def test_value_and_gradients_are_the_plain_ones(make, after) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(3)
    head = make()
    hidden = torch.randn(23, HIDDEN, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(0, VOCABULARY, (23,))
    parameters = [parameter for parameter in head.parameters() if parameter.requires_grad]
    logits = head(hidden) if after is None else after(head(hidden))
    plain = functional.cross_entropy(logits, targets, reduction="sum")
    chunked = chunked_cross_entropy(hidden, targets, head, after=after, chunk=5)
    assert chunked.item() == pytest.approx(plain.item(), abs=1e-9)
    expected = torch.autograd.grad(plain / 7, [hidden, *parameters])
    found = torch.autograd.grad(chunked / 7, [hidden, *parameters])
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-9)


def test_without_gradients_only_the_value_is_computed() -> None:
    head, hidden = frozen(), torch.randn(4, HIDDEN, dtype=torch.float64)
    with torch.no_grad():
        assert not chunked_cross_entropy(hidden, torch.tensor([0, 1, 2, 3]), head, chunk=3).requires_grad


def test_no_logits_are_held_beyond_a_chunk() -> None:
    rows: list[int] = []
    head = frozen()
    head.register_forward_hook(lambda module, inputs, output: rows.append(len(output)))
    hidden = torch.randn(50, HIDDEN, dtype=torch.float64, requires_grad=True)
    chunked_cross_entropy(hidden, torch.zeros(50, dtype=torch.long), head, chunk=16).backward()
    assert rows == [16, 16, 16, 2]
