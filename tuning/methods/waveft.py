"""WaveFT: a weight's change as the inverse wavelet transform of a few learned coefficients at places drawn once (Bilican et al. 2025,
https://arxiv.org/abs/2505.12532).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuning.config import LayerConfig, one_of, positive
from tuning.errors import ConfigError
from tuning.kinds import Frozen
from tuning.layer_method import Additive, Layer, LayerMethod, as_computed
from tuning.methods._wavelets import filters, padding, reconstructed
from tuning.methods.fourierft import METHOD as FOURIERFT
from tuning.methods.fourierft import drawn_places
from tuning.patterns import value_for
from tuning.placement import Placed
from tuning.registry import LayerFamily


@dataclass(kw_only=True)
class WaveFTConfig(LayerConfig):
    """`use_idwt`: False takes the coefficients for the change itself. `proportional_parameters`: n_frequency is a mean, and a layer has
    as many coefficients as its weight has a share of all; n_frequency_pattern counts for nothing then.
    """

    METHOD: ClassVar[str] = "WAVEFT"

    n_frequency: int = 2592
    scaling: float = 25.0
    wavelet_family: str = "db1"
    use_idwt: bool = True
    random_loc_seed: int = 777
    fan_in_fan_out: bool = False  # read and written for PEFT; a layer's own kind says how its weight lies
    bias: str = "none"
    n_frequency_pattern: dict[str, int] | None = field(default_factory=dict)
    proportional_parameters: bool = False
    init_weights: bool = True

    def check(self) -> None:
        super().check()
        positive(n_frequency=self.n_frequency)
        one_of("bias", self.bias, ("none", "all", "waveft_only"))
        one_of("wavelet_family", self.wavelet_family, tuple(filters()))


class Counts(Placed):
    """How many coefficients each layer has, by path."""

    def __init__(self, config: WaveFTConfig, layers: Sequence[Frozen]) -> None:
        super().__init__()
        sizes = {layer.name: layer.shape[0] * layer.shape[1] for layer in layers}
        budget, pattern = config.n_frequency * len(layers), config.n_frequency_pattern
        self.by_path = {
            name: max(1, round(size / sum(sizes.values()) * budget))
            if config.proportional_parameters
            else value_for(pattern, name, config.n_frequency)
            for name, size in sizes.items()
        }


@final
class WaveFT(Additive):
    """x ↦ base(x) + ΔW x, ΔW = scaling · IDWT(S), S (out, in) zero but for waveft_spectrum (n_frequency,). S is put into the middle of
    zeros, as many as a step of the wavelet's reconstruction takes off.
    """

    places: Tensor  # (2, n_frequency): rows and columns of S

    def __init__(self, frozen: Frozen, config: WaveFTConfig, shared: Counts) -> None:
        super().__init__()
        self.shape, self.scaling = frozen.shape, config.scaling
        self.wavelet = config.wavelet_family if config.use_idwt else ""
        count = shared.by_path[frozen.name]
        if not 0 < count <= self.shape[0] * self.shape[1]:
            raise ConfigError(
                f"n_frequency is {count}; '{frozen.name}' is {self.shape[0]} × {self.shape[1]}, so it has to be from 1 to "
                f"{self.shape[0] * self.shape[1]}"
            )
        self.register_buffer("places", drawn_places(*self.shape, count, config.random_loc_seed), persistent=False)
        self.waveft_spectrum = nn.Parameter(torch.zeros(count) if config.init_weights else torch.randn(count) * 0.01)

    def change(self) -> Tensor:
        """ΔW: (out, in)."""
        spectrum = self.waveft_spectrum
        wider = [size + padding(self.wavelet) if self.wavelet else size for size in self.shape]
        wider = [size + size % 2 if self.wavelet else size for size in wider]
        at = [row + (wide - size) // 2 for row, wide, size in zip(self.places, wider, self.shape, strict=True)]
        dense = spectrum.new_zeros(wider).index_put(tuple(at), spectrum)
        if self.wavelet:
            dense = reconstructed(dense, self.wavelet)[: self.shape[0], : self.shape[1]]
        return dense * self.scaling

    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        result, change = base(x), self.change()
        return result + functional.linear(as_computed(x, change.dtype), change).to(result.dtype)


@final
class WaveFTFamily(LayerFamily):
    name = "WAVEFT"
    prefix = "waveft_"
    config = WaveFTConfig
    targets: ClassVar[Sequence[Sequence[str]]] = FOURIERFT.targets
    targets_of = FOURIERFT.targets_of

    def layer(self, frozen: Frozen, config: Any, shared: Any) -> LayerMethod:
        return WaveFT(frozen, config, shared)

    def shared(self, config: Any, model: nn.Module, layers: Sequence[Frozen], others: Mapping[str, Any]) -> Placed:
        return Counts(config, layers)


METHOD = WaveFTFamily()
