"""One adapter on one layer: what every method that adapts layers derives from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import NoReturn, final

import torch
from torch import Tensor, nn

from tuning.errors import AdapterError, NoWeights
from tuning.kinds import Affine, Frozen
from tuning.placement import Placed

Layer = Callable[[Tensor], Tensor]


class LayerMethod(Placed, ABC):
    """One adapter on one layer. Its parameters have PEFT's names, without the adapter's.

    A subclass is made as `Method(frozen, config, shared)`: the layer it sits on, what was asked, and what all layers of this
    adapter have in common (see `tuning.registry`). It must be the identity at its start unless its config says otherwise.
    """

    tied = False  # whether its parameters are those of the same adapter on another layer, whose weight this layer's is
    saved = True  # whether a checkpoint has its parameters
    saves_embedding = True  # whether a checkpoint has the embedding that it sits on, as PEFT does it
    follows_ties = False  # whether merging it changes layers that share a weight alike

    converts = False  # whether what it does to a linear layer is a change of its weight, for which a LoRA can stand (`tuning.conversion`)

    def factored(self, frozen: Frozen) -> tuple[Tensor, Tensor] | None:
        """A (r, in) and B (out, r), where its change is B A as it stands."""
        return None

    @abstractmethod
    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        """The layer's output for x (…, in) (an embedding: token ids); `base` is the layer below, adapters and all."""

    @abstractmethod
    def merged(self, affine: Affine, frozen: Frozen) -> Affine:
        """The layer with this adapter in it: what `forward` computes, as weights."""

    @abstractmethod
    def unmerged(self, affine: Affine, frozen: Frozen) -> Affine:
        """The inverse of `merged`."""

    def delta(self, frozen: Frozen) -> Tensor:
        """What it changes in the weight: (out, in). Raises AdapterError where that depends on a weight that it is merged into."""
        if self.adapter in getattr(self.owner, "merged_adapters", ()):
            raise AdapterError(
                f"'{self.adapter}' is merged into '{frozen.name}': unmerge it to see what it changes there"
            )
        before = frozen.summable
        return self.merged(before, frozen).weight - before.weight

    def take_ranks(self, start: str, tensors: Mapping[str, Tensor], axes: Mapping[str, int]) -> bool:
        """Give parameters as many ranks as a checkpoint has, zeros until it is loaded; returns whether that changed them.

        `axes`: a parameter's name -> the dimension of its ranks. Not where one is missing, or is of another shape otherwise.
        """
        found = [
            (name, self.get_parameter(name), tensors[f"{start}.{name}"], at)
            for name, at in axes.items()
            if f"{start}.{name}" in tensors
        ]
        fit = len(found) == len(axes) and all(
            there.ndim == own.ndim and there.movedim(at, 0).shape[1:] == own.movedim(at, 0).shape[1:]
            for _, own, there, at in found
        )
        if not fit or len({there.shape[at] for *_, there, at in found}) > 1 or found[0][1].shape == found[0][2].shape:
            return False
        for name, own, there, _ in found:
            path, _, last = name.rpartition(".")
            setattr(self.get_submodule(path), last, nn.Parameter(own.new_zeros(there.shape), own.requires_grad))
        return True

    def by_weights(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        """What `forward` gives where it is computed from the changed weight: for layers that are no plain product."""
        dtype = next(self.parameters()).dtype
        before = Affine(frozen.weight.to(dtype), frozen.bias)
        change = self.merged(before, frozen).weight - before.weight
        result = base(x)
        x = x if x.dtype == dtype or not x.is_floating_point() else x.to(dtype)
        return result + frozen.kind.apply(frozen.module, x, change).to(result.dtype)


class Additive(LayerMethod):
    """A method that adds `change()` to its layer's weight, and nothing to its bias."""

    converts = True

    @abstractmethod
    def change(self) -> Tensor:
        """Of the weight's shape."""

    def delta(self, frozen: Frozen) -> Tensor:
        return self.change()

    def merged(self, affine: Affine, frozen: Frozen) -> Affine:
        return affine._replace(weight=affine.weight + self.change().to(affine.weight))

    def unmerged(self, affine: Affine, frozen: Frozen) -> Affine:
        return affine._replace(weight=affine.weight - self.change().to(affine.weight))


class Unmergeable(LayerMethod):
    """A method that adds what no weights can stand for. Its family says `merges = False`, so that a tuner refuses before it asks this."""

    @final
    def merged(self, affine: Affine, frozen: Frozen) -> NoReturn:
        raise NoWeights(
            f"{type(self).__name__} adds to '{frozen.name}' what is no change of its weights: it can't be merged"
        )

    unmerged = merged


def as_computed(x: Tensor, dtype: torch.dtype) -> Tensor:
    """x in the precision that an adapter computes in, unless autocast decides that."""
    return x if x.dtype == dtype or torch.is_autocast_enabled(x.device.type) else x.to(dtype)
