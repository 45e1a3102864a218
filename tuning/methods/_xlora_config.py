"""What an X-LoRA adapter is: PEFT's config."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tuning.config import LayerConfig, fraction, positive


@dataclass(kw_only=True)
class XLoraConfig(LayerConfig):
    """`adapters`: a name -> the folder of a LoRA adapter, an expert. `hidden_size`: the model's. Which layers it sits on is the experts' to say."""

    METHOD: ClassVar[str] = "XLORA"

    target_modules: Any = field(default=None, init=False, repr=False)
    exclude_modules: Any = field(default=None, init=False, repr=False)
    layers_to_transform: Any = field(default=None, init=False, repr=False)
    layers_pattern: Any = field(default=None, init=False, repr=False)
    modules_to_save: Any = field(default=None, init=False, repr=False)

    hidden_size: int | None = None
    adapters: dict[str, str] | None = None
    enable_softmax: bool = True
    enable_softmax_topk: bool = False
    layerwise_scalings: bool = False
    xlora_depth: int = 1
    xlora_size: int = 2048
    xlora_dropout_p: float = 0.2
    use_trainable_adapters: bool = False
    softmax_temperature: float = 1.0
    top_k_lora: int | None = None
    scaling_pass_value: float = 0.0
    global_scaling_weight: float = 1.0

    def check(self) -> None:
        super().check()
        if self.hidden_size is None:
            warnings.warn("hidden_size, the model's, is not given: it is taken to be 4096", stacklevel=5)
            self.hidden_size = 4096
        if self.adapters is None:
            warnings.warn("no adapters are given, which X-LoRA mixes", stacklevel=5)
            self.adapters = {}
        positive(xlora_depth=self.xlora_depth, xlora_size=self.xlora_size, softmax_temperature=self.softmax_temperature)
        fraction(xlora_dropout_p=self.xlora_dropout_p)
        if self.top_k_lora is not None and self.top_k_lora < 1:
            warnings.warn(f"`top_k_lora` value must be at least 1, and is {self.top_k_lora}", stacklevel=5)
        if self.enable_softmax_topk and (self.enable_softmax or self.top_k_lora is None):
            warnings.warn("`enable_softmax_topk` goes with `top_k_lora` and enable_softmax=False", stacklevel=5)
