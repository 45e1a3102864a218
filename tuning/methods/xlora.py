"""X-LoRA: a mixture of LoRA adapters, whose scalings for each token and layer a classifier predicts from the hidden states of a pass with
fixed scalings (Buehler and Buehler 2024, https://arxiv.org/abs/2402.07148).
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, final

import torch
from torch import Tensor, nn

from tuning.config import PeftConfig
from tuning.errors import ConfigError
from tuning.inputs import first_of
from tuning.kinds import EMBEDDING, LINEAR, Frozen
from tuning.layer_method import LayerMethod
from tuning.methods._xlora_classifier import FUNCTIONS
from tuning.methods._xlora_config import XLoraConfig
from tuning.methods._xlora_experts import Expert, Mixture, XLora
from tuning.methods.lora import METHOD as LORA
from tuning.placement import Placed
from tuning.registry import LayerFamily
from tuning.targets import find, outer


@final
class XLoraFamily(LayerFamily):
    name = "XLORA"
    prefix = "lora_"
    config = XLoraConfig
    roles = frozenset({LINEAR, EMBEDDING})
    merges, caches, sees_calls = False, False, True
    functions = FUNCTIONS

    def layer(self, frozen: Frozen, config: Any, shared: Any) -> LayerMethod:
        return XLora(frozen, config, shared)

    def found(self, config: Any, model: nn.Module) -> Sequence[Frozen]:
        """The layers of all experts, in the model's order."""
        if not config.adapters:
            raise ConfigError("X-LoRA needs adapters, a name -> the folder of a LoRA adapter")
        if config.top_k_lora is not None and not 0 < config.top_k_lora <= len(config.adapters):
            raise ConfigError(f"top_k_lora is {config.top_k_lora}, of {len(config.adapters)} adapters")
        found: dict[str, Frozen] = {}
        for name, where in config.adapters.items():
            found |= {frozen.name: frozen for frozen in find(model, Expert(name, where).config, LORA)}
        if wrong := next((frozen for frozen in found.values() if frozen.role not in self.roles), None):
            raise ConfigError(
                f"adapters: one sits on '{wrong.name}', a {wrong.role}; X-LoRA mixes {', '.join(sorted(self.roles))}"
            )
        return [found[path] for path, _ in outer(model) if path in found]

    def shared(self, config: Any, model: nn.Module, layers: Sequence[Frozen], others: Mapping[str, Any]) -> Placed:
        return Mixture(config, layers)

    def before_call(self, model: nn.Module, used: Mapping[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
        """The pass with fixed scalings, whose last hidden states the scalings of the call itself are predicted from."""
        if any(
            inputs.get(name) is not None and inputs[name] is not False
            for name in ("use_cache", "cache", "past_key_values")
        ):
            raise ConfigError(
                "X-LoRA reads whole rows of tokens in each call, and keeps no keys and values: `use_cache` must be False"
            )
        if "use_cache" in inspect.signature(model.forward).parameters:
            inputs["use_cache"] = False
        classifiers = [mixture.internal_xlora_classifier for mixture in used.values()]
        for classifier in classifiers:
            classifier.use_fixed(first_of(inputs))
        with torch.no_grad():
            hidden = model.forward(**{**inputs, "output_hidden_states": True, "return_dict": True}).hidden_states[-1]
        for classifier in classifiers:
            classifier.use_predicted(hidden)
        return inputs

    def after_call(self, model: nn.Module, used: Mapping[str, Any], inputs: Mapping[str, Any], output: Any) -> Any:
        for mixture in used.values() if not model.training else ():  # a backward pass may compute layers again
            mixture.internal_xlora_classifier.of_call["now"] = None
        return output

    def parts(self, config: Any, methods: Mapping[str, Any]) -> Mapping[str, tuple[PeftConfig, Mapping[str, Tensor]]]:
        """The experts, as PEFT saves them."""
        first: Any = next(iter(methods.values()))
        return {
            str(place): (
                replace(own, inference_mode=True),
                {
                    f"{key}.{name}": tensor.detach()
                    for key, method in methods.items()
                    if str(place) in method.lora_experts
                    for name, tensor in method.lora_experts[str(place)].state_dict().items()
                },
            )
            for place, own in enumerate(first.shared[0].configs)
        }


METHOD = XLoraFamily()
