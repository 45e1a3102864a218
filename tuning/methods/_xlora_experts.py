"""X-LoRA on one layer: LoRA adapters from folders, each scaled for itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

from torch import Tensor, nn

from tuning import checkpoint, hub
from tuning.config import PeftConfig
from tuning.errors import CheckpointError, ConfigError
from tuning.kinds import EMBEDDING, Frozen
from tuning.layer_method import Layer, Unmergeable, as_computed
from tuning.methods._lora_config import VARIANTS, LoraConfig
from tuning.methods._lora_layer import Lora
from tuning.methods._xlora_classifier import Classifier
from tuning.methods._xlora_config import XLoraConfig
from tuning.placement import Placed
from tuning.targets import targeted

NOT_MIXED = (*VARIANTS, "modules_to_save", "trainable_token_indices", "target_parameters")


class Expert:
    """A LoRA adapter in a folder. Raises ConfigError where X-LoRA can't mix it, CheckpointError where it is not whole."""

    def __init__(self, name: str, where: str) -> None:
        self.name, self.folder = name, hub.resolved(where)
        config = PeftConfig.from_pretrained(self.folder)
        if not isinstance(config, LoraConfig):
            raise ConfigError(f"adapters: '{name}' is {config.METHOD}, and X-LoRA mixes LORA adapters")
        asked = [option for option in NOT_MIXED if getattr(config, option)]
        if asked or config.bias != "none":
            raise ConfigError(f"adapters: '{name}' has {[*asked, 'bias'][0]}, which X-LoRA currently does not support")
        config.check_here()
        self.config: LoraConfig = config

    def on(self, frozen: Frozen, tensors: Mapping[str, Tensor]) -> Lora:
        """It on one layer, with its weights."""
        lora = Lora(frozen, self.config, None)
        for own, target in lora.state_dict(keep_vars=True).items():
            key = f"{checkpoint.PREFIX}{frozen.name}.{own}"
            if key not in tensors or tensors[key].shape != target.shape:
                raise CheckpointError(f"adapters: '{self.name}' has no '{key}' of the shape {tuple(target.shape)}")
            target.data = tensors[key].clone()
        return lora


class Mixture(Placed):
    """What the layers share: the classifier, and each layer's number and experts."""

    on_layers = False

    def __init__(self, config: XLoraConfig, layers: Sequence[Frozen]) -> None:
        super().__init__()
        self.numbers = {frozen.name: place for place, frozen in enumerate(layers)}
        self.configs: list[LoraConfig] = []
        self.loras: dict[str, dict[str, Lora]] = {frozen.name: {} for frozen in layers}
        for place, (name, where) in enumerate((config.adapters or {}).items()):
            expert = Expert(name, where)
            tensors = checkpoint.read(expert.folder)
            self.configs.append(expert.config)
            for frozen in (frozen for frozen in layers if targeted(expert.config, frozen.name)):
                self.loras[frozen.name][str(place)] = expert.on(frozen, tensors)
        self.internal_xlora_classifier = Classifier(config, len(layers))


@final
class XLora(Unmergeable):
    """x ↦ base(x) + w Σₑ sₑ Bₑ Aₑ x with w the global weight, sₑ each token's scaling of expert e; outside of a call of the model sₑ = w = 1."""

    saved = False

    def __init__(self, frozen: Frozen, config: XLoraConfig, shared: Mixture) -> None:
        super().__init__()
        self.shared = (shared,)  # in a tuple: no part of this
        self.number = shared.numbers[frozen.name]
        self.lora_experts = nn.ModuleDict(shared.loras.pop(frozen.name))
        self.still = () if config.use_trainable_adapters else ("lora_experts",)
        self.requires_grad_(True)

    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        result = base(x)
        owner: Any = self.owner
        classifier = self.shared[0].internal_xlora_classifier
        scalings, part = classifier.of_call.get("now"), owner.routing.part
        if scalings is not None:
            scalings = scalings[:, :, self.number] if part is None else scalings[list(part)][:, :, self.number]
        for place, expert in self.lora_experts.items():
            lora: Any = expert
            own = 1.0 if scalings is None else scalings[..., int(place), None]
            if frozen.role == EMBEDDING:
                added = own * lora.variant.added(lora, result, x, frozen)
            else:
                added = lora.variant.added(lora, result, own * as_computed(x, lora.factors[0].dtype), frozen)
            weight = 1.0 if scalings is None else classifier.config.global_scaling_weight
            result = result + (weight * added).to(result.dtype)
        return result
