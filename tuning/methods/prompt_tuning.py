"""Prompt tuning: virtual tokens before the input, learned as embeddings (Lester et al. 2021, https://arxiv.org/abs/2104.08691)."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import nn

from tuning.config import PromptConfig, one_of
from tuning.errors import ConfigError
from tuning.hub import allowed
from tuning.registry import PromptFamily
from tuning.virtual import Table, table_size


class PromptTuningInit(enum.StrEnum):
    """What the tokens are at the start: a text's, some of the vocabulary's, or anything."""

    TEXT = "TEXT"
    SAMPLE_VOCAB = "SAMPLE_VOCAB"
    RANDOM = "RANDOM"


@dataclass(kw_only=True)
class PromptTuningConfig(PromptConfig):
    METHOD: ClassVar[str] = "PROMPT_TUNING"
    INITS: ClassVar[type[enum.StrEnum]] = PromptTuningInit

    prompt_tuning_init: enum.StrEnum | str = PromptTuningInit.RANDOM
    prompt_tuning_init_text: str | None = None
    tokenizer_name_or_path: str | None = None
    tokenizer_kwargs: dict[str, Any] | None = None

    def check(self) -> None:
        super().check()
        one_of("prompt_tuning_init", self.prompt_tuning_init, list(self.INITS))
        text = self.prompt_tuning_init == PromptTuningInit.TEXT
        for name in ("tokenizer_name_or_path", "prompt_tuning_init_text"):
            if text and not getattr(self, name):
                raise ConfigError(f"When prompt_tuning_init='TEXT', {name} can't be None")
        if self.tokenizer_kwargs and not text:
            raise ConfigError("tokenizer_kwargs go with prompt_tuning_init='TEXT', which alone reads a tokenizer")


def started(config: PromptTuningConfig, words: Any) -> Table:
    """The table as it starts, in single precision whatever the base's is."""
    tokens, dimensions = table_size(config, as_keys=False)
    table = Table(tokens, dimensions)
    if config.prompt_tuning_init == PromptTuningInit.RANDOM:
        return table
    if config.prompt_tuning_init == PromptTuningInit.TEXT:
        ids = _of_text(config)
        chosen = torch.tensor((ids * (tokens // len(ids) + 1))[:tokens])
    else:
        chosen = torch.randint(0, words.weight.shape[0], (tokens,))
    with torch.no_grad():
        table.embedding.weight = torch.nn.Parameter(words(chosen.to(words.weight.device)).float().clone())
    return table


def _of_text(config: PromptTuningConfig) -> list[int]:
    """The ids of the text that the tokens start from. Raises ConfigError where the tokenizer is not here, or finds no token."""
    from transformers import AutoTokenizer

    options = {key: value for key, value in (config.tokenizer_kwargs or {}).items() if key != "trust_remote_code"}
    where = str(config.tokenizer_name_or_path)
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(where, **options | {"local_files_only": not allowed(**options)})
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"there is no tokenizer in {where}: {error}. If it is on the hub, allow the connection: "
            "tokenizer_kwargs={'local_files_only': False}"
        ) from error
    ids = tokenizer(config.prompt_tuning_init_text)["input_ids"]
    if not ids:
        raise ConfigError(f"the tokenizer in {where} finds no token in {config.prompt_tuning_init_text!r}")
    return list(ids)


@final
class PromptTuningFamily(PromptFamily):
    name = "PROMPT_TUNING"
    config = PromptTuningConfig

    def encoder(self, config: Any, words: nn.Module) -> nn.Module:
        return started(config, words)


METHOD = PromptTuningFamily()
