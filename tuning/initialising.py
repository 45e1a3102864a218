"""How LoRA's factors start. PiSSA (Meng et al. 2024) and OLoRA (Büyükakyüz 2024) take a part of the
base's weight. The base is left as it is: the adapter holds that part, and takes it off again where it is applied (`Lora.start`).
"""

from __future__ import annotations

import math
import re
from typing import Any

import torch
from torch import Tensor, nn

from tuning.config import one_of
from tuning.errors import ConfigError
from tuning.kinds import LINEAR, Frozen

NOT_HERE = ("loftq", "corda", "lora_ga", "mica")  # PEFT's, refused where an adapter is made
NAMES = ("gaussian", "pissa", "olora", "orthogonal", "eva")
PISSA_FAST = re.compile(r"pissa_niter_(\d+)")


def check_name(value: bool | str) -> None:
    """Raises ConfigError where an initialisation is none of ours."""
    if isinstance(value, str) and not PISSA_FAST.fullmatch(value):
        one_of("init_lora_weights", value.lower(), (True, False, *NAMES, "pissa_niter_16", *NOT_HERE))


def initialise(a: Any, b: Any, scaling: float, how: bool | str, frozen: Frozen, rank: int) -> bool:
    """Fill A and B; returns whether they are a part of the base's weight."""
    if how is False:
        return False  # random in both, as they are: not the identity, for tests
    for bias in [parameter for name, parameter in b.named_parameters() if name == "bias"]:
        nn.init.zeros_(bias)
    name = how.lower() if isinstance(how, str) else ""
    if (name == "olora" or name.startswith("pissa")) and frozen.role != LINEAR:
        name = ""  # of other kinds of layer there is no such part: they start as ever
    if name == "olora" or name.startswith("pissa"):
        _check_rank(a.out_features, name, frozen)
    if name == "olora":
        return _olora(a, b, scaling, frozen)
    if name.startswith("pissa"):
        return _pissa(a, b, scaling, name, frozen)
    if name == "orthogonal" and frozen.role == LINEAR:
        _orthogonal(a, b)
        return False
    if name == "gaussian":
        nn.init.normal_(a.weight, std=1 / rank)
    else:  # also "eva": its A is filled in from a pass over data, or a checkpoint
        nn.init.kaiming_uniform_(a.weight, a=math.sqrt(5))
    nn.init.zeros_(b.weight)
    return False


def _check_rank(rank: int, how: str, frozen: Frozen) -> None:
    """Raises ConfigError where a rank is above what the layer's weight can have."""
    if rank > min(frozen.shape):
        out, into = frozen.shape
        raise ConfigError(
            f"r is {rank}, and '{frozen.name}' is {out} × {into}, which {how} can take apart into {min(frozen.shape)} at most. "
            f"Take r={min(frozen.shape)} or less, or give this layer one of its own in rank_pattern"
        )


def _olora(a: nn.Linear, b: nn.Linear, scaling: float, frozen: Frozen) -> bool:
    weight = frozen.weight.detach().float()
    q, r = torch.linalg.qr(weight)
    _fill(a, r[: a.out_features])
    _fill(b, q[:, : a.out_features])
    return True


def _pissa(a: nn.Linear, b: nn.Linear, scaling: float, name: str, frozen: Frozen) -> bool:
    weight = frozen.weight.detach().float()
    rank = a.out_features
    if fast := PISSA_FAST.fullmatch(name):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # whoever loads the adapter has to find the same part
            left, values, right = torch.svd_lowrank(weight, rank, niter=int(fast[1]))
        right = right.T
    else:
        left, values, right = torch.linalg.svd(weight, full_matrices=False)
    root = (values[:rank] / scaling).sqrt()
    _fill(a, root.unsqueeze(1) * right[:rank])
    _fill(b, left[:, :rank] * root)
    return True


def _orthogonal(a: nn.Linear, b: nn.Linear) -> None:
    rank = a.out_features
    if rank % 2:
        raise ConfigError(f"Orthogonal initialization requires the LoRA rank to be even, got {rank} instead.")
    q, _ = torch.linalg.qr(torch.randn(rank, rank))
    _fill(a, (torch.randn(a.in_features, rank // 2) @ q[0::2]).T / 10)
    _fill(b, torch.randn(rank // 2, b.out_features).T @ q[1::2] / 10)


def _fill(linear: nn.Linear, values: Tensor) -> None:
    linear.weight.data = values.contiguous()
