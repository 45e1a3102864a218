"""P-tuning: virtual tokens before the input, computed by a small network so that they depend on each other
(Liu et al. 2021, https://arxiv.org/abs/2103.10385).
"""

from __future__ import annotations

import enum
import logging
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, final

from torch import Tensor, nn

from tuning.config import PromptConfig, fraction, one_of, positive
from tuning.registry import PromptFamily
from tuning.virtual import number, table_size

log = logging.getLogger(__name__)

MLP_LAYERS = 2  # hidden ones: what PEFT's network has, whatever is asked


class PromptEncoderReparameterizationType(enum.StrEnum):
    """The network: two hidden layers, or a bidirectional LSTM with one behind it (the paper's)."""

    MLP = "MLP"
    LSTM = "LSTM"


@dataclass(kw_only=True)
class PromptEncoderConfig(PromptConfig):
    METHOD: ClassVar[str] = "P_TUNING"

    encoder_reparameterization_type: PromptEncoderReparameterizationType | str = PromptEncoderReparameterizationType.MLP
    encoder_hidden_size: int | None = None  # left open, as wide as the embeddings
    encoder_num_layers: int = MLP_LAYERS
    encoder_dropout: float = 0.0

    def check(self) -> None:
        super().check()
        kind = self.encoder_reparameterization_type
        one_of("encoder_reparameterization_type", kind, list(PromptEncoderReparameterizationType))
        positive(encoder_num_layers=self.encoder_num_layers)
        fraction(encoder_dropout=self.encoder_dropout)
        if kind == PromptEncoderReparameterizationType.MLP and self.encoder_num_layers != MLP_LAYERS:
            log.warning("encoder_num_layers is the LSTM's: the MLP has %d hidden layers", MLP_LAYERS)


@final
class PromptEncoder(nn.Module):
    """Embeddings through the network: (tokens, dimensions), with PEFT's names of parameters."""

    def __init__(self, config: PromptEncoderConfig, words: Any) -> None:
        super().__init__()
        tokens, dimensions = table_size(config, as_keys=False)
        hidden = number(config.encoder_hidden_size)
        self.embedding = nn.Embedding(tokens, dimensions)
        self.recurrent = config.encoder_reparameterization_type == PromptEncoderReparameterizationType.LSTM
        if self.recurrent:
            self.lstm_head = nn.LSTM(
                dimensions,
                hidden,
                num_layers=config.encoder_num_layers,
                dropout=config.encoder_dropout,
                bidirectional=True,
            )
            widths = (2 * hidden, 2 * hidden, dimensions)
        else:
            widths = (dimensions, hidden, hidden, dimensions)
        layers = [layer for into, out in pairwise(widths) for layer in (nn.Linear(into, out), nn.ReLU())]
        self.mlp_head = nn.Sequential(*layers[:-1])

    def forward(self) -> Tensor:
        tokens = self.embedding.weight
        return self.mlp_head(self.lstm_head(tokens)[0] if self.recurrent else tokens)


@final
class PromptEncoderFamily(PromptFamily):
    name = "P_TUNING"
    config = PromptEncoderConfig

    def encoder(self, config: Any, words: nn.Module) -> nn.Module:
        return PromptEncoder(config, words)


METHOD = PromptEncoderFamily()
