"""Virtual tokens before the input: prompt tuning, prefix tuning, P-tuning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from tuning.checkpoint import Loaded
from tuning.config import PromptConfig
from tuning.errors import ConfigError


class Prompts(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.peft_config: dict[str, PromptConfig] = {}
        self.active_adapters: list[str] = []
        raise ConfigError("not yet")

    def add(self, name: str, config: PromptConfig) -> None: ...
    def delete(self, name: str) -> None: ...
    def activate(self, names: Sequence[str], *, trainable: bool = True) -> None: ...
    def set_enabled(self, enabled: bool) -> None: ...
    def saved(self, name: str) -> dict[str, Tensor]: ...
    def load(self, name: str, tensors: dict[str, Any]) -> Loaded: ...
