"""Polytropon: low-rank changes that many tasks share; each task learns its own mixture of them (Ponti et al. 2022,
https://arxiv.org/abs/2202.13914). With `n_splits`, each part of a layer's inputs and outputs has its own mixture
(multi-head routing, Caccia et al. 2022, https://arxiv.org/abs/2211.03831).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn
from torch.distributions import RelaxedBernoulli

from tuning.config import LayerConfig, one_of, positive
from tuning.errors import ConfigError
from tuning.kinds import Frozen
from tuning.layer_method import Layer, LayerMethod, Unmergeable, as_computed
from tuning.methods.lora import METHOD as LORA
from tuning.registry import LayerFamily

SMALL = 1e-12


@dataclass(kw_only=True)
class PolyConfig(LayerConfig):
    METHOD: ClassVar[str] = "POLY"

    r: int = 8
    init_weights: bool = True
    poly_type: str = "poly"
    n_tasks: int = 1
    n_skills: int = 4
    n_splits: int = 1

    def check(self) -> None:
        super().check()
        positive(r=self.r, n_tasks=self.n_tasks, n_skills=self.n_skills, n_splits=self.n_splits)
        one_of("poly_type", self.poly_type, ("poly",))


class Router(nn.Module):
    """module_logits: (tasks, splits · skills), how much each task uses each skill."""

    def __init__(self, config: PolyConfig) -> None:
        super().__init__()
        self.shape = (config.n_splits, config.n_skills)
        self.module_logits = nn.Parameter(
            torch.empty(config.n_tasks, config.n_splits * config.n_skills).uniform_(-1e-3, 1e-3)
        )

    def forward(self, task_ids: Tensor) -> Tensor:
        """(rows, splits, skills), whose sum over skills is 1; drawn at random in training. Raises ConfigError where there is no such task."""
        if task_ids.numel() and (last := int(task_ids.max())) >= len(self.module_logits):
            raise ConfigError(f"Only {len(self.module_logits)} tasks available. Found task id = {last}")
        logits = self.module_logits[task_ids.to(self.module_logits.device)].view(-1, *self.shape)
        used = RelaxedBernoulli(logits.new_ones(()), logits=logits).rsample() if self.training else logits.sigmoid()
        return used / (used.sum(dim=-1, keepdim=True) + SMALL)


@final
class Poly(Unmergeable):
    """x ↦ base(x) + B A x / r, with A and B mixed for each row's task. poly_lora_A: (splits, skills, in / splits, r); poly_lora_B: (splits,
    skills, r, out / splits), 0 at the start.
    """

    def __init__(self, frozen: Frozen, config: PolyConfig, shared: None) -> None:
        super().__init__()
        out, into = frozen.shape
        splits, r = config.n_splits, config.r
        if into % splits or out % splits:
            raise ConfigError(
                f"n_splits is {splits}, which does not divide the {into} inputs and {out} outputs of '{frozen.name}'"
            )
        self.poly_lora_A = nn.Parameter(_drawn(config, r, into // splits).transpose(2, 3).contiguous())
        b = torch.zeros(splits, config.n_skills, r, out // splits)
        self.poly_lora_B = nn.Parameter(
            b if config.init_weights else _drawn(config, out // splits, r).transpose(2, 3).contiguous()
        )
        self.poly_router = Router(config)

    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        result = base(x)
        layer: Any = self.owner
        tasks = layer.routing.tasks(len(x))
        if tasks is None:
            raise ConfigError("task_ids should not be None: give the task of each row, (rows,)")
        if len(tasks) != len(x):
            raise ConfigError(f"task_ids has {len(tasks)} rows, and the batch {len(x)}")
        mixed = self.poly_router(tasks)
        a = torch.einsum("bqs,qsdr->bqdr", mixed, self.poly_lora_A).flatten(1, 2)
        b = torch.einsum("bqs,qsrd->brqd", mixed, self.poly_lora_B).flatten(2)
        rows = as_computed(x, a.dtype).flatten(1, -2) if x.ndim > 2 else as_computed(x, a.dtype)[:, None]
        return result + (rows @ a @ b / a.shape[-1]).view(result.shape).to(result.dtype)


def _drawn(config: PolyConfig, first: int, second: int) -> Tensor:
    """(splits, skills, first, second), each matrix as a linear layer's weight is drawn."""
    drawn = torch.empty(config.n_splits, config.n_skills, first, second)
    for skill in range(config.n_skills):
        for split in range(config.n_splits):
            nn.init.kaiming_uniform_(drawn[split, skill], a=math.sqrt(5))
    return drawn


@final
class PolyFamily(LayerFamily):
    name = "POLY"
    prefix = "poly_"
    config = PolyConfig
    knows_tasks = True
    merges = False
    targets = LORA.targets
    targets_of = LORA.targets_of

    def layer(self, frozen: Frozen, config: Any, shared: Any) -> LayerMethod:
        return Poly(frozen, config, shared)


METHOD = PolyFamily()
