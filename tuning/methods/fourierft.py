"""FourierFT: a weight's change as the inverse Fourier transform of a few learned coefficients at places drawn once (Gao et al.
2024, https://arxiv.org/abs/2405.03003).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuning.config import LayerConfig, one_of, positive
from tuning.errors import ConfigError
from tuning.kinds import Frozen
from tuning.layer_method import Additive, Layer, LayerMethod, as_computed
from tuning.methods.lora import METHOD as LORA
from tuning.patterns import value_for
from tuning.registry import LayerFamily


@dataclass(kw_only=True)
class FourierFTConfig(LayerConfig):
    """`init_weights`: True starts from zero, which is the identity; False, the default, at random, as in the paper."""

    METHOD: ClassVar[str] = "FOURIERFT"

    n_frequency: int = 1000
    scaling: float = 150.0
    random_loc_seed: int | None = 777
    fan_in_fan_out: bool = False  # read and written for PEFT; a layer's own kind says how its weight lies
    bias: str = "none"
    n_frequency_pattern: dict[str, int] | None = field(default_factory=dict)
    init_weights: bool = False

    def check(self) -> None:
        super().check()
        positive(n_frequency=self.n_frequency)
        one_of("bias", self.bias, ("none", "all", "fourier_only"))
        if self.random_loc_seed is None:
            raise ConfigError(
                "random_loc_seed is None: the places of the coefficients are drawn from it again on loading"
            )


@final
class FourierFT(Additive):
    """x ↦ base(x) + ΔW x, ΔW = scaling · Re F⁻¹(S), S (out, in) zero but for fourierft_spectrum (n_frequency,).

    Computed in single precision, as in PEFT, whatever the layer's is.
    """

    places: Tensor  # (2, n_frequency): rows and columns of S

    def __init__(self, frozen: Frozen, config: FourierFTConfig, shared: None) -> None:
        super().__init__()
        self.shape = frozen.shape
        count = value_for(config.n_frequency_pattern, frozen.name, config.n_frequency)
        if not 0 < count <= self.shape[0] * self.shape[1]:
            raise ConfigError(
                f"n_frequency is {count}; '{frozen.name}' is {self.shape[0]} × {self.shape[1]}, so it has to be from 1 to "
                f"{self.shape[0] * self.shape[1]}"
            )
        assert config.random_loc_seed is not None
        self.scaling = config.scaling
        self.register_buffer("places", drawn_places(*self.shape, count, config.random_loc_seed), persistent=False)
        self.fourierft_spectrum = nn.Parameter(torch.zeros(count) if config.init_weights else torch.randn(count))

    def change(self) -> Tensor:
        """ΔW: (out, in)."""
        spectrum = self.fourierft_spectrum
        dense = torch.zeros(self.shape, dtype=torch.float32, device=spectrum.device)
        dense[self.places[0], self.places[1]] = spectrum.float()
        return (torch.fft.ifft2(dense).real * self.scaling).to(spectrum.dtype)

    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        result, change = base(x), self.change()
        return result + functional.linear(as_computed(x, change.dtype), change).to(result.dtype)


@lru_cache(maxsize=16)
def drawn_places(out: int, into: int, count: int, seed: int) -> Tensor:
    """(2, count): rows and columns, the same for all layers of a shape. PEFT's draw, so that its checkpoints mean the same."""
    flat = torch.randperm(out * into, generator=torch.Generator().manual_seed(seed))[:count]
    return torch.stack([flat // into, flat % into])


@final
class FourierFTFamily(LayerFamily):
    name = "FOURIERFT"
    prefix = "fourierft_"
    config = FourierFTConfig
    targets_of = LORA.targets_of
    targets: ClassVar[Sequence[Sequence[str]]] = [
        ["mlp.c_proj"] if list(group) == ["c_attn"] else group for group in LORA.targets
    ]

    def layer(self, frozen: Frozen, config: Any, shared: Any) -> LayerMethod:
        return FourierFT(frozen, config, shared)


METHOD = FourierFTFamily()
