"""VB-LoRA: LoRA whose factors are made of pieces, each a mixture of a few vectors from one bank for the whole model (Li et al. 2024,
https://arxiv.org/abs/2405.15179).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuning.config import LayerConfig, fraction, one_of, positive
from tuning.errors import ConfigError, CutShort
from tuning.kinds import Frozen
from tuning.layer_method import Additive, Layer, LayerMethod, as_computed
from tuning.methods._mixtures import FUNCTIONS, cut_short, lengthened
from tuning.methods.lora import METHOD as LORA
from tuning.placement import Placed
from tuning.registry import LayerFamily
from tuning.rotations import solvable

FACTORS = ("vblora_logits_A", "vblora_logits_B")
MORE = {  # PEFT's usual layers of these models, which are more than LoRA's
    "t5": ("q", "k", "v", "o", "wi", "wo"),
    "mt5": ("q", "k", "v", "o", "wi_0", "wi_1", "wo"),
    **dict.fromkeys(("bart", "opt"), ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")),
    "deberta-v2": ("query_proj", "key_proj", "value_proj", "dense"),
}


@dataclass(kw_only=True)
class VBLoRAConfig(LayerConfig):
    """`topk`: vectors of the bank in a mixture. `save_only_topk_weights`: save which these are, and their weights, and not all logits;
    such an adapter can be used, and not trained further.
    """

    METHOD: ClassVar[str] = "VBLORA"

    r: int = 4
    num_vectors: int = 256
    vector_length: int = 256
    topk: int = 2
    save_only_topk_weights: bool = False
    vblora_dropout: float = 0.0
    fan_in_fan_out: bool = False  # read and written for PEFT; a layer's own kind says how its weight lies
    bias: str = "none"
    init_vector_bank_bound: float = 0.02
    init_logits_std: float = 0.1

    def check(self) -> None:
        super().check()
        positive(r=self.r, num_vectors=self.num_vectors, vector_length=self.vector_length, topk=self.topk)
        fraction(vblora_dropout=self.vblora_dropout)
        one_of("bias", self.bias, ("none", "all", "vblora_only"))
        if self.topk > self.num_vectors:
            raise ConfigError(f"topk is {self.topk}, and the bank has {self.num_vectors} vectors (num_vectors)")


class Bank(Placed):
    """vblora_vector_bank: (num_vectors, vector_length), trained, the same for all layers."""

    def __init__(self, config: VBLoRAConfig, layers: Sequence[Frozen]) -> None:
        super().__init__()
        self.bound = config.init_vector_bank_bound
        bank = torch.zeros(config.num_vectors, config.vector_length, dtype=layers[0].dtype, device=layers[0].device)
        self.vblora_vector_bank = nn.Parameter(solvable(bank))

    @torch.no_grad()
    def draw(self) -> None:
        self.vblora_vector_bank.copy_(torch.empty(self.vblora_vector_bank.shape).uniform_(-self.bound, self.bound))


@final
class VBLoRA(Additive):
    """x ↦ base(x) + B A x. A piece of a row of A, or of a column of B, of vector_length values, is Σ softmax(topk logits) · vectors of the
    bank. vblora_logits_A: (r, in / vector_length, num_vectors), vblora_logits_B: (out / vector_length, r, num_vectors).
    """

    def __init__(self, frozen: Frozen, config: VBLoRAConfig, shared: Bank) -> None:
        super().__init__()
        (out, into), length = frozen.shape, config.vector_length
        if out % length or into % length:
            sizes = f"'{frozen.name}' is {out} × {into}"
            raise ConfigError(f"vector_length is {length}, and {sizes}: both must be divisible by `vector_length`")
        self.shared, self.topk = (shared,), config.topk  # in a tuple: the adapter's, not this layer's own
        self.vblora_dropout = nn.Dropout(config.vblora_dropout) if config.vblora_dropout else nn.Identity()
        shared.draw()  # anew for each layer, as PEFT: from one seed an adapter is the same then
        self.vblora_logits_A = nn.Parameter(torch.zeros(config.r, into // length, config.num_vectors))
        self.vblora_logits_B = nn.Parameter(torch.zeros(out // length, config.r, config.num_vectors))
        nn.init.normal_(self.vblora_logits_A, 0, config.init_logits_std)
        nn.init.normal_(self.vblora_logits_B, 0, config.init_logits_std)

    def factors(self) -> tuple[Tensor, Tensor]:
        """A (r, in) and B (out, r). Raises CutShort where they are to be trained, and other logits than the highest were not saved."""
        if self.training and self.vblora_logits_A[0, 0].isinf().any():
            raise CutShort(
                "Found infinity values in VB-LoRA logits. Ensure training was not resumed from a `save_only_topk_weights` model."
            )
        return self._mixed(self.vblora_logits_A).flatten(1), self._mixed(self.vblora_logits_B).mT.flatten(0, 1)

    def _mixed(self, logits: Tensor) -> Tensor:
        """(…, num_vectors) -> (…, vector_length)."""
        highest, which = logits.topk(self.topk, dim=-1)
        bank = self.shared[0].vblora_vector_bank
        return (highest.softmax(-1).unsqueeze(-1) * bank.to(logits.device)[which]).sum(-2)

    def change(self) -> Tensor:
        """What is added to the weight: (out, in)."""
        a, b = self.factors()
        return b @ a

    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        result = base(x)
        a, b = self.factors()
        x = self.vblora_dropout(as_computed(x, a.dtype))
        return result + functional.linear(functional.linear(x, a), b).to(result.dtype)


@final
class VBLoRAFamily(LayerFamily):
    name = "VBLORA"
    prefix = "vblora_"
    config = VBLoRAConfig
    targets = LORA.targets
    targets_of: ClassVar[Mapping[str, Sequence[str] | str]] = {**LORA.targets_of, **MORE}
    functions = FUNCTIONS

    def layer(self, frozen: Frozen, config: Any, shared: Any) -> LayerMethod:
        return VBLoRA(frozen, config, shared)

    def shared(self, config: Any, model: nn.Module, layers: Sequence[Frozen], others: Mapping[str, Any]) -> Placed:
        return Bank(config, layers)

    def before_load(
        self, config: Any, methods: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        return lengthened(tensors, config.num_vectors)

    def before_save(
        self, config: Any, methods: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        return (
            cut_short(tensors, FACTORS, config.topk, config.num_vectors) if config.save_only_topk_weights else tensors
        )


METHOD = VBLoRAFamily()
