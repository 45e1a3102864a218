"""BOFT: rotates a layer's input by a product of block-diagonal rotations, whose blocks take the dimensions in
different orders (a butterfly structure), and scales its outputs (Liu et al. 2024, https://arxiv.org/abs/2311.06243).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from tuning.config import LayerConfig, fraction, one_of, positive
from tuning.errors import ConfigError
from tuning.kinds import CONV, LINEAR, Affine, Frozen
from tuning.layer_method import Layer, LayerMethod, as_computed
from tuning.methods.lora import METHOD as LORA
from tuning.registry import LayerFamily
from tuning.rotations import butterflies, cayley, check_blocks, rotated, some_left_out


@dataclass(kw_only=True)
class BOFTConfig(LayerConfig):
    """`boft_block_num` blocks or blocks of `boft_block_size`: give one, the other is 0. With one butterfly factor it is OFT."""

    METHOD: ClassVar[str] = "BOFT"

    boft_block_size: int = 4
    boft_block_num: int = 0
    boft_n_butterfly_factor: int = 1
    boft_dropout: float = 0.0
    fan_in_fan_out: bool = False  # read and written for PEFT; a layer's own kind says how its weight lies
    bias: str = "none"
    init_weights: bool = True

    def check(self) -> None:
        super().check()
        check_blocks(boft_block_size=self.boft_block_size, boft_block_num=self.boft_block_num)
        positive(boft_n_butterfly_factor=self.boft_n_butterfly_factor)
        fraction(boft_dropout=self.boft_dropout)
        one_of("bias", self.bias, ("none", "all", "boft_only"))


@final
class BOFT(LayerMethod):
    """x ↦ s ⊙ W x R + bias, where base(x) is W x + bias. boft_R: (factors, blocks, size, size), boft_s: (out, 1).

    R is Mₙ … M₁, each Mᵢ block-diagonal on dimensions in its own order. Only the skew-symmetric part of boft_R counts.
    """

    orders: Tensor  # (factors, in): for each factor the dimensions in its order
    places: Tensor  # the way back

    def __init__(self, frozen: Frozen, config: BOFTConfig, shared: None) -> None:
        super().__init__()
        blocks, size = _sizes(config, frozen)
        self.dropout = config.boft_dropout
        self.boft_R = nn.Parameter(torch.zeros(config.boft_n_butterfly_factor, blocks, size, size))
        self.boft_s = nn.Parameter(torch.ones((1, frozen.shape[0]) if frozen.role == CONV else (frozen.shape[0], 1)))
        if not config.init_weights:
            nn.init.normal_(self.boft_R, std=0.1)
            nn.init.normal_(self.boft_s, mean=1.0, std=0.1)
        self.set_orders()

    def set_orders(self) -> None:
        """`orders` and `places`, for the factors that there are."""
        factors, blocks, size, _ = self.boft_R.shape
        orders = butterflies(blocks * size, size, factors).to(self.boft_R.device)
        self.register_buffer("orders", orders, persistent=False)
        self.register_buffer("places", orders.argsort(dim=1), persistent=False)

    def rotations(self) -> Tensor:
        """(factors, blocks, size, size), orthogonal."""
        flat = self.boft_R.flatten(0, 1)
        return cayley((flat - flat.mT) / 2).view_as(self.boft_R)

    def _turned(self, x: Tensor, rotations: Sequence[Tensor] | Tensor, *, back: bool = False) -> Tensor:
        """x R, or `back`: x Rᵀ. x: (…, in)."""
        factors = range(len(rotations))
        for factor in factors if back else reversed(factors):
            blocks = rotations[factor].mT if back else rotations[factor]
            x = rotated(x[..., self.places[factor]], blocks)[..., self.orders[factor]]
        return x

    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        if frozen.role == CONV:
            return self.by_weights(base, x, frozen)
        rotations = list(self.rotations())
        if self.training and self.dropout:
            factor = int(torch.randint(0, len(rotations), (1,)))
            rotations[factor] = some_left_out(rotations[factor], self.dropout)
        turned = self._turned(as_computed(x, self.boft_R.dtype), rotations)
        result, bias = base(as_computed(turned, x.dtype)), frozen.bias
        scale = self.boft_s.flatten()
        return (result * scale if bias is None else (result - bias) * scale + bias).to(result.dtype)

    def merged(self, affine: Affine, frozen: Frozen) -> Affine:
        """s ⊙ W Rᵀ: the scale leaves the bias alone."""
        weight = affine.weight
        turned = self._turned(weight, self.rotations().to(weight.dtype), back=True)
        return affine._replace(weight=turned * self.boft_s.view(-1, 1).to(weight.dtype))

    def unmerged(self, affine: Affine, frozen: Frozen) -> Affine:
        weight = affine.weight / self.boft_s.view(-1, 1).to(affine.weight.dtype)
        return affine._replace(weight=self._turned(weight, self.rotations().to(weight.dtype)))


def _sizes(config: BOFTConfig, frozen: Frozen) -> tuple[int, int]:
    """(number of blocks, size of a block). Raises ConfigError where they don't fit the layer or the butterfly."""
    into, factors = frozen.shape[1], config.boft_n_butterfly_factor
    option = "boft_block_size" if config.boft_block_size else "boft_block_num"
    asked = config.boft_block_size or config.boft_block_num
    if into % asked:
        raise ConfigError(f"{option} is {asked}, which does not divide the {into} inputs of '{frozen.name}'")
    blocks, size = (into // asked, asked) if config.boft_block_size else (asked, into // asked)
    if factors > 1 and (blocks % 2 ** (factors - 1) or size % 2):
        raise ConfigError(
            f"{factors} butterfly factors need blocks of an even size, in a number that {2 ** (factors - 1)} divides; "
            f"'{frozen.name}' has {blocks} of size {size}"
        )
    return blocks, size


@final
class BOFTFamily(LayerFamily):
    name = "BOFT"
    prefix = "boft_"
    config = BOFTConfig
    roles = frozenset({LINEAR, CONV})
    targets = LORA.targets
    targets_of = LORA.targets_of

    def layer(self, frozen: Frozen, config: Any, shared: Any) -> LayerMethod:
        return BOFT(frozen, config, shared)

    def before_load(
        self, config: Any, methods: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        """Give layers as many factors as the checkpoint has: PEFT makes one, whatever is asked, where it can't build its kernel."""
        for start, method in methods.items():
            if method.take_ranks(start, tensors, {"boft_R": 0}):
                method.set_orders()
        return tensors


METHOD = BOFTFamily()
