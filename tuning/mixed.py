"""`PeftMixedModel`: adapters of different methods on one model, as PEFT has it. Here any model can have them; this says that it shall."""

from __future__ import annotations

from typing import Any, NoReturn

from torch import nn

from tuning.config import PeftConfig
from tuning.errors import ConfigError, NotOnLayers
from tuning.model import PeftModel


class PeftMixedModel(PeftModel):
    """A model whose adapters can be of several methods. It is not saved as one: PEFT has no format for it."""

    def __init__(
        self, model: nn.Module, peft_config: PeftConfig, adapter_name: str = "default", **options: Any
    ) -> None:
        _check(peft_config)
        super().__init__(model, peft_config, adapter_name, **options)

    def save_pretrained(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError("Saving is not supported for PeftMixedModel (yet).")

    def get_layer_status(self) -> NoReturn:
        raise NotOnLayers(
            "get_layer_status is not supported for PeftMixedModel: its layers hold adapters of several methods"
        )

    def get_model_status(self) -> NoReturn:
        raise NotOnLayers(
            "get_model_status is not supported for PeftMixedModel: its layers hold adapters of several methods"
        )

    def add_adapter(self, adapter_name: str, peft_config: PeftConfig, *args: Any, **kwargs: Any) -> None:
        _check(peft_config)
        super().add_adapter(adapter_name, peft_config, *args, **kwargs)


def _check(config: PeftConfig) -> None:
    """Raises ConfigError where a method adapts no layers."""
    if config.is_prompt_learning:
        raise ConfigError(
            f"{config.METHOD} puts tokens before the input, and a PeftMixedModel is one of adapted layers"
        )
