"""The preconditioned optimiser beside HF peft's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft.optimizers import create_riemannian_optimizer as theirs_of

import tuning
from tests.tuning.oracle import both, check_tensors, tiny_llama, tokens
from tuning.riemannian import Preconditioner, create_riemannian_optimizer

ADAPTED: dict[str, Any] = {"r": 4, "target_modules": ["q_proj", "v_proj", "embed_tokens"], "use_dora": True}


@pytest.mark.parametrize(
    ("kind", "options"), [(torch.optim.SGD, {"momentum": 0.5}), (torch.optim.AdamW, {"weight_decay": 0.1})]
)
@pytest.mark.parametrize("reg", [1e-2, 1.0])
def test_steps_are_pefts(
    kind: type[torch.optim.Optimizer], options: dict[str, Any], reg: float, tmp_path: Path
) -> None:
    models = both("llama", "LoraConfig", tmp_path, **ADAPTED)
    optimisers = [
        make(model, kind, lr=1e-3, reg=reg, **options)
        for make, model in zip((theirs_of, create_riemannian_optimizer), models, strict=True)
    ]
    assert isinstance(optimisers[1], kind)
    for _ in range(3):
        for model, optimiser in zip(models, optimisers, strict=True):
            optimiser.zero_grad()
            model(input_ids=tokens(), labels=tokens()).loss.backward()
            optimiser.step()
    found = [{name: value for name, value in model.named_parameters() if ".default" in name} for model in models]
    check_tensors(found[1], found[0], 1e-7)
    plain = both("llama", "LoraConfig", tmp_path, **ADAPTED)[1].state_dict()
    assert all(not torch.equal(value, plain[name]) for name, value in found[1].items())


def test_half_precision_stays_finite() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.nn.Parameter(torch.randn(shape, generator=generator).bfloat16()) for shape in ((4, 6), (8, 4)))
    a.grad, b.grad = torch.ones_like(a), torch.ones_like(b)
    Preconditioner([(a, b)], reg=1e-4).step()
    assert all(bool(torch.isfinite(part.grad).all()) for part in (a, b) if part.grad is not None)


def test_what_cannot_be_is_refused() -> None:
    model = tuning.get_peft_model(tiny_llama(), tuning.LoraConfig())
    wrong: Any = dict
    for kind, base, message in (
        (wrong, model, "has to be a subclass of torch.optim.Optimizer"),
        (torch.optim.LBFGS, model, "LBFGS requires a closure"),
        (torch.optim.SGD, tiny_llama(), "no trained lora_A/lora_B parameter pairs"),
    ):
        with pytest.raises(tuning.ConfigError, match=message):
            create_riemannian_optimizer(base, kind, lr=0.1)
    with pytest.raises(tuning.ConfigError, match="reg is -1"):
        create_riemannian_optimizer(model, torch.optim.SGD, lr=0.1, reg=-1)
    optimiser = create_riemannian_optimizer(model, torch.optim.SGD, lr=0.1)
    for step in (lambda: optimiser.step(lambda: 0.0), lambda: optimiser.step(closure=lambda: 0.0)):
        with pytest.raises(tuning.ConfigError, match="does not support closures"):
            step()
