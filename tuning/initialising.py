"""How LoRA's factors start. PiSSA (Meng et al. 2024), OLoRA (Büyükakyüz 2024), CorDA and LoRA-GA (`tuning.preparing`) take a part of the
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

NAMES = ("gaussian", "pissa", "olora", "orthogonal", "eva", "mica", "corda", "lora_ga", "loftq")
PARTS = ("pissa", "olora", "corda", "lora_ga")  # those that are a part of the base's weight
DIRECTIONS, GRADIENT = "eigens", "_peft_loraga_grad"  # PEFT's names for what a layer was prepared with
PISSA_FAST = re.compile(r"pissa_niter_(\d+)")


def takes_part(value: bool | str) -> bool:
    """Whether an initialisation takes a part of the base's weight."""
    return str(value).lower().startswith(PARTS)


def check_name(value: bool | str) -> None:
    """Raises ConfigError where an initialisation is none of ours."""
    if isinstance(value, str) and not PISSA_FAST.fullmatch(value):
        one_of("init_lora_weights", value.lower(), (True, False, *NAMES, "pissa_niter_16"))


def initialise(a: Any, b: Any, scaling: float, how: bool | str, frozen: Frozen, rank: int, ga: Any = None) -> bool:
    """Fill A and B; returns whether they are a part of the base's weight."""
    if how is False:
        return False  # random in both, as they are: not the identity, for tests
    if getattr(b, "bias", None) is not None:
        nn.init.zeros_(b.bias)
    name = how.lower() if isinstance(how, str) else ""
    if name.startswith((*PARTS, "mica")) and frozen.role != LINEAR:
        name = ""  # of other kinds of layer there is no such part: they start as ever
    if name.startswith(("olora", "pissa", "mica", "loftq")):
        _check_rank(a.out_features, name, frozen)
    if name == "mica":
        nn.init.zeros_(a.weight)
        _fill(b, minor_directions(frozen.weight, rank))
        return False
    if name == "corda":
        return _corda(a, b, scaling, frozen)
    if name == "lora_ga" and (gradient := getattr(frozen.module, GRADIENT, None)) is not None:
        delattr(frozen.module, GRADIENT)
        return _lora_ga(a, b, scaling, gradient, ga, frozen)
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


def _corda(a: nn.Linear, b: nn.Linear, scaling: float, frozen: Frozen) -> bool:
    """The directions that `preprocess_corda` found."""
    rank, found = a.out_features, getattr(frozen.module, DIRECTIONS, None)
    if found is None:
        raise ConfigError(
            f"init_lora_weights='corda' needs directions of data, and '{frozen.name}' has none: call preprocess_corda before"
        )
    if (tuple(found.U_WC.shape), tuple(found.V_WC.shape)) != ((frozen.shape[0], rank), (frozen.shape[1], rank)):
        raise ConfigError(
            f"preprocess_corda was run for another model or another r than {rank} ('{frozen.name}'): run it with this config"
        )
    delattr(frozen.module, DIRECTIONS)
    root = (found.S_WC / scaling).sqrt()
    _fill(a, (found.V_WC * root).T)
    _fill(b, found.U_WC * root)
    return True


def _lora_ga(a: nn.Linear, b: nn.Linear, scaling: float, gradient: Tensor, config: Any, frozen: Frozen) -> bool:
    """Singular directions of the gradient (out, in), of which A and B take different ones (section 3.3)."""
    rank = a.out_features
    if config is None:
        raise ConfigError("init_lora_weights='lora_ga' needs lora_ga_config=LoraGAConfig()")
    left, values, right = torch.svd_lowrank(gradient.float(), q=min(4 * rank, *gradient.shape), niter=4)
    if len(values) < 2 * rank:
        raise ConfigError(
            f"LoRA-GA takes 2 · r directions of a gradient, and '{frozen.name}' has {len(values)}: take r={len(values) // 2} or less"
        )
    every = torch.arange(2 * rank)
    for_a, for_b = {
        "ArBr": (every[1::2], every[0::2]),
        "A2rBr": (every[rank:], every[:rank]),
        "ArB2r": (every[:rank], every[rank:]),
    }.get(config.direction) or (torch.randperm(2 * rank)[:rank],) * 2
    first, then = right.T[for_a], left[:, for_b] * values[for_b]
    if config.scale == "stable":
        size = frozen.kind.parameter(frozen.module).shape[0]  # as PEFT, also where the weight is kept as (in, out)
        then = then * (size**0.25 / config.stable_gamma**0.5)
    elif config.scale == "weight_svd" and values[for_b][0] > 0:
        _, of_weight, _ = torch.svd_lowrank(frozen.weight.detach().float(), q=rank, niter=4)
        then = then * (of_weight[0] / values[for_b][0])
    elif config.scale == "gd_scale":
        first, then = first / scaling, then / scaling
    _fill(a, first)
    _fill(b, then)
    return True


def minor_directions(weight: Tensor, rank: int) -> Tensor:
    """(out, rank): the left singular vectors of a weight (out, in) with the smallest values, that MiCA starts from and keeps
    (https://arxiv.org/abs/2604.01694).
    """
    left, _, _ = torch.linalg.svd(weight.detach().float(), full_matrices=False)
    return left[:, -rank:].contiguous()


def _orthogonal(a: nn.Linear, b: nn.Linear) -> None:
    rank = a.out_features
    if rank % 2:
        raise ConfigError(
            f"init_lora_weights='orthogonal' halves the rank between A and B, and r is {rank}: give an even one"
        )
    q, _ = torch.linalg.qr(torch.randn(rank, rank))
    _fill(a, (torch.randn(a.in_features, rank // 2) @ q[0::2]).T / 10)
    _fill(b, torch.randn(rank // 2, b.out_features).T @ q[1::2] / 10)


def _fill(linear: nn.Linear, values: Tensor) -> None:
    linear.weight.data = values.contiguous()
