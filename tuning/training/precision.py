"""bfloat16 where the machine computes in it; elsewhere it would be slower than single precision, and no smaller."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

CPU_INSTRUCTIONS = ("avx512_bf16", "amx_bf16")


def computes_bf16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 itself, and does not emulate it."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        there = torch.cpu.get_capabilities()
        return any(there.get(name) for name in CPU_INSTRUCTIONS)
    return False


def autocast(device: torch.device, bf16: bool) -> AbstractContextManager[object]:
    return torch.autocast(device.type, dtype=torch.bfloat16) if bf16 else nullcontext()
