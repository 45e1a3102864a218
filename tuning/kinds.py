"""The kinds of layer that can be adapted, and how each keeps its weights. The only place that knows them.

Methods see one view of all of them: `Frozen`, with weights of shape (out, in) in the layer's own precision or, where the
layer is quantised, as what it stands for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuning.errors import TargetError

LINEAR, EMBEDDING, NORM, CONV = "linear", "embedding", "norm", "convolution"
ATTENTION, PARAMETER = "attention", "parameter"
BLOCK, DECODER = "attention block", "decoder block"


class Affine(NamedTuple):
    """weight: (out, in), of an embedding (tokens, dimensions), of a norm (dimensions,), of a convolution (out, in · kernel). bias: (out,)
    or None.
    """

    weight: Tensor
    bias: Tensor | None


class Kind(ABC):
    """One class of layers: whether a module is one, and its weights as (out, in)."""

    role: str  # LINEAR, EMBEDDING …: what methods distinguish
    quantised: bool = False
    backend: str | None = None  # PEFT's name for how it is quantised
    transposed: bool = False  # whether the module keeps its weight as (in, out)
    stands_for: torch.dtype | None = (
        None  # what its weight is read as, while it is held in fewer bits that have the same values
    )
    by_weight: bool = (
        False  # whether adapters change the weight for a forward pass: what the module computes is no product with it
    )

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

    def parameter(self, module: nn.Module) -> nn.Parameter:
        """The weight as the module has it: a parameter, or under FSDP a view of one."""
        found: Any = module
        return found.weight

    def bias(self, module: nn.Module) -> Tensor | None:
        return getattr(module, "bias", None)

    def shape(self, module: nn.Module) -> tuple[int, int]:
        """(out, in) without reading a quantised weight; of an embedding (dimensions, tokens); of a norm (d, d)."""
        found: Any = module
        if hasattr(module, "in_features"):
            return found.out_features, found.in_features
        weight = self.read(module)
        return weight.shape[0], weight.shape[-1]

    def apply(self, module: nn.Module, x: Tensor, weight: Tensor) -> Tensor:
        """The layer's output for x with another weight (out, in), without a bias."""
        return functional.linear(x, weight)

    def precision(self, module: nn.Module) -> torch.dtype:
        """What adapters of this layer compute in."""
        dtype = self.stands_for or self.parameter(module).dtype
        return torch.get_default_dtype() if dtype.itemsize == 1 else dtype  # float8 is only how a weight is stored


class _Stored(Kind):
    """A layer whose weight stands as it is, or transposed."""

    def read(self, module: nn.Module) -> Tensor:
        weight = self.parameter(module)
        if weight.is_floating_point():
            weight = weight.to(self.precision(module))
        return weight.T if self.transposed else weight

    def write(self, module: nn.Module, weight: Tensor) -> None:
        there = self.parameter(module)
        there.data = (weight.T if self.transposed else weight).reshape(there.shape).to(there.dtype).contiguous()

    def held(self, module: nn.Module) -> Tensor:
        return self.parameter(module).data

    def put_back(self, module: nn.Module, held: Tensor) -> None:
        self.parameter(module).data = held


class Plain(_Stored):
    def __init__(self, role: str, is_one: Callable[[nn.Module], bool], transposed: bool = False) -> None:
        self.role, self._is_one, self.transposed = role, is_one, transposed

    def matches(self, module: nn.Module) -> bool:
        return self._is_one(module)


class Embedding(Plain):
    def shape(self, module: nn.Module) -> tuple[int, int]:
        found: Any = module
        return found.embedding_dim, found.num_embeddings

    def apply(self, module: nn.Module, x: Tensor, weight: Tensor) -> Tensor:
        return functional.embedding(x, weight)


class Convolution(Plain):
    """Its weight (out, in / groups, …) is read as (out, in / groups · kernel)."""

    def read(self, module: nn.Module) -> Tensor:
        return super().read(module).flatten(1)

    def apply(self, module: nn.Module, x: Tensor, weight: Tensor) -> Tensor:
        found: Any = module
        return found._conv_forward(x, weight.view(found.weight.shape), None)


