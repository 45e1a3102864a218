"""Quantised layers of bitsandbytes as kinds: 8 bit (LLM.int8) and 4 bit (NF4, FP4). Loaded only where the library is."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor, nn

from tuning.errors import LibraryMissing
from tuning.kinds import LINEAR, Kind


def quantised_kinds() -> tuple[Kind, ...]:
    """The kinds of layer that the installed library has; none where it isn't there."""
    try:
        import bitsandbytes as bnb
    except ImportError:
        return ()
    return _FourBit(bnb), _EightBit(bnb)


def check_library(module: nn.Module) -> None:
    """Raises LibraryMissing where a model says that it is quantised and the library for it isn't there."""
    if not quantised_kinds():
        raise LibraryMissing("This base is quantised with bitsandbytes. Run: pip install bitsandbytes")


@final
class _FourBit(Kind):
    role, quantised = LINEAR, True

    def __init__(self, bnb: Any) -> None:
        self._bnb = bnb

    def matches(self, module: nn.Module) -> bool:
        return isinstance(module, self._bnb.nn.Linear4bit)

    def read(self, module: nn.Module) -> Tensor:
        weight: Any = module.weight
        return self._bnb.functional.dequantize_4bit(weight.data, weight.quant_state).to(self.precision(module))

    def write(self, module: nn.Module, weight: Tensor) -> None:
        kept: Any = module.weight
        fresh = self._bnb.nn.Params4bit(
            weight.to(self.precision(module)).cpu().contiguous(),
            requires_grad=False,
            quant_type=kept.quant_type,
            blocksize=kept.blocksize,
            compress_statistics=kept.compress_statistics,
            quant_storage=kept.quant_storage,
        )
        module.weight = fresh.to(kept.device)

    def precision(self, module: nn.Module) -> torch.dtype:
        found: Any = module
        state = found.weight.quant_state
        return found.compute_dtype or (state.dtype if state is not None else torch.float32)


@final
class _EightBit(Kind):
    role, quantised = LINEAR, True

    def __init__(self, bnb: Any) -> None:
        self._bnb = bnb

    def matches(self, module: nn.Module) -> bool:
        return isinstance(module, self._bnb.nn.Linear8bitLt)

    def read(self, module: nn.Module) -> Tensor:
        found: Any = module
        scale = found.weight.SCB if found.weight.SCB is not None else found.state.SCB
        return found.weight.data.float() * (scale.float() / 127).unsqueeze(1)

    def write(self, module: nn.Module, weight: Tensor) -> None:
        found: Any = module
        device = found.weight.device
        fresh = self._bnb.nn.Int8Params(
            weight.to(torch.float16).cpu().contiguous(),
            requires_grad=False,
            has_fp16_weights=found.weight.has_fp16_weights,
        )
        module.weight = fresh.to(device)
        found.state.reset_grads()
        found.state.CB = found.state.SCB = None

    def precision(self, module: nn.Module) -> torch.dtype:
        return torch.float32
