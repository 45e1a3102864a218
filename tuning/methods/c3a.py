"""C3A: a change made of circulant blocks, each a circular convolution with a learned kernel (Chen et al. 2024,
https://arxiv.org/abs/2407.19342).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from tuning.config import LayerConfig, one_of, positive
from tuning.errors import ConfigError
from tuning.kinds import Frozen
from tuning.layer_method import Additive, Layer, LayerMethod
from tuning.methods.fourierft import METHOD as FOURIERFT
from tuning.patterns import value_for
from tuning.registry import LayerFamily
from tuning.rotations import solvable


@dataclass(kw_only=True)
class C3AConfig(LayerConfig):
    """`init_weights`: "xavier_uniform" (as False is), "kaiming_uniform", "gaussian", or True, which is zero and the identity."""

    METHOD: ClassVar[str] = "C3A"

    block_size: int = 256
    bias: str = "none"
    block_size_pattern: dict[str, int] | None = field(default_factory=dict)
    init_weights: bool | str | None = "xavier_uniform"

    def check(self) -> None:
        super().check()
        positive(block_size=self.block_size)
        one_of("bias", self.bias, ("none", "all", "c3a_only"))
        one_of("init_weights", self.init_weights, (True, False, "gaussian", "kaiming_uniform", "xavier_uniform"))


@final
class C3A(Additive):
    """x ↦ base(x) + C x / in, C of blocks (size, size): block (m, n) has w[(j - i) mod size] at (i, j), w = c3a_kernel[m, n].
    c3a_kernel: (out / size, in / size, size).

    Computed by Fourier transforms: each product with a block is a circular correlation, in single precision at least.
    """

    def __init__(self, frozen: Frozen, config: C3AConfig, shared: None) -> None:
        super().__init__()
        out, into = frozen.shape
        size = value_for(config.block_size_pattern, frozen.name, config.block_size)
        if size <= 0 or out % size or into % size:
            raise ConfigError(
                f"block_size is {size}, and '{frozen.name}' is {out} × {into}: the block size should be a factor of both"
                f"; the largest is {math.gcd(out, into)}"
            )
        self.c3a_kernel = nn.Parameter(torch.zeros(out // size, into // size, size))
        if config.init_weights == "gaussian":
            nn.init.normal_(self.c3a_kernel)
        elif config.init_weights is not True:
            spread = 1 / into if config.init_weights == "kaiming_uniform" else 6 / (out + into)
            nn.init.uniform_(self.c3a_kernel, -math.sqrt(spread), math.sqrt(spread))

    def change(self) -> Tensor:
        """What is added to the weight: (out, in)."""
        _, blocks, size = self.c3a_kernel.shape
        place = torch.arange(size, device=self.c3a_kernel.device)
        circulant = self.c3a_kernel[..., (place - place.unsqueeze(1)) % size]  # (out / size, in / size, size, size)
        return circulant.transpose(1, 2).flatten(2, 3).flatten(0, 1) / (blocks * size)

    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        result, kernel = base(x), solvable(self.c3a_kernel)
        _, blocks, size = kernel.shape
        added: Any = Correlated.apply(x.unflatten(-1, (blocks, size)), kernel)
        return result + (added.flatten(-2) / (blocks * size)).to(result.dtype)


@final
class Correlated(torch.autograd.Function):
    """Circular correlations (…, m, size) of x (…, n, size) with kernels (m, n, size), summed over n. The backward pass transforms x
    again: its waves are twice as large, in single precision.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor) -> Tensor:
        ctx.save_for_backward(x, kernel)
        waves, kernels = torch.fft.rfft(x.to(kernel.dtype)), torch.fft.rfft(kernel)
        return torch.fft.irfft(torch.einsum("...nf,mnf->...mf", waves, kernels.conj()), n=x.shape[-1])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, kernel = ctx.saved_tensors
        gradient, size = torch.fft.rfft(grad_outputs[0]), x.shape[-1]
        waves, kernels = torch.fft.rfft(x.to(kernel.dtype)), torch.fft.rfft(kernel)
        of_x = torch.fft.irfft(torch.einsum("...mf,mnf->...nf", gradient, kernels), n=size)
        of_kernel = torch.fft.irfft(torch.einsum("...mf,...nf->mnf", gradient.conj(), waves), n=size)
        return of_x.to(x.dtype), of_kernel


@final
class C3AFamily(LayerFamily):
    name = "C3A"
    prefix = "c3a_"
    config = C3AConfig
    targets: ClassVar[Sequence[Sequence[str]]] = FOURIERFT.targets
    targets_of = FOURIERFT.targets_of

    def layer(self, frozen: Frozen, config: Any, shared: Any) -> LayerMethod:
        return C3A(frozen, config, shared)


METHOD = C3AFamily()
