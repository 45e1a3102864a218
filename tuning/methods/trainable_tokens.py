"""Trainable tokens: only some rows of an embedding are trained; a head that is tied to the embedding changes with it
(PEFT's method).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, final

from torch import nn

from tuning.config import LayerConfig
from tuning.kinds import EMBEDDING, LINEAR, Frozen
from tuning.layer_method import LayerMethod
from tuning.methods._token_layers import frozen_at
from tuning.methods._tokens import Tokens
from tuning.registry import LayerFamily
from tuning.tied import embedding_path, tied_layers


@dataclass(kw_only=True)
class TrainableTokensConfig(LayerConfig):
    """`token_indices`: the ids to train. Without `init_weights` their rows start at random, not as they are."""

    METHOD: ClassVar[str] = "TRAINABLE_TOKENS"

    token_indices: list[int] = field(default_factory=list)
    init_weights: bool = True


@final
class TrainableTokensFamily(LayerFamily):
    name = "TRAINABLE_TOKENS"
    prefix = "trainable_tokens_"
    config = TrainableTokensConfig
    roles = frozenset({EMBEDDING, LINEAR})
    ties = True

    def layer(self, frozen: Frozen, config: Any, shared: Any) -> LayerMethod:
        return Tokens(frozen, config.token_indices, initial=config.init_weights)

    def prepare(self, config: Any, model: nn.Module) -> None:
        if config.target_modules is None:
            config.target_modules = embedding_path(model)

    def beside(
        self, config: Any, model: nn.Module, made: Mapping[str, LayerMethod]
    ) -> Sequence[tuple[Frozen, LayerMethod]]:
        """Layers that share the embedding's weight have its rows too, and not their own where they were targeted themselves."""
        embedding = made.get(embedding_path(model)) if hasattr(model, "get_input_embeddings") else None
        if not isinstance(embedding, Tokens):
            return []
        layers = [frozen_at(model, path) for path in tied_layers(model)]
        return [(frozen, Tokens(frozen, config.token_indices).tied_to(embedding)) for frozen in layers]


METHOD = TrainableTokensFamily()
