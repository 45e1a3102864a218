"""DoRA: LoRA on the directions of a weight's rows, with magnitudes of their own (Liu et al. 2024, https://arxiv.org/abs/2402.09353)."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from tuning.kinds import CONV, EMBEDDING, Frozen
from tuning.methods._lora_variant import Factors, Variant


class Magnitude(nn.Module):
    """DoRA's magnitudes, under PEFT's name `lora_magnitude_vector.weight`."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone())


@final
class Dora(Variant):
    """The rows of W + BA are brought to learned magnitudes; section 4.3: their norm takes no gradient."""

    ratio_when_merged: Tensor  # (out,)

    def __init__(self, lora: Factors, frozen: Frozen) -> None:
        norm = self._norm(lora, _float(frozen.weight).to(lora.factors[0]), frozen)
        if frozen.role == CONV:
            norm = lora.form.along(norm, frozen).unsqueeze(0)  # as PEFT has it: (1, out, 1, …)
        lora.lora_magnitude_vector = Magnitude(norm)

    def added(self, lora: Factors, result: Tensor, x: Tensor, frozen: Frozen) -> Tensor:
        dropped = x if frozen.role == EMBEDDING else lora.lora_dropout(x)
        ratio = lora.form.along(self._ratio(lora, frozen.weight, frozen), frozen)
        if dropped is x:
            bias = frozen.bias
            plain = result if bias is None else result - lora.form.along(bias, frozen)
        else:
            plain = frozen.kind.apply(frozen.module, dropped, frozen.weight.to(dropped.dtype))
        return (ratio - 1) * plain + ratio * lora.low(dropped, frozen)

    def merged(self, lora: Factors, weight: Tensor, frozen: Frozen) -> Tensor:
        self.ratio_when_merged = self._ratio(lora, weight, frozen).to(weight.dtype)
        return (weight + lora.change(frozen).to(weight.dtype)) * _over_rows(self.ratio_when_merged, frozen)

    def unmerged(self, lora: Factors, weight: Tensor, frozen: Frozen) -> Tensor:
        return weight / _over_rows(self.ratio_when_merged, frozen) - lora.change(frozen).to(weight.dtype)

    def _norm(self, lora: Factors, weight: Tensor, frozen: Frozen) -> Tensor:
        """The norm of each row of W + BA: (out,); of an embedding of each column: (dimensions,)."""
        change = lora.without_start(lora.form.for_norm, frozen) * lora.scaling
        whole = weight + change.detach().to(weight.dtype)
        return whole.norm(p=2, dim=0 if frozen.role == EMBEDDING else 1)

    def _ratio(self, lora: Factors, weight: Tensor, frozen: Frozen) -> Tensor:
        """What each row is multiplied with; a row of zeros, which has no direction, with 1."""
        magnitude = lora.lora_magnitude_vector.weight.flatten()
        norm = self._norm(lora, weight.to(magnitude.dtype), frozen)
        none = norm == 0
        return torch.where(none, torch.ones_like(norm), magnitude / norm.masked_fill(none, 1.0))


def _over_rows(ratio: Tensor, frozen: Frozen) -> Tensor:
    return ratio if frozen.role == EMBEDDING else ratio.unsqueeze(1)


def _float(weight: Tensor) -> Tensor:
    return weight.float() if weight.dtype in (torch.float16, torch.bfloat16) else weight
