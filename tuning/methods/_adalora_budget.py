"""AdaLoRA's budget: how many ranks are left at each step of a training, and which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from tuning.errors import AdapterError
from tuning.layers import AdaptedLayer
from tuning.methods._adalora_layer import AdaLora, AdaLoraConfig


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
        config.rank_pattern = {f"{path}.lora_E": pattern(method, config.init_r) for path, method in found.items()}
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


def pattern(method: AdaLora, init_r: int) -> list[bool]:
    """Which of `init_r` ranks are left; those that a checkpoint left out before are not."""
    left: list[bool] = [True] * len(method.lora_E) if method.left is None else method.left.tolist()
    return left + [False] * (init_r - len(left))
