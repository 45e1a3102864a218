"""AdaLoRA: LoRA whose change has the form of a singular value decomposition, P Λ Q, and whose ranks a budget shares out among
the layers while they train (Zhang et al. 2023, https://arxiv.org/abs/2303.10512).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor

from tuning.errors import AdapterError
from tuning.kinds import CONV, LINEAR, Frozen
from tuning.layers import AdaptedLayer, LayerMethod
from tuning.methods._adalora_layer import FACTORS, AdaLora, AdaLoraConfig, Importance
from tuning.registry import LayerFamily


def penalty(config: AdaLoraConfig, methods: Sequence[Any]) -> Tensor | None:
    """How far A's rows and B's columns are from orthonormal, on average, times `orth_reg_weight` (equation 4); while training."""
    trained = [method for method in methods if method.lora_A.requires_grad]
    if not trained or not config.orth_reg_weight:
        return None
    grams = [gram for method in trained for gram in (method.lora_A @ method.lora_A.T, method.lora_B.T @ method.lora_B)]
    apart = [torch.linalg.matrix_norm(gram - torch.eye(len(gram)).to(gram)).to(grams[0].device) for gram in grams]
    return config.orth_reg_weight * torch.stack(apart).mean()


def budget(config: AdaLoraConfig, total: int, target: int, step: int) -> int:
    """How many ranks may be left at a step, from `total` down to `target` along a cubic (equation 12)."""
    if step <= config.tinit:
        return total
    ahead = max(0.0, 1 - (step - config.tinit) / (config.last_cut - config.tinit))
    return int((total - target) * ahead**3 + target)


@torch.no_grad()
def update_and_allocate(config: AdaLoraConfig, layers: Mapping[str, AdaptedLayer], name: str, step: int) -> None:
    """After the optimiser's step, before gradients are cleared: learn what is important, and cut what the budget has no room for.

    Raises AdapterError where there are no gradients to learn from.
    """
    found = {path: method for path, layer in layers.items() if isinstance(method := layer.adapters[name], AdaLora)}
    methods = [method for method in found.values() if method.lora_A.requires_grad]
    if not methods:
        return
    if step < config.last_cut:
        if all(method.lora_B.grad is None for method in methods):
            raise AdapterError(
                "update_and_allocate found no gradients: call it after the optimiser's step and before zero_grad"
            )
        for method in methods:
            method.learn_importance(config.beta1, config.beta2)
    if (config.tinit < step < config.last_cut and step % config.deltaT == 0) or step == config.last_cut:
        _allocate(config, methods, step)
        config.rank_pattern = {f"{path}.lora_E": _pattern(method, config.init_r) for path, method in found.items()}
    if step == config.last_cut:
        for method in methods:
            method.importance = {}
    for method in methods if step > config.last_cut else ():
        method.cut()


def _allocate(config: AdaLoraConfig, methods: Sequence[AdaLora], step: int) -> None:
    """Leave the ranks with the highest scores, over all layers, as many as the budget allows."""
    scores = torch.cat([method.scores().to(methods[0].lora_E.device) for method in methods])
    total = config.init_r * len(methods)
    cut = len(scores) - budget(config, total, config.target_r * len(methods), step)
    threshold = scores.kthvalue(cut).values if cut > 0 else scores.new_tensor(-torch.inf)
    for method in methods:
        method.left = method.scores() > threshold.to(method.lora_E.device)
        method.cut()


def _pattern(method: AdaLora, init_r: int) -> list[bool]:
    """Which of `init_r` ranks are left; those that a checkpoint left out before are not."""
    left: list[bool] = [True] * len(method.lora_E) if method.left is None else method.left.tolist()
    return left + [False] * (init_r - len(left))


def _resized(config: Any, layers: Mapping[str, AdaLora], tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Give layers the ranks that a checkpoint has."""
    for start, method in layers.items():
        there = tensors.get(f"{start}.lora_E")
        if there is not None and len(there) != len(method.lora_E) and len(there) <= config.init_r:
            method.resize(len(there))
    return tensors


def _without_cut_ranks(config: Any, layers: Mapping[str, AdaLora], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    saved = dict(tensors)
    for start, method in layers.items():
        if method.left is not None:
            saved[f"{start}.lora_A"] = saved[f"{start}.lora_A"][method.left]
            saved[f"{start}.lora_E"] = saved[f"{start}.lora_E"][method.left]
            saved[f"{start}.lora_B"] = saved[f"{start}.lora_B"][:, method.left]
    return saved


def _learning(layers: Mapping[str, AdaLora]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for path, method in layers.items():
        for name, importance in method.importance.items():
            found |= {f"{path}.{name}.{kind}": tensor for kind, tensor in importance._asdict().items()}
        if method.left is not None:
            found[f"{path}.left"] = method.left
    return found


def _go_on(config: AdaLoraConfig, layers: Mapping[str, AdaLora], tensors: Mapping[str, Tensor]) -> None:
    """What `_learning` gave, into layers, and which ranks are left into the config, as it is when they are cut."""
    for path, method in layers.items():
        method.left = tensors.get(f"{path}.left")
        method.importance = {
            name: Importance(*(tensors[f"{path}.{name}.{kind}"] for kind in Importance._fields))
            for name in FACTORS
            if f"{path}.{name}.{Importance._fields[0]}" in tensors
        }
    if any(method.left is not None for method in layers.values()):
        config.rank_pattern = {f"{path}.lora_E": _pattern(method, config.init_r) for path, method in layers.items()}


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

    def penalty(self, config: Any, methods: Sequence[LayerMethod]) -> Tensor | None:
        return penalty(config, methods)

    def end_of_step(self, config: Any, layers: Mapping[str, AdaptedLayer], name: str, step: int) -> None:
        update_and_allocate(config, layers, name, step)

    def before_load(
        self, config: Any, methods: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        return _resized(config, methods, tensors)

    def before_save(
        self, config: Any, methods: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        return _without_cut_ranks(config, methods, tensors)

    def learning(self, methods: Mapping[str, Any]) -> Mapping[str, Tensor]:
        return _learning(methods)

    def go_on(self, config: Any, methods: Mapping[str, Any], learned: Mapping[str, Tensor]) -> None:
        _go_on(config, methods, learned)


METHOD = AdaLoraFamily()
