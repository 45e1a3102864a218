"""ShadowPEFT: a small model runs beside the base's blocks. Its state corrects the input of each block, and is updated
from the block's output. The small model can be used alone (PEFT's method).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from tuning.errors import ConfigError, TargetError
from tuning.kinds import DECODER, Decoder, Frozen
from tuning.layer_method import Layer, LayerMethod, Unmergeable
from tuning.layers import adapted_layers, innermost
from tuning.methods._shadow_alone import unload_shadow
from tuning.methods._shadow_config import ShadowConfig
from tuning.methods._shadow_models import backbone
from tuning.methods._shadow_state import Shadow, last_loss
from tuning.placement import OfAdapter, Placed
from tuning.registry import LayerFamily
from tuning.targets import outer, targeted

PARTS = r"(shadow_(?:backbone|projection|head|down|up|update_transform|update_gate))"


@final
class ShadowBlock(Unmergeable):
    """h ↦ block(h + α · (h - s) Dᵀ Uᵀ), after which s becomes (1 - g) s + g T(h') with h' the block's output, g = sigmoid(G(h')).
    shadow_down: D (r, dimensions); shadow_up: U (dimensions, r); shadow_update_transform, shadow_update_gate: T and G, of two layers each.
    """

    shadow_alpha = OfAdapter[float]()
    shadow_r = OfAdapter[int]()

    def __init__(self, frozen: Frozen, config: ShadowConfig, shared: Shadow) -> None:
        super().__init__()
        self.shared, self.number, size = (
            (shared,),
            shared.numbers[frozen.name],
            shared.size,
        )  # in a tuple: no part of this
        self.shadow_r, self.shadow_alpha = config.r, config.shadow_alpha
        self.shadow_down = nn.Linear(size, config.r, bias=False)
        self.shadow_up = nn.Linear(config.r, size, bias=False)
        self.shadow_dropout = nn.Dropout(config.shadow_dropout) if config.shadow_dropout else nn.Identity()
        if config.init_weights:
            nn.init.zeros_(self.shadow_up.weight)
        inner = config.update_hidden_size or config.r
        self.shadow_update_transform, self.shadow_update_gate = (
            nn.Sequential(nn.Linear(size, inner), nn.GELU(), nn.Linear(inner, size)) for _ in range(2)
        )

    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Any:
        states = self.shared[0].of_call
        if self.number not in states:
            return base(x)
        state, dtype = states[self.number], self.shadow_down.weight.dtype
        missed = self.shadow_up(self.shadow_down(self.shadow_dropout((x - state).to(dtype))))
        corrected = x + (self.shadow_alpha * missed).to(x.dtype)
        if (rows := frozen.given.get("rows")) is not None:
            place = torch.tensor(rows, device=x.device)
            corrected = x.index_copy(0, place, corrected[place])
        output: Any = base(corrected)
        hidden = (output if isinstance(output, Tensor) else output[0]).to(dtype)
        gate = torch.sigmoid(self.shadow_update_gate(hidden))
        moved = (1.0 - gate) * state.to(dtype) + gate * self.shadow_update_transform(hidden)
        states[self.number + 1] = moved.to(state.dtype)
        return output


@final
class ShadowFamily(LayerFamily):
    name = "SHADOW"
    prefix = "shadow_"
    config = ShadowConfig
    roles = frozenset({DECODER})
    merges, sees_calls = False, True
    functions: ClassVar[Mapping[str, Any]] = {"unload_shadow": unload_shadow, "last_shadow_loss": property(last_loss)}

    def prepare(self, config: Any, model: nn.Module) -> None:
        if config.target_modules is None:
            part, blocks = backbone(model)
            path = next(path for path, module in model.named_modules() if module is part)
            config.target_modules = {
                f"{path}.{blocks}.{number}".lstrip(".") for number in range(len(getattr(part, blocks)))
            }

    def found(self, config: Any, model: nn.Module) -> Sequence[Frozen]:
        """The blocks, in the model's order."""
        blocks = [(path, module) for path, module in outer(model) if path and targeted(config, path)]
        if not blocks:
            raise TargetError(
                f"no block of {type(model).__name__} is meant by target_modules {config.target_modules!r}"
            )
        if inside := next((path for path, module in blocks if adapted_layers(innermost(module))), None):
            raise ConfigError(f"adapters sit inside of '{inside}': put SHADOW on a model of its own")
        return [Frozen(name=path, module=innermost(module), kind=Decoder()) for path, module in blocks]

    def shared(self, config: Any, model: nn.Module, layers: Sequence[Frozen], others: Mapping[str, Any]) -> Placed:
        return Shadow(config, model, [frozen.name for frozen in layers])

    def layer(self, frozen: Frozen, config: Any, shared: Any) -> LayerMethod:
        return ShadowBlock(frozen, config, shared)

    def before_call(self, model: nn.Module, used: Mapping[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
        for name, shadow in used.items():
            shadow.start(model, name, inputs)
        return inputs

    def after_call(self, model: nn.Module, used: Mapping[str, Any], inputs: Mapping[str, Any], output: Any) -> Any:
        """With a loss, the shadow's own is computed; as in PEFT, the output says it: `output.shadow_loss`."""
        labels, loss = inputs.get("labels"), getattr(output, "loss", None)
        for name, shadow in used.items():
            shadow.keep(model, name, output)
            own = None if labels is None or loss is None else shadow.loss(model, labels, inputs.get("attention_mask"))
            if not model.training:
                shadow.of_call.clear()
            if own is not None:
                shadow.of_call["loss"] = own
                output.shadow_loss = own.detach()
        return output

    def penalty(self, config: Any, methods: Sequence[Any]) -> Tensor | None:
        """The shadow's own loss, weighted."""
        own = methods[0].shared[0].of_call.get("loss")
        if own is None or methods[0].owner.disable_adapters or config.auxiliary_loss_weight <= 0:
            return None
        return config.auxiliary_loss_weight * own

    def before_save(
        self, config: Any, methods: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        """With the adapter's name in the keys, which PEFT leaves there, and calls "default"."""
        return {re.sub(rf"{PARTS}\.", r"\1.default.", key, count=1): tensor for key, tensor in tensors.items()}

    def before_load(
        self, config: Any, methods: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        return {re.sub(rf"{PARTS}\.default\.", r"\1.", key, count=1): tensor for key, tensor in tensors.items()}


METHOD = ShadowFamily()
