"""(IA)³: learned factors on activations (Liu et al. 2022, https://arxiv.org/abs/2205.05638): one factor for each
feature of a layer's outputs, or, in a feed-forward layer, of its inputs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from tuning.config import LayerConfig
from tuning.errors import ConfigError
from tuning.kinds import CONV, LINEAR, Affine, Frozen
from tuning.layer_method import Layer, LayerMethod
from tuning.registry import LayerFamily

SMALL = 1e-4  # what is divided by less than this does not come back from merging as it was


@dataclass(kw_only=True)
class IA3Config(LayerConfig):
    """`feedforward_modules`: those of the target modules whose inputs are scaled, by PEFT's rule: a pattern of whole paths, or
    ends of paths. None: the usual ones (`FEEDFORWARD`).
    """

    METHOD: ClassVar[str] = "IA3"

    feedforward_modules: Collection[str] | str | None = None
    fan_in_fan_out: bool = False  # read and written for PEFT; a layer's own kind says how its weight lies
    init_ia3_weights: bool = True

    def check(self) -> None:
        super().check()
        if isinstance(self.feedforward_modules, (list, tuple)):
            self.feedforward_modules = set(self.feedforward_modules)
        if isinstance(self.feedforward_modules, set) and isinstance(self.target_modules, set):
            lacking = sorted(self.feedforward_modules - self.target_modules)
            if lacking:
                raise ConfigError(
                    f"feedforward_modules names {', '.join(lacking)}, which target_modules does not: a layer is scaled where it is meant"
                )


@final
class IA3(LayerMethod):
    """x ↦ l ⊙ base(x) with l: (out, 1); of a feed-forward layer x ↦ base(l ⊙ x) with l: (1, in)."""

    def __init__(self, frozen: Frozen, config: IA3Config, shared: None) -> None:
        super().__init__()
        out, into = frozen.shape
        self.feedforward = _is_meant(config.feedforward_modules, frozen.name)
        if frozen.role == CONV:
            module: Any = frozen.module
            channels = module.in_channels if self.feedforward else out
            factors = torch.randn(1, channels, *[1] * len(module.kernel_size))
        else:
            factors = torch.randn((1, into) if self.feedforward else (out, 1))
        self.ia3_l = nn.Parameter(torch.ones_like(factors) if config.init_ia3_weights else factors)
        self.before: Affine | None = None  # the layer before merging, where it can't be computed back

    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        factors = self.ia3_l if frozen.role == CONV else self.ia3_l.flatten()
        if self.feedforward:
            return base((x * factors).to(x.dtype))
        result = base(x)
        return (result * factors).to(result.dtype)

    def _in_weight(self, frozen: Frozen, dtype: torch.dtype) -> Tensor:
        """The factors as the weight (out, in) is multiplied with them."""
        factors = self.ia3_l.to(dtype)
        if frozen.role != CONV:
            return factors
        module: Any = frozen.module
        if not self.feedforward:
            return factors.view(-1, 1)
        kernel = math.prod(module.kernel_size)
        groups = factors.view(module.groups, 1, -1).expand(-1, module.out_channels // module.groups, -1)
        return groups.flatten(0, 1).repeat_interleave(kernel, dim=1)

    def merged(self, affine: Affine, frozen: Frozen) -> Affine:
        factors = self._in_weight(frozen, affine.weight.dtype)
        weight, bias = affine
        lossy = bool((factors.abs() < SMALL).any())
        self.before = Affine(weight.clone(), None if bias is None else bias.clone()) if lossy else None
        return Affine(weight * factors, bias if bias is None or self.feedforward else bias * self.ia3_l.flatten())

    def unmerged(self, affine: Affine, frozen: Frozen) -> Affine:
        if self.before is not None:
            before, self.before = self.before, None
            return before
        factors = self._in_weight(frozen, affine.weight.dtype)
        weight, bias = affine
        return Affine(weight / factors, bias if bias is None or self.feedforward else bias / self.ia3_l.flatten())


FEEDFORWARD = ("down_proj", "fc2", "w2", "wo", "fc_out", "mlp.c_proj", "output.dense", "dense_4h_to_h")


def _is_meant(asked: Collection[str] | str | None, name: str) -> bool:
    if isinstance(asked, str):
        return re.fullmatch(asked, name) is not None
    return any(name.endswith(end) for end in asked or ())


@final
class IA3Family(LayerFamily):
    name = "IA3"
    prefix = "ia3_"
    config = IA3Config
    roles = frozenset({LINEAR, CONV})
    targets = (  # section 3.3 of the paper: keys, values, and the second feed-forward layer
        ("k_proj", "v_proj", "down_proj"),
        ("k_proj", "v_proj", "fc2"),
        ("q_proj", "v_proj", "fc_out"),
        ("c_attn", "mlp.c_proj"),
        ("query_key_value", "dense_4h_to_h"),
        ("key", "value", "output.dense"),
        ("k", "v", "wo"),
    )
    targets_of: ClassVar[Mapping[str, Sequence[str] | str]] = {  # PEFT's own for these, which are others
        **dict.fromkeys(
            ("gemma", "gemma2", "gemma3_text", "llama4", "qwen2", "qwen3"), ("q_proj", "v_proj", "down_proj")
        ),
        **dict.fromkeys(("bart", "phi"), ("q_proj", "v_proj", "fc2")),
        "mixtral": ("k_proj", "v_proj", "w2"),
        "opt": ("q_proj", "k_proj", "fc2"),
        "gpt_neo": ("q_proj", "v_proj", "c_proj"),
        "mt5": ("k", "v", "wi_1"),
        "deberta": ("in_proj", "output.dense"),
        "deberta-v2": ("key_proj", "value_proj", "output.dense"),
    }

    def layer(self, frozen: Frozen, config: Any, shared: Any) -> LayerMethod:
        return IA3(frozen, config, shared)

    def shared(self, config: Any, model: nn.Module, layers: Sequence[Frozen], others: Mapping[str, Any]) -> None:
        """Nothing is shared. Fill in which layers are feed-forward ones, where the config leaves it open."""
        if config.feedforward_modules is None:
            config.feedforward_modules = {
                end for end in FEEDFORWARD if any(f".{layer.name}".endswith(f".{end}") for layer in layers)
            }


METHOD = IA3Family()
