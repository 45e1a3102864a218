"""What an option of LoRA's changes in how its factors are applied: DoRA, aLoRA and their like, each a `Variant`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol, final

from torch import Tensor, nn

from tuning.errors import ConfigError
from tuning.invocation import after_invocation
from tuning.kinds import EMBEDDING, Frozen


class Factors(Protocol):
    """What a variant sees of LoRA on a layer (`_lora_layer.Lora`). Parameters and buffers that it needs are put there, under PEFT's names."""

    form: Any  # tuning.methods._low_rank.Form
    scaling: Any
    lora_dropout: Any
    lora_A: Any
    lora_B: Any
    lora_magnitude_vector: Any  # DoRA's
    lora_diag: Any  # KaSA's, as the next two
    kasa_C: Any
    kasa_D: Any
    lora_velora_embed: Any  # VeLoRA's
    lora_monteclora_sampler: Any  # MonteCLoRA's
    lora_arrow: Any  # Arrow's
    owner: nn.Module | None
    adapter: str

    @property
    def training(self) -> bool: ...

    @property
    def factors(self) -> tuple[Tensor, Tensor]: ...

    def change(self, frozen: Frozen) -> Tensor: ...

    def without_start(self, product: Callable[[Tensor, Tensor, Frozen], Tensor], frozen: Frozen) -> Tensor: ...

    def low(self, x: Tensor, frozen: Frozen) -> Tensor: ...

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None: ...


class Variant(ABC):
    """How one adapter's factors are applied."""

    converts = False  # whether a plain LoRA can stand for it

    def change(self, lora: Factors, frozen: Frozen) -> Tensor:
        """What its factors add to the weight: of the weight's shape."""
        return lora.change(frozen)

    @abstractmethod
    def added(self, lora: Factors, result: Tensor, x: Tensor, frozen: Frozen) -> Tensor:
        """What is added to the layer's output `result` for x (…, in), in the adapter's precision."""

    @abstractmethod
    def merged(self, lora: Factors, weight: Tensor, frozen: Frozen) -> Tensor:
        """The weight (out, in) with the adapter in it."""

    @abstractmethod
    def unmerged(self, lora: Factors, weight: Tensor, frozen: Frozen) -> Tensor:
        """The inverse of `merged`."""


class Summed(Variant):
    """A variant that adds `change` to the weight."""

    converts = True

    def merged(self, lora: Factors, weight: Tensor, frozen: Frozen) -> Tensor:
        return weight + self.change(lora, frozen).to(weight.dtype)

    def unmerged(self, lora: Factors, weight: Tensor, frozen: Frozen) -> Tensor:
        return weight - self.change(lora, frozen).to(weight.dtype)


@final
class Plain(Summed):
    """LoRA as it is."""

    def added(self, lora: Factors, result: Tensor, x: Tensor, frozen: Frozen) -> Tensor:
        return lora.low(x if frozen.role == EMBEDDING else lora.lora_dropout(x), frozen)


@final
class Alora(Variant):
    """aLoRA (Greenewald et al. 2025, https://arxiv.org/abs/2504.12397): nothing is added before the invocation tokens."""

    def added(self, lora: Factors, result: Tensor, x: Tensor, frozen: Frozen) -> Tensor:
        return after_invocation(lora.low(lora.lora_dropout(x), frozen), lora.owner, lora.adapter)

    def merged(self, lora: Factors, weight: Tensor, frozen: Frozen) -> Tensor:
        raise ConfigError("aLoRA does not support merging: what it adds depends on the tokens")

    def unmerged(self, lora: Factors, weight: Tensor, frozen: Frozen) -> Tensor:
        raise ConfigError("aLoRA does not support merging: there is nothing to take out of the weight")