class Attention(_Stored):
    """`nn.MultiheadAttention` with one projection of queries, keys and values: in_proj_weight (3 · dimensions, dimensions)."""

    role, by_weight = ATTENTION, True

    def matches(self, module: nn.Module) -> bool:
        return isinstance(module, nn.MultiheadAttention)

    def parameter(self, module: nn.Module) -> nn.Parameter:
        if getattr(module, "in_proj_weight", None) is None:
            raise TargetError(
                "this MultiheadAttention has a weight each for queries, keys and values (kdim, vdim): only one with in_proj_weight can be adapted"
            )
        found: Any = module
        return found.in_proj_weight

    def bias(self, module: nn.Module) -> Tensor | None:
        return getattr(module, "in_proj_bias", None)


class ParameterKind(_Stored):
    """One parameter of any module: (out, in), or with one of these an expert (experts, in, out) or (experts, out, in)."""

    role, by_weight = PARAMETER, True

    def __init__(self, name: str) -> None:
        self.name = name  # PEFT's layers have it as `parameter_name`

    def matches(self, module: nn.Module) -> bool:
        return False  # meant by name only

    def parameter(self, module: nn.Module) -> nn.Parameter:
        return getattr(module, self.name)

    def bias(self, module: nn.Module) -> Tensor | None:
        return None

    def experts(self, module: nn.Module) -> int:
        weight = self.parameter(module)
        return len(weight) if weight.ndim == 3 else 1

    def first_out(self, module: nn.Module) -> bool:
        """Whether an expert's weight is (out, in)."""
        return self.parameter(module).ndim == 2 or not getattr(module, "is_transposed", False)

    def shape(self, module: nn.Module) -> tuple[int, int]:
        first, last = self.parameter(module).shape[-2:]
        return (first, last) if self.first_out(module) else (last, first)


class Block(_Stored):
    """A model's whole attention: a method adds to what it gives. `first`: its projection that stands for its weights."""

    role = BLOCK

    def __init__(self, first: str) -> None:
        self.first = first

    def matches(self, module: nn.Module) -> bool:
        return False  # meant by name only

    def parameter(self, module: nn.Module) -> nn.Parameter:
        return getattr(module, self.first).weight

    def bias(self, module: nn.Module) -> Tensor | None:
        return None


class Decoder(_Stored):
    """One of a model's blocks as a whole: a method changes what it is given. Its first weight stands for all."""

    role = DECODER

    def matches(self, module: nn.Module) -> bool:
        return False  # meant by name only

    def parameter(self, module: nn.Module) -> nn.Parameter:
        return next(each for each in module.parameters() if each.is_floating_point() and each.dtype.itemsize > 1)

    def bias(self, module: nn.Module) -> Tensor | None:
        return None


@dataclass(frozen=True, kw_only=True)
class Frozen:
    """A base layer as methods see it. It never changes the layer: `merge.py` alone does."""

    name: str  # its path in the model
    module: nn.Module
    kind: Kind
    given: Mapping[str, Any] = field(
        default_factory=dict, compare=False
    )  # what a block was given beside its input, in this call
    beneath: tuple[
        Callable[[Affine, Frozen], Affine], ...
    ] = ()  # how each adapter below this one in a stack changes it

    def under(self, merged: Callable[[Affine, Frozen], Affine]) -> Frozen:
        """The layer as the next in a stack sees it."""
        return replace(self, beneath=(*self.beneath, merged))

    @property
    def affine(self) -> Affine:
        affine = Affine(self.kind.read(self.module), self.kind.bias(self.module))
        for merged in self.beneath:
            affine = merged(affine, self)
        return affine

    @property
    def summable(self) -> Affine:
        """`affine` in a precision that sums can be made in."""
        weight, bias = self.affine
        if weight.dtype in (torch.float16, torch.bfloat16):
            weight, bias = weight.float(), None if bias is None else bias.float()
        return Affine(weight, bias)

    @property
    def role(self) -> str:
        return self.kind.role

    @property
    def weight(self) -> Tensor:
        return self.affine.weight

    @property
    def bias(self) -> Tensor | None:
        return self.affine.bias if self.beneath else self.kind.bias(self.module)

    @property
    def shape(self) -> tuple[int, int]:
        return self.kind.shape(self.module)

    @property
    def dtype(self) -> torch.dtype:
        return self.kind.precision(self.module)

    @property
    def device(self) -> torch.device:
        return self.kind.parameter(self.module).device
