"""SHiRA: a few values of a weight, at places drawn once, trained by themselves (Bhardwaj et al. 2024, https://arxiv.org/abs/2406.13175)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuning.config import LayerConfig, positive
from tuning.errors import ConfigError
from tuning.kinds import Frozen
from tuning.layer_method import Additive, Layer, LayerMethod, as_computed
from tuning.methods.lora import METHOD as LORA
from tuning.placement import OfAdapter
from tuning.registry import LayerFamily

RANDOM = "random"


@dataclass(kw_only=True)
class ShiraConfig(LayerConfig):
    """`r`: as many values are trained as LoRA of this rank has. `mask_type`: "random", drawn from `random_seed`, or any other name;
    then `config.mask_fn = function` says the places: function(layer, r) gives a mask of zeros and r · (out + in) ones, of the shape
    (out, in). Loading takes the places from the checkpoint, and needs no function.
    """

    METHOD: ClassVar[str] = "SHIRA"

    r: int = 32
    mask_type: str = RANDOM
    random_seed: int | None = None
    fan_in_fan_out: bool = False  # read and written for PEFT; a layer's own kind says how its weight lies
    init_weights: bool = True

    def check(self) -> None:
        super().check()
        positive(r=self.r)
        self.mask_fn: Callable[..., Tensor] | None = None  # no field: a function can't be written into a file


@final
class Shira(Additive):
    """x ↦ base(x) + scaling · S x, S (out, in) zero but for shira_weight (count,) at the places shira_indices (2, count)."""

    converts = False  # a sparse change has no low rank
    shira_indices: Tensor  # rows and columns, which a checkpoint has too
    scaling = OfAdapter[float]()

    def __init__(self, frozen: Frozen, config: ShiraConfig, shared: None) -> None:
        super().__init__()
        self.shape, self.scaling = frozen.shape, 1.0
        self.placed = config.mask_fn is not None or config.mask_type == RANDOM
        count = config.r * sum(self.shape)
        if count > self.shape[0] * self.shape[1]:
            raise ConfigError(
                f"r is {config.r}, which means {count} values, and '{frozen.name}' is {self.shape[0]} × {self.shape[1]}: take a lower r"
            )
        if config.mask_fn is not None:
            places = config.mask_fn(frozen.module, config.r).nonzero().T
        elif config.mask_type == RANDOM:
            places = _places(self.shape, count, config.random_seed)
        else:
            places = torch.full((2, count), -1)  # a checkpoint's take their place
        if places.shape != (2, count):
            raise ConfigError(
                f"mask_fn gave {places.shape[-1]} places for '{frozen.name}'; with r = {config.r} there have to be {count} of them"
            )
        self.register_buffer("shira_indices", places.to(torch.int32).contiguous())
        self.shira_weight = nn.Parameter(torch.zeros(count) if config.init_weights else torch.randn(count))

    def change(self) -> Tensor:
        """What is added to the weight: (out, in)."""
        rows, columns = self.shira_indices.long()
        if not self.placed:
            self.placed = bool((rows >= 0).all())
            if not self.placed:
                raise ConfigError("SHIRA does not know its places: set config.mask_fn, as mask_type is not 'random'")
        dense = torch.zeros(self.shape, dtype=self.shira_weight.dtype, device=self.shira_weight.device)
        return dense.index_put((rows, columns), self.shira_weight * self.scaling)

    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        result, change = base(x), self.change()
        return result + functional.linear(as_computed(x, change.dtype), change).to(result.dtype)


def _places(shape: tuple[int, int], count: int, seed: int | None) -> Tensor:
    """(2, count): rows and columns, row by row. PEFT's draw, which without a seed is that of a new generator."""
    generator = torch.Generator() if seed is None else torch.Generator().manual_seed(seed)
    flat = torch.randperm(shape[0] * shape[1], generator=generator)[:count].sort().values
    return torch.stack([flat // shape[1], flat % shape[1]])


@final
class ShiraFamily(LayerFamily):
    name = "SHIRA"
    prefix = "shira_"
    config = ShiraConfig
    targets = LORA.targets
    targets_of: ClassVar[Mapping[str, Sequence[str] | str]] = {**LORA.targets_of, "phi": ("q_proj", "v_proj")}

    def layer(self, frozen: Frozen, config: Any, shared: Any) -> LayerMethod:
        return Shira(frozen, config, shared)


METHOD = ShiraFamily()
