"""LoRA: a low-rank change beside each weight (Hu et al. 2021, https://arxiv.org/abs/2106.09685), with rank-stabilised scaling
(Kalajdzievski 2023) and weight-decomposed directions (DoRA, Liu et al. 2024).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuning.config import LayerConfig, fraction, one_of, positive
from tuning.errors import ConfigError
from tuning.initialising import check_name, initialise
from tuning.kinds import EMBEDDING, LINEAR, Affine, Frozen
from tuning.layers import Layer, LayerMethod, as_computed
from tuning.methods import _tying
from tuning.patterns import value_for
from tuning.registry import LayerFamily


@dataclass(kw_only=True)
class LoraConfig(LayerConfig):
    METHOD: ClassVar[str] = "LORA"
    NOT_HERE: ClassVar[Mapping[str, object]] = {
        **dict.fromkeys(("megatron_config", "layer_replication", "target_parameters", "alora_invocation_tokens")),
        **dict.fromkeys(
            ("arrow_config", "loftq_config", "eva_config", "corda_config", "lora_ga_config", "velora_config")
        ),
        "megatron_core": "megatron.core",
        "use_qalora": False,
        "qalora_group_size": 16,
        "use_bdlora": None,
    }

    r: int = 8
    lora_alpha: int = 8
    lora_dropout: float = 0.0
    fan_in_fan_out: bool = False  # read and written for PEFT; a layer's own kind says how its weight lies
    bias: str = "none"
    use_rslora: bool = False
    init_lora_weights: bool | str = True
    rank_pattern: dict[str, int] | None = field(default_factory=dict)
    alpha_pattern: dict[str, int] | None = field(default_factory=dict)
    use_dora: bool = False
    lora_bias: bool = False
    trainable_token_indices: list[int] | dict[str, list[int]] | None = None
    ensure_weight_tying: bool = False

    def check(self) -> None:
        super().check()
        positive(r=self.r, lora_alpha=self.lora_alpha)
        fraction(lora_dropout=self.lora_dropout)
        one_of("bias", self.bias, ("none", "all", "lora_only"))
        check_name(self.init_lora_weights)
        if self.lora_bias and self.use_dora:
            raise ConfigError("lora_bias and use_dora don't go together: DoRA's directions have no bias")


@final
class Lora(LayerMethod):
    """x ↦ base(x) + scaling · B A x. A: (r, in), B: (out, r); of an embedding A: (r, tokens), B: (dimensions, r)."""

    def __init__(self, frozen: Frozen, config: LoraConfig, shared: None) -> None:
        super().__init__()
        out, into = frozen.shape
        self.r = value_for(config.rank_pattern, frozen.name, config.r)
        alpha = value_for(config.alpha_pattern, frozen.name, config.lora_alpha)
        self.scaling: float = alpha / (math.sqrt(self.r) if config.use_rslora else self.r)
        self.dropout = nn.Dropout(config.lora_dropout) if config.lora_dropout else nn.Identity()
        self.dora = config.use_dora
        self.biased = config.lora_bias and frozen.role != EMBEDDING
        if frozen.role == EMBEDDING:
            self.lora_embedding_A = nn.Parameter(torch.zeros(self.r, into))
            self.lora_embedding_B = nn.Parameter(torch.randn(out, self.r))
            if config.init_lora_weights is False:
                nn.init.normal_(self.lora_embedding_A)
        else:
            self.lora_A = nn.Linear(into, self.r, bias=False)
            self.lora_B = nn.Linear(self.r, out, bias=config.lora_bias)
            self.residual = initialise(self.lora_A, self.lora_B, self.scaling, config.init_lora_weights, frozen)
        if self.dora:
            self.lora_magnitude_vector = Magnitude(self._norm(_float(frozen.weight).to(self.factors[0])))

    @property
    def factors(self) -> tuple[Tensor, Tensor]:
        """(A, B)."""
        if hasattr(self, "lora_A"):
            return self.lora_A.weight, self.lora_B.weight
        return self.lora_embedding_A, self.lora_embedding_B

    def change(self) -> Tensor:
        """What is added to the weight: (out, in); of an embedding (tokens, dimensions)."""
        a, b = self.factors
        return (b @ a if hasattr(self, "lora_A") else (b @ a).T) * self.scaling

    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        result = base(x)
        if frozen.role == EMBEDDING:
            low = functional.embedding(x, self.lora_embedding_A.T) @ self.lora_embedding_B.T * self.scaling
            if not self.dora:
                return result + low.to(result.dtype)
            ratio = self._ratio(frozen)
            return (ratio * result + ratio * low).to(result.dtype)
        x = as_computed(x, self.lora_A.weight.dtype)
        dropped = self.dropout(x)
        if self.dora:
            return self._directed(result, x, dropped, frozen)
        return result + self._low(dropped).to(result.dtype)

    def _low(self, x: Tensor) -> Tensor:
        """What is added to the layer's output."""
        if self.biased:
            return self.lora_B(self.lora_A(x)) * self.scaling
        return self.lora_B(self.lora_A(x) * self.scaling)  # r values a token, where the output has more

    def _directed(self, result: Tensor, x: Tensor, dropped: Tensor, frozen: Frozen) -> Tensor:
        """DoRA: the rows of W + BA brought to the learned magnitudes; section 4.3: the norm takes no gradient."""
        ratio = self._ratio(frozen)
        if dropped is x:
            plain = result if frozen.bias is None else result - frozen.bias
        else:
            plain = functional.linear(dropped, frozen.weight.to(dropped.dtype))
        return result + ((ratio - 1) * plain + ratio * self._low(dropped)).to(result.dtype)

    def _norm(self, weight: Tensor) -> Tensor:
        """The norm of each row of W + BA: (out,); of an embedding of each column: (dimensions,)."""
        whole = weight + self.change().detach().to(weight.dtype)
        return whole.norm(p=2, dim=0 if hasattr(self, "lora_embedding_A") else 1)

    def _ratio(self, frozen: Frozen) -> Tensor:
        norm = self._norm(frozen.weight.to(self.factors[0].dtype))
        return self.lora_magnitude_vector.weight / norm

    def merged(self, affine: Affine, frozen: Frozen) -> Affine:
        bias = affine.bias
        if self.biased:
            added = self.lora_B.bias * self.scaling
            bias = added if bias is None else bias + added
        whole = affine.weight + self.change().to(affine.weight.dtype)
        if self.dora:
            ratio = self.lora_magnitude_vector.weight / self._norm(affine.weight)
            whole = whole * (ratio if frozen.role == EMBEDDING else ratio.unsqueeze(1))
            self.norm_when_merged = self._norm(affine.weight)
        return Affine(whole, bias)

    def unmerged(self, affine: Affine, frozen: Frozen) -> Affine:
        bias = affine.bias
        if bias is not None and self.biased:
            bias = bias - self.lora_B.bias * self.scaling
        whole = affine.weight
        if self.dora:
            ratio = self.lora_magnitude_vector.weight / self.norm_when_merged
            whole = whole / (ratio if frozen.role == EMBEDDING else ratio.unsqueeze(1))
        return Affine(whole - self.change().to(whole.dtype), bias)


