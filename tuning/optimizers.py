"""LoRA+: B learns faster than A (Hayou et al. 2024, https://arxiv.org/abs/2402.12354)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

EMBEDDED = "lora_embedding"


def create_loraplus_optimizer(
    model: nn.Module,
    optimizer_cls: Callable[..., torch.optim.Optimizer],
    *,
    lr: float,
    loraplus_lr_ratio: float,
    loraplus_weight_decay: float = 0.0,
    loraplus_lr_embedding: float = 1e-6,
    **optimizer_kwargs: Any,
) -> torch.optim.Optimizer:
    """An optimiser of four groups: A, an embedding's factors, B, and B's and others' biases and norms without decay.

    `loraplus_lr_ratio`: how many times A's learning rate is B's; section 4 of the paper has 16.
    """
    groups: dict[str, list[nn.Parameter]] = {name: [] for name in ("A", "embedding", "B", "B without decay")}
    decayed = _decayed(model)
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if EMBEDDED in name:
            groups["embedding"].append(parameter)
        elif "lora_B" in name or parameter.ndim == 1:
            groups["B" if name in decayed else "B without decay"].append(parameter)
        else:
            groups["A"].append(parameter)
    decay = loraplus_weight_decay
    settings = {
        "A": {"weight_decay": decay, "lr": lr},
        "embedding": {"weight_decay": decay, "lr": loraplus_lr_embedding},
        "B": {"weight_decay": decay, "lr": lr * loraplus_lr_ratio},
        "B without decay": {"weight_decay": 0.0, "lr": lr * loraplus_lr_ratio},
    }
    given = [{"params": parameters, **settings[name]} for name, parameters in groups.items()]
    return optimizer_cls(given, lr=lr, **optimizer_kwargs)


def _decayed(model: nn.Module) -> set[str]:
    """Names of parameters that are no bias and in no norm."""
    norms = {
        path
        for path, module in model.named_modules()
        if isinstance(module, nn.LayerNorm) or "Norm" in type(module).__name__
    }
    return {
        name
        for name, _ in model.named_parameters()
        if not name.endswith("bias") and name.rpartition(".")[0] not in norms
    }
