"""What predicts X-LoRA's scalings: PEFT's `internal_xlora_classifier`, and the functions of its tuner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tuning.errors import AdapterError
from tuning.placement import Delegating, OfCall, Placed


class Classifier(Placed):
    """Hidden states (rows, tokens, dimensions) -> scalings (rows, tokens, layers, experts). `log_scalings`:
    all that it gave while `scalings_logging`.
    """

    space = staticmethod(lambda owner: Classifiers(owner))

    def __init__(self, config: Any, layers: int) -> None:
        super().__init__()
        self.config, self.n_layers, self.n_classes = config, layers, len(config.adapters)
        self.override_scaling_pass_value: float = config.scaling_pass_value
        self.scalings_logging, self.log_scalings = False, list[Tensor]()
        self.of_call = OfCall()  # `latest`, and `now`: those of this call, as layers take them
        self.layers = nn.Sequential(*self._layers())

    def _layers(self) -> list[nn.Module]:
        config, found = self.config, list[nn.Module]()
        width: int = config.hidden_size
        for _ in range(config.xlora_depth - 1):
            found += [nn.Linear(width, config.xlora_size), nn.ReLU()]
            found += [nn.Dropout(config.xlora_dropout_p)] if config.xlora_dropout_p > 0 else []
            width = config.xlora_size
        return [*found, nn.Linear(width, self.n_classes * (self.n_layers if config.layerwise_scalings else 1))]

    def use_fixed(self, like: Tensor) -> None:
        """Let layers take the scaling pass's value, for each of the first two dimensions of an input."""
        shape = (*like.shape[:2], self.n_layers, self.n_classes)
        weight = next(self.parameters())
        self.of_call["now"] = self.sparse(weight.new_full(shape, self.override_scaling_pass_value))

    def use_predicted(self, hidden: Tensor) -> None:
        """Let layers take what is predicted from the model's last hidden states."""
        logits = self.layers(hidden.to(next(self.parameters()).dtype)).unflatten(-1, (-1, self.n_classes))
        scalings = logits.expand(-1, -1, self.n_layers, -1)
        if self.config.enable_softmax:
            scalings = (scalings / self.config.softmax_temperature).softmax(-1)
        if self.scalings_logging:
            self.log_scalings.append(scalings)
        self.of_call.update(latest=scalings, now=self.sparse(scalings))

    def sparse(self, scalings: Tensor) -> Tensor:
        """With `top_k_lora` the largest alone, and with `enable_softmax_topk` their softmax."""
        if self.config.top_k_lora is not None:
            least = scalings.topk(self.config.top_k_lora, dim=-1).indices
            scalings = scalings * torch.zeros_like(scalings).scatter(-1, least, 1.0)
        if self.config.enable_softmax_topk:
            none = scalings == 0
            scalings = scalings.masked_fill(none, -torch.inf).softmax(-1).masked_fill(none, 0.0)
        return scalings


class Classifiers(Delegating):
    """The classifiers of all adapters of a model; what it has not itself is that of the adapter in use, as in PEFT, which has one."""

    def delegate(self) -> Any:
        return in_use(self.of[0])


def in_use(tuner: Any) -> Classifier:
    """The classifier of the first adapter in use that has one. Raises AdapterError."""
    for name in (*tuner.active_adapters, *tuner.peft_config):
        if tuner.peft_config[name].METHOD == "XLORA":
            return tuner.in_common[name].internal_xlora_classifier
    raise AdapterError("no adapter of this model is an X-LoRA, which has scalings")


def set_topk_lora(tuner: Any, value: int | None) -> None:
    """Use so many experts for each token and layer, those with the largest scalings; None: all."""
    in_use(tuner).config.top_k_lora = value


def set_global_scaling_weight(tuner: Any, weight: float) -> None:
    """Multiply what all experts add."""
    in_use(tuner).config.global_scaling_weight = weight


def set_scaling_pass_value(tuner: Any, value: float | None) -> None:
    """All scalings of the first pass; None: 1 / experts."""
    classifier = in_use(tuner)
    classifier.override_scaling_pass_value = 1 / classifier.n_classes if value is None else value
    classifier.config.scaling_pass_value = classifier.override_scaling_pass_value


def get_bucketed_scalings_log(tuner: Any) -> dict[int, tuple[list[int], list[Tensor]]]:
    """Tokens -> the places in the log, and the scalings there, of calls with so many tokens."""
    found: dict[int, tuple[list[int], list[Tensor]]] = {}
    for place, scalings in enumerate(in_use(tuner).log_scalings):
        places, tensors = found.setdefault(scalings.shape[1], ([], []))
        places.append(place)
        tensors.append(scalings)
    return found


FUNCTIONS: Mapping[str, Any] = {
    "set_topk_lora": set_topk_lora,
    "set_global_scaling_weight": set_global_scaling_weight,
    "set_scaling_pass_value": set_scaling_pass_value,
    "get_global_scaling_weight": lambda tuner: in_use(tuner).config.global_scaling_weight,
    "get_latest_scalings": lambda tuner: in_use(tuner).of_call.get("latest"),
    "get_scalings_log": lambda tuner: list(in_use(tuner).log_scalings),
    "get_bucketed_scalings_log": get_bucketed_scalings_log,
    "enable_scalings_logging": lambda tuner: setattr(in_use(tuner), "scalings_logging", True),
    "disable_scalings_logging": lambda tuner: setattr(in_use(tuner), "scalings_logging", False),
    "clear_scalings_log": lambda tuner: in_use(tuner).log_scalings.clear(),
    "internal_xlora_scalings": property(lambda tuner: in_use(tuner).of_call.get("latest")),
    "xlora_config": property(lambda tuner: in_use(tuner).config),
    "lora_model": property(lambda tuner: tuner),
}
