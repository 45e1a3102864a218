"""LoRA-FA's optimiser: A stays as it began, and B's steps are those that bring B A nearest to a step of the whole weight (Zhang et al. 2023,
https://arxiv.org/abs/2308.03303).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from tuning.config import fraction, positive
from tuning.errors import ConfigError
from tuning.layers import AdaptedLayer

DAMPING = 1e-8  # on the diagonal of A Aᵀ before it is inverted, as in PEFT


class LoraFAOptimizer(torch.optim.Optimizer):
    """AdamW with decoupled decay, in which B's gradient G becomes G (A Aᵀ)⁻¹ / scaling². A group's `names` and `scaling_factors` go with
    its `params`. Raises ConfigError.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        correct_bias: bool = True,
    ) -> None:
        fraction(**{f"betas[{at}]": beta for at, beta in enumerate(betas)})
        if lr < 0 or eps < 0:
            raise ConfigError(f"lr is {lr} and eps {eps}; both have to be 0 or more")
        super().__init__(
            params,
            {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "correct_bias": correct_bias},
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        loss = None if closure is None else closure()
        for group in self.param_groups:
            named = dict(zip(group["names"], group["params"], strict=True))
            for (name, parameter), scaling in zip(named.items(), group["scaling_factors"], strict=True):
                first = named.get(name.replace("lora_B", "lora_A").replace("lora_embedding_B", "lora_embedding_A"))
                if parameter.grad is None or _is_first(name):
                    continue
                gradient = parameter.grad
                if first is not parameter and first is not None:
                    gradient = _projected(gradient, first, scaling)
                self._adam(parameter, gradient, group)
        return loss

    def _adam(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state |= {"step": 0, "mean": torch.zeros_like(parameter), "square": torch.zeros_like(parameter)}
        first, second = group["betas"]
        state["step"] += 1
        state["mean"].lerp_(gradient, 1 - first)
        state["square"].mul_(second).addcmul_(gradient, gradient, value=1 - second)
        size = group["lr"]
        if group["correct_bias"]:
            size *= math.sqrt(1 - second ** state["step"]) / (1 - first ** state["step"])
        parameter.addcdiv_(state["mean"], state["square"].sqrt().add_(group["eps"]), value=-size)
        if group["weight_decay"] > 0:
            parameter.mul_(1 - group["lr"] * group["weight_decay"])


def create_lorafa_optimizer(
    model: nn.Module, r: int, lora_alpha: float, lr: float, weight_decay: float = 0.0, use_rslora: bool | None = None
) -> LoraFAOptimizer:
    """LoRA-FA's optimiser for all of a model's parameters; A takes no gradients from here on. Raises ConfigError.

    `r` and `lora_alpha` are what PEFT asks for: each layer's own scaling is taken. `use_rslora` has to be the config's, where given.
    """
    positive(r=r, lora_alpha=lora_alpha)
    configs: dict[str, Any] = getattr(model, "peft_config", {})
    other = [name for name, config in configs.items() if getattr(config, "use_rslora", False) is not use_rslora]
    if use_rslora is not None and other:
        raise ConfigError(
            f"use_rslora={use_rslora} was passed to create_lorafa_optimizer, and the config of {', '.join(other)} says otherwise: leave it out"
        )
    scalings: dict[int, Any] = {
        id(parameter): method.scaling
        for module in model.modules()
        if isinstance(module, AdaptedLayer)
        for _, method in module.methods()
        if hasattr(method, "scaling")
        for parameter in method.parameters()
    }
    names, parameters = zip(*model.named_parameters(), strict=True)
    for name, parameter in model.named_parameters():
        if _is_first(name):
            parameter.requires_grad_(False)
    group = {"params": list(parameters), "names": list(names)}
    factors = [scalings.get(id(parameter)) for parameter in parameters]
    return LoraFAOptimizer([group | {"scaling_factors": factors}], lr=lr, weight_decay=weight_decay)


def _is_first(name: str) -> bool:
    return "lora_A" in name or "lora_embedding_A" in name


def _projected(gradient: Tensor, a: Tensor, scaling: float) -> Tensor:
    """(out, r): the step of B whose change of the weight is nearest to the whole weight's gradient, in least squares."""
    gram = a @ a.T + DAMPING * torch.eye(len(a), device=a.device)
    return (gradient @ torch.linalg.pinv(gram) / scaling**2).to(gradient.dtype)
