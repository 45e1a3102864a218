"""Cartridges: a cache of keys and values that is trained itself, from a text that was run once (Eyuboglu et al. 2025,
https://arxiv.org/abs/2506.06266). `tuning.cartridges` makes one from a text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from tuning.config import PromptConfig
from tuning.errors import CheckpointError, ConfigError
from tuning.registry import PromptFamily
from tuning.virtual import KEY, table_size


@dataclass(kw_only=True)
class CartridgeConfig(PromptConfig):
    """`num_frozen_tokens`: how many at the start are not trained; many models attend to the first token whatever it is."""

    METHOD: ClassVar[str] = "CARTRIDGE"

    num_frozen_tokens: int = 1

    def check(self) -> None:
        super().check()
        if self.num_frozen_tokens < 0:
            raise ConfigError(f"`num_frozen_tokens` must be >= 0, got {self.num_frozen_tokens}.")
        if self.num_virtual_tokens is not None and self.num_frozen_tokens > self.num_virtual_tokens:
            raise ConfigError(
                f"`num_frozen_tokens` must be <= `num_virtual_tokens`, got num_frozen_tokens={self.num_frozen_tokens} and "
                f"num_virtual_tokens={self.num_virtual_tokens}."
            )


@final
class CartridgeEncoder(nn.Module):
    """Keys and values (virtual tokens, layers · 2 · dimensions): frozen_embedding, and trainable_embedding behind it."""

    def __init__(self, config: CartridgeConfig) -> None:
        super().__init__()
        tokens, dimensions = table_size(config, as_keys=True)
        self.num_frozen_tokens = config.num_frozen_tokens
        self.num_trainable_tokens = tokens - config.num_frozen_tokens
        frozen = torch.randn(self.num_frozen_tokens, dimensions) if self.num_frozen_tokens else None
        self.register_buffer("frozen_embedding", frozen)
        self.trainable_embedding = nn.Parameter(torch.randn(self.num_trainable_tokens, dimensions))

    @property
    def weight(self) -> Tensor:
        if not self.num_frozen_tokens:
            return self.trainable_embedding
        return torch.cat([self.get_buffer("frozen_embedding"), self.trainable_embedding])

    def forward(self) -> Tensor:
        return self.weight

    @torch.no_grad()
    def load_prompt_embeddings(self, prompt_embeddings: Tensor) -> None:
        """Put keys and values (virtual tokens, layers · 2 · dimensions) in. Raises CheckpointError."""
        if prompt_embeddings.shape != self.weight.shape:
            raise CheckpointError(
                f"Invalid `prompt_embeddings` shape. Expected {tuple(self.weight.shape)}, got {tuple(prompt_embeddings.shape)}."
            )
        if self.num_frozen_tokens:
            self.get_buffer("frozen_embedding").copy_(prompt_embeddings[: self.num_frozen_tokens])
        self.trainable_embedding.copy_(prompt_embeddings[self.num_frozen_tokens :])


@final
class CartridgeFamily(PromptFamily):
    name = "CARTRIDGE"
    config = CartridgeConfig
    as_keys = True

    def encoder(self, config: Any, words: nn.Module) -> nn.Module:
        return CartridgeEncoder(config)

    def table(self, config: Any) -> nn.Module:
        return CartridgeEncoder(config)

    def read(self, encoder: Any, tensors: Mapping[str, Tensor]) -> None:
        encoder.load_prompt_embeddings(tensors[KEY])


METHOD = CartridgeFamily()
