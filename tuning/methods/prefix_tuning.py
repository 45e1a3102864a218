"""Prefix tuning: keys and values that every layer's attention sees before the input's (Li & Liang 2021, https://arxiv.org/abs/2101.00190)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

from torch import Tensor, nn

from tuning.config import PromptConfig, one_of
from tuning.registry import PromptFamily
from tuning.virtual import Table, number, table_size


@dataclass(kw_only=True)
class PrefixTuningConfig(PromptConfig):
    METHOD: ClassVar[str] = "PREFIX_TUNING"

    init_weights: str | None = None  # "zero": keys and values of 0 at the start
    encoder_hidden_size: int | None = None  # of the projection; left open, as wide as the keys
    prefix_projection: bool = False

    def check(self) -> None:
        super().check()
        one_of("init_weights", self.init_weights, (None, "zero"))


@final
class Projection(nn.Module):
    """Keys and values computed from smaller embeddings while training, which is steadier (section 4.3)."""

    def __init__(self, config: PrefixTuningConfig) -> None:
        super().__init__()
        into, hidden = number(config.token_dim), number(config.encoder_hidden_size)
        tokens, out = table_size(config, as_keys=True)
        self.embedding = nn.Embedding(tokens, into)
        last = nn.Linear(hidden, out)
        self.transform = nn.Sequential(nn.Linear(into, hidden), nn.Tanh(), last)
        if config.init_weights == "zero":
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self) -> Tensor:
        return self.transform(self.embedding.weight)


@final
class PrefixTuningFamily(PromptFamily):
    name = "PREFIX_TUNING"
    config = PrefixTuningConfig
    as_keys = True

    def encoder(self, config: Any, words: nn.Module) -> nn.Module:
        if config.prefix_projection:
            return Projection(config)
        table = Table(*table_size(config, as_keys=True))
        if config.init_weights == "zero":
            nn.init.zeros_(table.embedding.weight)
        return table


METHOD = PrefixTuningFamily()