class Magnitude(nn.Module):
    """DoRA's magnitudes, under PEFT's name `lora_magnitude_vector.weight`."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone())


def _float(weight: Tensor) -> Tensor:
    return weight.float() if weight.dtype in (torch.float16, torch.bfloat16) else weight


METHOD = LayerFamily(
    name="LORA",
    prepared=_tying.prepared,
    beside=_tying.beside,
    before_load=_tying.before_load,
    config=LoraConfig,
    layer=Lora,
    roles=frozenset({LINEAR, EMBEDDING}),
    targets=(
        ("q_proj", "v_proj"),
        ("query", "value"),
        ("query_proj", "value_proj"),
        ("c_attn",),
        ("query_key_value",),
        ("Wqkv",),
        ("qkv_proj",),
        ("q", "v"),
    ),
    targets_of={  # PEFT's own for these, which are others
        "blip-2": ("q", "v", "q_proj", "v_proj"),
        "btlm": ("c_proj", "c_attn"),
        "deberta": ("in_proj",),
        "gemma4": r".*language_model\..*\.(q_proj|v_proj)",
        "nemotron_h": ("q_proj", "k_proj", "v_proj", "o_proj"),
        "phi": ("q_proj", "v_proj", "fc1", "fc2"),
        "rwkv": ("key", "value", "receptance", "output"),
        "rwkv7": ("r_proj", "k_proj", "v_proj", "o_proj", "key", "value"),
    },
    saved_as={"lora_magnitude_vector.weight": "lora_magnitude_vector"},
)
