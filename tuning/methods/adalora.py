"""AdaLoRA: LoRA in the form of a singular value decomposition, P Λ Q. A budget of ranks is divided among the layers
during training (Zhang et al. 2023, https://arxiv.org/abs/2303.10512).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor

from tuning.kinds import CONV, LINEAR, Frozen
from tuning.layer_method import LayerMethod
from tuning.layers import AdaptedLayer
from tuning.methods._adalora_budget import pattern, update_and_allocate
from tuning.methods._adalora_layer import FACTORS, AdaLora, AdaLoraConfig, Importance
from tuning.registry import LayerFamily


@final
class AdaLoraFamily(LayerFamily):
    name = "ADALORA"
    prefix = "lora_"
    config = AdaLoraConfig
    roles = frozenset({LINEAR, CONV})
    targets = (
        ("q", "k", "v", "o", "wi", "wo"),
        ("q", "k", "v", "o", "wi_0", "wi_1", "wo"),
        ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"),
        ("q_proj", "v_proj"),
        ("query_proj", "key_proj", "value_proj", "dense"),
        ("query", "value"),
        ("c_attn",),
        ("query_key_value",),
        ("in_proj",),
    )

    def layer(self, frozen: Frozen, config: Any, shared: Any) -> LayerMethod:
        return AdaLora(frozen, config, shared)

    def penalty(self, config: Any, methods: Sequence[Any]) -> Tensor | None:
        """How far A's rows and B's columns are from orthonormal, on average, times `orth_reg_weight` (equation 4); while training."""
        trained = [method for method in methods if method.lora_A.requires_grad]
        if not trained or not config.orth_reg_weight:
            return None
        grams = [
            gram for method in trained for gram in (method.lora_A @ method.lora_A.T, method.lora_B.T @ method.lora_B)
        ]
        apart = [torch.linalg.matrix_norm(gram - torch.eye(len(gram)).to(gram)).to(grams[0].device) for gram in grams]
        return config.orth_reg_weight * torch.stack(apart).mean()

    def end_of_step(self, config: Any, layers: Mapping[str, AdaptedLayer], name: str, step: int) -> None:
        update_and_allocate(config, layers, name, step)

    def before_load(
        self, config: Any, methods: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        """Give layers the ranks that a checkpoint has."""
        for start, method in methods.items():
            few = len(tensors.get(f"{start}.lora_E", ())) <= config.init_r
            if few and method.take_ranks(start, tensors, {"lora_A": 0, "lora_B": 1, "lora_E": 0}):
                method.importance, method.left = {}, None
        return tensors

    def before_save(
        self, config: Any, methods: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        """Without the ranks that were cut."""
        saved = dict(tensors)
        for start, method in methods.items():
            if method.left is not None:
                saved[f"{start}.lora_A"] = saved[f"{start}.lora_A"][method.left]
                saved[f"{start}.lora_E"] = saved[f"{start}.lora_E"][method.left]
                saved[f"{start}.lora_B"] = saved[f"{start}.lora_B"][:, method.left]
        return saved

    def learning(self, methods: Mapping[str, Any]) -> Mapping[str, Tensor]:
        found: dict[str, Tensor] = {}
        for path, method in methods.items():
            for name, importance in method.importance.items():
                found |= {f"{path}.{name}.{kind}": tensor for kind, tensor in importance._asdict().items()}
            if method.left is not None:
                found[f"{path}.left"] = method.left
        return found

    def go_on(self, config: Any, methods: Mapping[str, Any], learned: Mapping[str, Tensor]) -> None:
        """Also: which ranks are left into the config, as it is when they are cut."""
        for path, method in methods.items():
            method.left = learned.get(f"{path}.left")
            method.importance = {
                name: Importance(*(learned[f"{path}.{name}.{kind}"] for kind in Importance._fields))
                for name in FACTORS
                if f"{path}.{name}.{Importance._fields[0]}" in learned
            }
        if any(method.left is not None for method in methods.values()):
            config.rank_pattern = {f"{path}.lora_E": pattern(method, config.init_r) for path, method in methods.items()}


METHOD = AdaLoraFamily()
