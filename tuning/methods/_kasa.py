"""KaSA: LoRA with a learned diagonal between its factors, on a base without its r smallest singular components (Wang et al. 2024,
https://arxiv.org/abs/2412.06071). The base is left as it is: the adapter takes these components off where it is applied.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuning.errors import ConfigError
from tuning.kinds import Frozen
from tuning.methods._lora_options import KasaConfig
from tuning.methods._lora_variant import Factors, Summed


@final
class Kasa(Summed):
    """x ↦ base(x) - D C x + scaling · B (d ⊙ A x). lora_diag: d (r,), trained. C: (r, in), D: (out, r), of the base's weight."""

    converts = False

    def __init__(self, lora: Factors, frozen: Frozen) -> None:
        r = len(lora.factors[0])
        if r >= min(frozen.shape):
            raise ConfigError(
                f"r is {r}, and '{frozen.name}' is {frozen.shape}: KaSA takes r components off, so r has to be below both"
            )
        left, values, right = torch.linalg.svd(frozen.weight.detach().float(), full_matrices=False)
        lora.lora_diag = nn.Parameter(torch.randn(r))
        lora.register_buffer("kasa_C", right[-r:].clone(), persistent=False)
        lora.register_buffer("kasa_D", left[:, -r:] * values[-r:], persistent=False)

    def change(self, lora: Factors, frozen: Frozen) -> Tensor:
        a, b = lora.factors
        return (b * lora.lora_diag) @ a * lora.scaling - lora.kasa_D @ lora.kasa_C

    def added(self, lora: Factors, result: Tensor, x: Tensor, frozen: Frozen) -> Tensor:
        a, b = lora.factors
        low = functional.linear(lora.lora_dropout(x), a) * lora.lora_diag
        off = functional.linear(functional.linear(x, lora.kasa_C.to(x.dtype)), lora.kasa_D.to(x.dtype))
        return functional.linear(low, b) * lora.scaling - off


def regularisation(config: KasaConfig, methods: Sequence[Any]) -> Tensor:
    """Equations 9 to 11, over all layers."""
    found = torch.zeros(())
    for method in methods:
        a, b = (factor.float() for factor in method.factors)
        one = torch.eye(len(a), device=a.device)
        apart = torch.linalg.norm(b.T @ b - one) + torch.linalg.norm(a @ a.T - one)
        found = found.to(a.device) + config.beta * (method.lora_diag.float() ** 2).sum() + config.gamma * apart
    return found
