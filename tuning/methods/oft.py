"""OFT: a layer's input turned by a learned rotation, made of small blocks (Qiu et al. 2023, https://arxiv.org/abs/2306.07280).
The rotation acts on the input and not on the weight (OFTv2, Qiu et al. 2025), so no matrix as large as the weight is made.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from tuning.config import LayerConfig, fraction, one_of
from tuning.kinds import CONV, EMBEDDING, LINEAR, Affine, Frozen
from tuning.layer_method import Layer, LayerMethod, as_computed
from tuning.methods.lora import METHOD as LORA
from tuning.registry import LayerFamily
from tuning.rotations import cayley, check_blocks, neumann, rotated, skew, solvable, some_left_out

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class OFTConfig(LayerConfig):
    """`r` blocks or blocks of `oft_block_size`: give one, the other is 0. `coft` keeps the rotation within `eps` of none."""

    METHOD: ClassVar[str] = "OFT"

    r: int = 0
    oft_block_size: int = 32
    module_dropout: float = 0.0
    fan_in_fan_out: bool = False  # read and written for PEFT; a layer's own kind says how its weight lies
    bias: str = "none"
    init_weights: bool = True
    coft: bool = False
    eps: float = 6e-5
    block_share: bool = False
    use_cayley_neumann: bool = True
    num_cayley_neumann_terms: int = 5

    def check(self) -> None:
        super().check()
        check_blocks(r=self.r, oft_block_size=self.oft_block_size)
        fraction(module_dropout=self.module_dropout)
        one_of("bias", self.bias, ("none", "all", "oft_only"))


class Rotation(nn.Module):
    """Learned blocks of a rotation. weight: (blocks, size · (size - 1) / 2), what is above the diagonals of skew-symmetric matrices."""

    def __init__(self, width: int, config: OFTConfig, name: str) -> None:
        super().__init__()
        self.config = config
        count, self.size = _sizes(width, config, name)
        self.weight = nn.Parameter(torch.zeros(1 if config.block_share else count, self.size * (self.size - 1) // 2))
        if not config.init_weights:
            nn.init.normal_(self.weight, std=0.1)

    def blocks(self) -> Tensor:
        """(blocks, size, size), or (1, size, size) where all are one."""
        if self.config.coft:
            self._constrain()
        skewed = skew(self.weight, self.size)
        if not self.config.use_cayley_neumann:
            return cayley(skewed)
        return neumann(skewed, self.config.num_cayley_neumann_terms)

    @torch.no_grad()
    def _constrain(self) -> None:
        """Bring matrices whose norm is above eps / √blocks back to it: the weight itself, whenever it is used."""
        limit = self.config.eps / torch.tensor(float(len(self.weight))).sqrt()  # single precision, as in PEFT
        norm = skew(self.weight, self.size).norm(dim=(1, 2)).unsqueeze(1)
        self.weight.copy_(torch.where(norm <= limit, self.weight, self.weight * limit / norm))

    def forward(self, x: Tensor) -> Tensor:
        blocks = self.blocks()
        if self.training and self.config.module_dropout and len(blocks) > 1:
            blocks = some_left_out(blocks, self.config.module_dropout)
        return rotated(as_computed(x, self.weight.dtype), blocks)


@final
class OFT(LayerMethod):
    """x ↦ base(x R), R (in, in) block-diagonal; of an embedding ids ↦ base(ids) R, R (dimensions, dimensions)."""

    def __init__(self, frozen: Frozen, config: OFTConfig, shared: None) -> None:
        super().__init__()
        if frozen.role == EMBEDDING:
            self.oft_embedding_R = Rotation(frozen.shape[0], config, frozen.name)
        else:
            self.oft_R = Rotation(frozen.shape[1], config, frozen.name)

    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        if frozen.role == CONV:
            return self.by_weights(base, x, frozen)
        if frozen.role == EMBEDDING:
            result = base(x)
            return self.oft_embedding_R(result).to(result.dtype)
        return base(as_computed(self.oft_R(x), x.dtype))

    def merged(self, affine: Affine, frozen: Frozen) -> Affine:
        """W Rᵀ; of an embedding W R."""
        if frozen.role == EMBEDDING:
            return self._turned(affine, self.oft_embedding_R.blocks())
        return self._turned(affine, self.oft_R.blocks().mT)

    def unmerged(self, affine: Affine, frozen: Frozen) -> Affine:
        """By the inverse: Neumann's series makes R orthogonal only nearly."""
        if frozen.role == EMBEDDING:
            return self._turned(affine, torch.linalg.inv(solvable(self.oft_embedding_R.blocks())))
        return self._turned(affine, torch.linalg.inv(solvable(self.oft_R.blocks())).mT)

    def _turned(self, affine: Affine, blocks: Tensor) -> Affine:
        return affine._replace(weight=rotated(affine.weight, blocks.to(affine.weight.dtype)))


def _sizes(width: int, config: OFTConfig, name: str) -> tuple[int, int]:
    """(number of blocks, size of a block) for so many dimensions: the nearest to what was asked that divides them."""
    asked = config.r or config.oft_block_size
    taken = min((size for size in range(1, width + 1) if width % size == 0), key=lambda size: (abs(size - asked), size))
    if taken != asked:
        option = "r" if config.r else "oft_block_size"
        log.warning("OFT on '%s': %s %d does not divide %d; %d is taken", name, option, asked, width, taken)
    return (taken, width // taken) if config.r else (width // taken, taken)


@final
class OFTFamily(LayerFamily):
    name = "OFT"
    prefix = "oft_"
    config = OFTConfig
    roles = frozenset({LINEAR, EMBEDDING, CONV})
    targets = LORA.targets
    targets_of = LORA.targets_of

    def layer(self, frozen: Frozen, config: Any, shared: Any) -> LayerMethod:
        return OFT(frozen, config, shared)


METHOD = OFTFamily()
