"""Random projections that all layers of an adapter share, made again from a seed wherever they were not saved: VeRA's, PVeRA's and
RandLoRA's.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tuning.errors import CheckpointError, ConfigError
from tuning.kinds import Frozen
from tuning.methods.lora import METHOD as LORA
from tuning.placement import Placed
from tuning.registry import LayerFamily

log = logging.getLogger(__name__)


class Projections(Placed):
    """Two buffers, named `{name}_A` and `{name}_B`. In half precision's place they are single, with the values that half has:
    an adapter computes in single precision, and is the same one as PEFT's.
    """

    def __init__(
        self, name: str, a: Tensor, b: Tensor, layers: Sequence[Frozen], *, key: int, saved: bool, made: bool = True
    ) -> None:
        super().__init__()
        self.name, self.saved, self.key = name, saved, key
        if not saved and made:
            log.warning(
                "%s's projections are not saved: whoever loads it makes them again from projection_prng_key", name
            )
        for own, tensor in ((f"{name}_A", a), (f"{name}_B", b)):
            if made:
                held = tensor.to(layers[0].dtype)
                held = held.float() if held.dtype in (torch.float16, torch.bfloat16) else held
                tensor = held.to(layers[0].device)
            self.register_buffer(own, tensor, persistent=saved)

    def get(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """(A, B) where, and in the precision that, another tensor is."""
        return self.get_buffer(f"{self.name}_A").to(like), self.get_buffer(f"{self.name}_B").to(like)


def uniform(
    name: str, config: Any, rows: int, layers: Sequence[Frozen], others: Mapping[str, Projections]
) -> Projections:
    """A: (rows, largest in), B: (largest out, r), by Kaiming's uniform rule from the config's seed; or those there are."""
    out, into = largest(layers)
    if (found := of_others(config, ((1, into), (0, out), (0, rows), (1, config.r)), others)) is not None:
        return found
    generator = torch.Generator().manual_seed(config.projection_prng_key)
    a, b = (
        torch.empty(shape).uniform_(-math.sqrt(6 / shape[1]), math.sqrt(6 / shape[1]), generator=generator)
        for shape in ((rows, into), (out, config.r))
    )
    return Projections(name, a, b, layers, key=config.projection_prng_key, saved=config.save_projection)


def of_others(config: Any, sizes: Sequence[tuple[int, int]], others: Mapping[str, Projections]) -> Projections | None:
    """The projections of the adapters of the same method that are there, which all of a model's share, or None.

    `sizes`: for A and for B the (dimension, size) that is needed at least. Raises ConfigError where they differ or are too small.
    """
    first = next(iter(others.values()), None)
    if first is None:
        return None
    title = type(config).__name__.removesuffix("Config").replace("Pvera", "PVeRA")  # as PEFT writes them
    if config.projection_prng_key != first.key:
        raise ConfigError(
            f"the {title} adapters of a model share their projections, which come from one projection_prng_key: it is {first.key} "
            f"for those that are there, and {config.projection_prng_key} for this one"
        )
    if config.save_projection != first.saved:
        raise ConfigError(
            f"the {title} adapters of a model share their projections, which are saved with all or with none: save_projection is "
            f"{first.saved} for those that are there, and {config.save_projection} for this one"
        )
    a, b = first.get_buffer(f"{first.name}_A"), first.get_buffer(f"{first.name}_B")
    for own, tensor, needed in (("A", a, sizes[0]), ("B", b, sizes[1]), ("A", a, sizes[2]), ("B", b, sizes[3])):
        at, size = needed
        if tensor.shape[at] < size:
            raise ConfigError(
                f"{first.name}_{own} has a size of {tensor.shape[at]} but {size} or greater is required: the adapters of a model share "
                "their projections; put the largest on first"
            )
    return Projections(first.name, a, b, (), key=first.key, saved=first.saved, made=False)


class ProjectedFamily(LayerFamily):
    """A method whose layers share projections: those of LoRA by default, saved once, as its config's `save_projection` says."""

    targets = LORA.targets
    targets_of = LORA.targets_of

    def shared_saved(self, config: Any) -> bool:
        return config.save_projection

    def before_load(
        self, config: Any, methods: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        return once(config, methods, tensors)


def largest(layers: Sequence[Frozen]) -> tuple[int, int]:
    """(out, in), each the largest among layers."""
    return max(layer.shape[0] for layer in layers), max(layer.shape[1] for layer in layers)


def once(config: Any, layers: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """A checkpoint without the copies of the projections that PEFT may have saved with each layer. Raises CheckpointError where there
    should be some and are none.
    """
    shared: Projections = next(iter(layers.values())).shared[0]
    ends = (f".{shared.name}_A", f".{shared.name}_B")
    kept = {key: tensor for key, tensor in tensors.items() if not key.endswith(ends)}
    if shared.saved:
        for end in ends:
            if f"base_model{end}" not in tensors:
                raise CheckpointError(
                    f"the checkpoint has no base_model{end}: it was saved with save_projection=False. Say so in its "
                    "adapter_config.json, and the projections are made again from projection_prng_key"
                )
            kept[f"base_model{end}"] = tensors[f"base_model{end}"]
    return kept
