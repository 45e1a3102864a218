"""How LoRA's two factors lie on each kind of layer: what they are made as, and the change of the weight that they stand for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuning.errors import ConfigError
from tuning.kinds import ATTENTION, CONV, EMBEDDING, LINEAR, PARAMETER, Frozen, ParameterKind

A, B = "lora_A", "lora_B"


class Form(ABC):
    """One kind of layer. `names`: of the two factors, as PEFT has them."""

    names = (A, B)

    @abstractmethod
    def make(self, frozen: Frozen, r: int, bias: bool) -> tuple[Any, Any]:
        """The factors, as modules or parameters."""

    def change(self, a: Tensor, b: Tensor, frozen: Frozen) -> Tensor:
        """What B A adds to the weight, unscaled: (out, in); of an embedding (tokens, dimensions)."""
        return b @ a

    def for_norm(self, a: Tensor, b: Tensor, frozen: Frozen) -> Tensor:
        """What DoRA takes the norm of, beside the weight."""
        return self.change(a, b, frozen)

    def low(self, x: Tensor, a: Any, b: Any, scaling: float, frozen: Frozen) -> Tensor:
        """What is added to the layer's output."""
        if b.bias is not None:
            return b(a(x)) * scaling
        return b(a(x) * scaling)  # r values a token, where the output has more

    def along(self, vector: Tensor, frozen: Frozen) -> Tensor:
        """A value for each output, to be multiplied with the layer's outputs."""
        return vector


class _Products(Form):
    def make(self, frozen: Frozen, r: int, bias: bool) -> tuple[Any, Any]:
        out, into = frozen.shape
        return nn.Linear(into, r, bias=False), nn.Linear(r, out, bias=bias)


class _Lookups(Form):
    """A: (r, tokens), B: (dimensions, r)."""

    names = ("lora_embedding_A", "lora_embedding_B")

    def make(self, frozen: Frozen, r: int, bias: bool) -> tuple[Any, Any]:
        out, into = frozen.shape
        return nn.Parameter(torch.zeros(r, into)), nn.Parameter(torch.randn(out, r))

    def change(self, a: Tensor, b: Tensor, frozen: Frozen) -> Tensor:
        return (b @ a).T

    def low(self, x: Tensor, a: Any, b: Any, scaling: float, frozen: Frozen) -> Tensor:
        module: Any = frozen.module
        found = functional.embedding(
            x, a.T, padding_idx=module.padding_idx, max_norm=module.max_norm, norm_type=module.norm_type,
            scale_grad_by_freq=module.scale_grad_by_freq, sparse=module.sparse,
        )  # fmt: skip
        low = found @ b.T * scaling
        scale = getattr(module, "embed_scale", None)  # some models scale in their embedding's forward
        return low if scale is None else low * (scale.to(low) if isinstance(scale, Tensor) else scale)


class _Convolutions(Form):
    """A convolves into r channels as the layer does, B mixes these at each place."""

    def make(self, frozen: Frozen, r: int, bias: bool) -> tuple[Any, Any]:
        module: Any = frozen.module
        if r % module.groups:
            raise ConfigError(
                f"'{frozen.name}' convolves {module.groups} groups apart, and r is {r}: take a multiple of {module.groups}, in rank_pattern for "
                "this layer alone, or leave it out (exclude_modules)"
            )
        kind = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[len(module.kernel_size)]
        a = kind(module.in_channels, r, module.kernel_size, module.stride, module.padding, module.dilation, bias=False,
                 padding_mode=module.padding_mode)  # fmt: skip
        return a, kind(r, module.out_channels, 1, groups=module.groups, bias=bias)

    def change(self, a: Tensor, b: Tensor, frozen: Frozen) -> Tensor:
        module: Any = frozen.module
        groups = module.groups
        if groups == 1:
            return b.flatten(1) @ a.flatten(1)
        raise ConfigError(
            f"'{frozen.name}' has {groups} groups, which its adapter mixes: no weight of the layer's shape does the same, so it can't be merged"
        )

    def for_norm(self, a: Tensor, b: Tensor, frozen: Frozen) -> Tensor:
        """With groups there is no change of the weight's shape: as PEFT, the factors' product read in the weight's shape."""
        module: Any = frozen.module
        if module.groups == 1:
            return self.change(a, b, frozen)
        r = len(a)
        return (b.reshape(-1, r) @ a.reshape(r, -1)).reshape(frozen.shape)

    def low(self, x: Tensor, a: Any, b: Any, scaling: float, frozen: Frozen) -> Tensor:
        return b(a(x)) * scaling

    def along(self, vector: Tensor, frozen: Frozen) -> Tensor:
        module: Any = frozen.module
        return vector.view(-1, *[1] * len(module.kernel_size))


class _Experts(Form):
    """A: (r · experts, in), B: (out, r · experts); an expert's rows of A are together, its columns of B are `experts` apart, as in PEFT."""

    def make(self, frozen: Frozen, r: int, bias: bool) -> tuple[Any, Any]:
        kind = cast(ParameterKind, frozen.kind)
        if kind.parameter(frozen.module).ndim not in (2, 3):
            raise ConfigError(
                f"'{frozen.name}' has {kind.parameter(frozen.module).ndim} dimensions; a matrix has two, and experts in one parameter three"
            )
        out, into = frozen.shape
        count = r * kind.experts(frozen.module)
        return nn.Linear(into, count, bias=False), nn.Linear(count, out, bias=False)

    def change(self, a: Tensor, b: Tensor, frozen: Frozen) -> Tensor:
        kind = cast(ParameterKind, frozen.kind)
        experts = kind.experts(frozen.module)
        if kind.parameter(frozen.module).ndim == 2:
            return b @ a
        first, second = a.view(experts, -1, a.shape[-1]), b.view(len(b), -1, experts)
        order = "ore,eri->eoi" if kind.first_out(frozen.module) else "ore,eri->eio"
        return torch.einsum(order, second, first)


FORMS: Mapping[str, Form] = {
    LINEAR: _Products(),
    ATTENTION: _Products(),
    EMBEDDING: _Lookups(),
    CONV: _Convolutions(),
    PARAMETER: _Experts(),
}
