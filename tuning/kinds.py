"""The kinds of layer that can be adapted, and how each keeps its weights. The only place that knows them.

Methods see one view of all of them: `Frozen`, with weights of shape (out, in) in the layer's own precision or, where the
layer is quantised, as what it stands for.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple, final

import torch
from torch import Tensor, nn

LINEAR, EMBEDDING, NORM = "linear", "embedding", "norm"


class Affine(NamedTuple):
    """weight: (out, in), of an embedding (tokens, dimensions), of a norm (dimensions,). bias: (out,) or None."""

    weight: Tensor
    bias: Tensor | None


class Kind(ABC):
    """One class of layers: whether a module is one, and its weights as (out, in)."""

    role: str  # LINEAR, EMBEDDING or NORM: what methods distinguish
    quantised: bool = False
    transposed: bool = False  # whether the module keeps its weight as (in, out)

    @abstractmethod
    def matches(self, module: nn.Module) -> bool: ...

    @abstractmethod
    def read(self, module: nn.Module) -> Tensor: ...

    @abstractmethod
    def write(self, module: nn.Module, weight: Tensor) -> None: ...

    @abstractmethod
    def held(self, module: nn.Module) -> Tensor:
        """The weight as it is stored, to be `put_back` once `write` has changed it. No copy: `write` puts another in its place."""

    @abstractmethod
    def put_back(self, module: nn.Module, held: Tensor) -> None: ...

    def precision(self, module: nn.Module) -> torch.dtype:
        """What adapters of this layer compute in."""
        return module.get_parameter("weight").dtype


@final
class _Plain(Kind):
    """A layer whose weight stands as it is, or transposed."""

    def __init__(self, role: str, is_one: Callable[[nn.Module], bool], transposed: bool = False) -> None:
        self.role, self._is_one, self.transposed = role, is_one, transposed

    def matches(self, module: nn.Module) -> bool:
        return self._is_one(module)

    def read(self, module: nn.Module) -> Tensor:
        weight = module.get_parameter("weight")
        return weight.T if self.transposed else weight

    def write(self, module: nn.Module, weight: Tensor) -> None:
        kept = module.get_parameter("weight")
        kept.data = (weight.T if self.transposed else weight).to(kept.dtype).contiguous()

    def held(self, module: nn.Module) -> Tensor:
        return module.get_parameter("weight").data

    def put_back(self, module: nn.Module, held: Tensor) -> None:
        module.get_parameter("weight").data = held


def _is_norm(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return isinstance(weight, Tensor) and weight.ndim == 1 and "norm" in type(module).__name__.lower()


def kinds() -> tuple[Kind, ...]:
    """All kinds that can be here, quantised ones first: they are subclasses of the plain ones."""
    return _kinds(sys.modules.get("bitsandbytes") is not None)


@cache
def _kinds(with_quantised: bool) -> tuple[Kind, ...]:
    from transformers.pytorch_utils import Conv1D

    from tuning.quantised import quantised_kinds

    return (
        *(quantised_kinds() if with_quantised else ()),
        _Plain(LINEAR, lambda module: isinstance(module, nn.Linear)),
        _Plain(LINEAR, lambda module: isinstance(module, Conv1D), transposed=True),
        _Plain(EMBEDDING, lambda module: isinstance(module, nn.Embedding)),
        _Plain(NORM, _is_norm),
    )


def kind_of(module: nn.Module) -> Kind | None:
    """The kind that a module is of, or None where no method can adapt it."""
    return next((kind for kind in kinds() if kind.matches(module)), None)


@dataclass(frozen=True, kw_only=True)
class Frozen:
    """A base layer as methods see it. It never changes the layer: `merge.py` alone does."""

    name: str  # its path in the model
    module: nn.Module
    kind: Kind
    beneath: tuple[
        Callable[[Affine, Frozen], Affine], ...
    ] = ()  # how each adapter below this one in a stack changes it

    def under(self, merged: Callable[[Affine, Frozen], Affine]) -> Frozen:
        """The layer as the next in a stack sees it."""
        return replace(self, beneath=(*self.beneath, merged))

    @property
    def affine(self) -> Affine:
        affine = Affine(self.kind.read(self.module), getattr(self.module, "bias", None))
        for merged in self.beneath:
            affine = merged(affine, self)
        return affine

    @property
    def role(self) -> str:
        return self.kind.role

    @property
    def weight(self) -> Tensor:
        """(out, in); of an embedding (tokens, dimensions); of a norm (dimensions,)."""
        return self.affine.weight

    @property
    def bias(self) -> Tensor | None:
        return self.affine.bias if self.beneath else getattr(self.module, "bias", None)

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in) without reading a quantised weight; of an embedding (dimensions, tokens); of a norm (d, d)."""
        module: Any = self.module
        if self.role == EMBEDDING:
            return module.embedding_dim, module.num_embeddings
        if hasattr(module, "in_features"):
            return module.out_features, module.in_features
        weight = self.weight
        return weight.shape[0], weight.shape[-1]

    @property
    def dtype(self) -> torch.dtype:
        return self.kind.precision(self.module)

    @property
    def device(self) -> torch.device:
        return self.module.get_parameter("weight").device
