"""OSF: trains a weight's smaller singular values and their vectors, and keeps them orthogonal to the larger ones, so
that the base's knowledge is kept (Nayak et al. 2025, "Sculpting Subspaces", https://arxiv.org/abs/2504.07097).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuning.config import LayerConfig
from tuning.errors import ConfigError
from tuning.kinds import Frozen
from tuning.layer_method import Additive, Layer, LayerMethod, as_computed
from tuning.registry import LayerFamily
from tuning.spectra import singular


@dataclass(kw_only=True)
class OSFConfig(LayerConfig):
    """`effective_rank`: how many of the largest singular values stay as they are, as a number or as a share of all; left open, half.
    `rank_pattern`: the same for layers whose path has a match. `target_svd_config` is read and written for PEFT, which does not use it.
    """

    METHOD: ClassVar[str] = "OSF"

    effective_rank: int | float | None = None
    rank_pattern: dict[str, int | float] | None = None
    init_weights: bool | None = True
    target_svd_config: dict[str, int] | None = None


def _kept(config: OSFConfig, frozen: Frozen) -> int:
    """How many singular values stay. Raises ConfigError where none do."""
    smaller = min(frozen.shape)
    patterns = (config.rank_pattern or {}).items()
    asked = next((rank for pattern, rank in patterns if re.search(pattern, frozen.name)), config.effective_rank)
    if asked is None:
        kept = smaller // 2
    else:
        kept = int(smaller * asked) if isinstance(asked, float) and 0 < asked <= 1 else min(int(asked), smaller)
    if kept <= 0:
        raise ConfigError(
            f"effective_rank is {asked}, which keeps {kept} of the {smaller} singular values of '{frozen.name}': take 1 or more"
        )
    return kept


def _orthogonally(trained: Tensor, low: Tensor, high: Tensor | None) -> Tensor:
    """`trained` (d, r) as it is; its gradient is made orthogonal to the columns of `high` (d, k). None: these and the columns of `low`
    (d, r) are a basis together.
    """
    moved = trained - trained.detach()
    kept = low @ (low.mT @ moved) if high is None else moved - high @ (high.mT @ moved)
    return trained.detach() + kept


@final
class OSF(Additive):
    """x ↦ base(x) + (U S V - U₀ S₀ V₀) x: U₀ S₀ V₀ is the part of the weight with its smaller singular values. U: (out, r), S: (r,),
    V: (r, in), which start as that part. What is frozen is computed from the base, in single precision, and not saved.
    """

    def __init__(self, frozen: Frozen, config: OSFConfig, shared: None) -> None:
        super().__init__()
        left, values, right = singular(frozen.weight)
        kept = _kept(config, frozen)
        parts = {"U_low": left[:, kept:], "S_low": values[kept:], "V_low": right[kept:]}
        start = {
            name: part if config.init_weights is not False else torch.randn_like(part) for name, part in parts.items()
        }
        self.osf_svd_params = nn.ParameterDict({name: nn.Parameter(part.clone()) for name, part in start.items()})
        for name, part in parts.items():
            self.register_buffer(f"_osf_{name}_init", part.contiguous(), persistent=False)
        out, into = frozen.shape
        self.tall, self.wide = out > into, out < into  # whether U, or V, is no whole basis
        if self.tall:
            self.register_buffer("_osf_U_high", left[:, :kept].contiguous(), persistent=False)
        if self.wide:
            self.register_buffer("_osf_V_high", right[:kept].contiguous(), persistent=False)

    def factors(self) -> tuple[Tensor, Tensor]:
        """(out, 2r), (2r, in): their product is what is added to the weight."""
        trained, u, v = self.osf_svd_params, self.get_buffer("_osf_U_low_init"), self.get_buffer("_osf_V_low_init")
        above = self.get_buffer("_osf_U_high") if self.tall else None
        left = _orthogonally(trained["U_low"], u, above) * trained["S_low"]
        above = self.get_buffer("_osf_V_high").mT if self.wide else None
        right = _orthogonally(trained["V_low"].mT, v.mT, above).mT
        return torch.cat([left, -u * self.get_buffer("_osf_S_low_init")], dim=1), torch.cat([right, v])

    def change(self) -> Tensor:
        left, right = self.factors()
        return left @ right

    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        result = base(x)
        left, right = self.factors()
        low = functional.linear(as_computed(x, right.dtype), right)
        return result + functional.linear(low, left).to(result.dtype)


ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "down_proj", "up_proj")
OF_PEFT: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(("llama", "llama4", "mistral", "mixtral", "gemma", "gemma2", "gemma3_text"), ALL),
    **dict.fromkeys(("qwen2", "qwen3", "phi"), ALL),
    **dict.fromkeys(("gpt2", "gpt_bigcode"), ("c_attn", "c_proj")),
    **dict.fromkeys(("bloom", "gpt_neox", "falcon"), ("query_key_value", "dense_4h_to_h")),
    "opt": ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"),
    "gptj": ("q_proj", "k_proj", "v_proj", "out_proj", "fc_in", "fc_out"),
}


@final
class OSFFamily(LayerFamily):
    name = "OSF"
    prefix = "osf_"
    config = OSFConfig
    targets_of = OF_PEFT

    def prepare(self, config: Any, model: nn.Module) -> None:
        """Of a model that is not listed, all linear layers are meant."""
        if config.target_modules is None and getattr(getattr(model, "config", None), "model_type", "") not in OF_PEFT:
            config.target_modules = "all-linear"

    def layer(self, frozen: Frozen, config: Any, shared: Any) -> LayerMethod:
        return OSF(frozen, config, shared)


METHOD = OSFFamily()
