"""Arrow: each token goes through the LoRA adapters whose strongest input directions it lies along (Ostapenko et al. 2024,
https://arxiv.org/abs/2405.11157), from which general knowledge can be subtracted before (GenKnowSub,
https://aclanthology.org/2025.acl-short.54/).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor, nn

from tuning.errors import NoWeights
from tuning.kinds import Frozen
from tuning.methods._lora_options import ArrowConfig
from tuning.methods._lora_variant import Factors, Variant

ITERATIONS, EPSILON = 15, 1e-8
GENERAL = "gks_"  # what the names of general adapters begin with


class Router(nn.Module):
    """One layer's routing, under PEFT's name `lora_arrow`. `prototypes`: (experts, in), each expert's first right singular vector."""

    def __init__(self, config: ArrowConfig) -> None:
        super().__init__()
        self.config = config
        self.task_adapter_names = list(config.task_adapter_names or ())
        self.subtracted: set[str] = set()  # the experts that general knowledge was taken from
        self.prototypes = torch.empty(0)
        self.made_of: tuple[Any, ...] = ()

    def top_right_singular_vec_from_BA(self, A: Tensor, B: Tensor) -> Tensor:
        """(in,) of B A, up to its sign, by power iteration in single precision from a random vector."""
        a, b = A.float(), B.float()
        seed = self.config.rng_seed
        generator = None if seed is None else torch.Generator(a.device.type).manual_seed(seed)
        vector = torch.randn(a.shape[1], device=a.device, generator=generator)
        vector = vector / (vector.norm() + EPSILON)
        for _ in range(ITERATIONS):
            vector = a.T @ ((b.T @ b) @ (a @ vector))
            vector = vector / (vector.norm() + EPSILON)
        return vector

    @torch.no_grad()
    def look(self, experts: Mapping[str, Any], general: Mapping[str, Any], changes: int) -> None:
        """Take account of the experts that are here, where they are not those of the last call, or changed since."""
        self.subtracted &= set(experts)
        new = [name for name in experts if name not in self.subtracted] if self.config.use_gks and general else []
        for factor in (0, 1) if new else ():
            mean = torch.stack([method.factors[factor] for method in general.values()]).mean(0)
            for name in new:
                experts[name].factors[factor].sub_(mean)
        self.subtracted.update(new)
        factors = [method.factors for method in experts.values()]
        made_of = (changes, *((id(each), each.dtype, each.device) for pair in factors for each in pair))
        if made_of != self.made_of:
            self.task_adapter_names, self.made_of = list(experts), made_of
            self.prototypes = torch.stack([self.top_right_singular_vec_from_BA(a, b).to(a) for a, b in factors])

    def shares(self, x: Tensor) -> Tensor:
        """How much each token of x (…, in) uses each expert: (…, experts), 0 outside of the nearest `top_k`."""
        nearness = (x @ self.prototypes.to(x).T).abs()
        best = nearness.topk(min(self.config.top_k, nearness.shape[-1]), dim=-1)
        scores = torch.full_like(nearness, -torch.inf).scatter(-1, best.indices, best.values)
        return (scores / self.config.router_temperature).softmax(-1)


@final
class Arrow(Variant):
    """x ↦ Σₑ pₑ(x) Bₑ Aₑ x, e the other LoRA adapters of the layer. Its own factors are not used."""

    def __init__(self, lora: Factors, config: ArrowConfig) -> None:
        lora.lora_arrow = Router(config)

    def added(self, lora: Factors, result: Tensor, x: Tensor, frozen: Frozen) -> Tensor:
        layer: Any = lora.owner
        others = {
            name: method
            for name, method in layer.adapters.items()
            if layer.routing.configs[name].METHOD == "LORA" and layer.routing.configs[name].arrow_config is None
        }
        general = {
            name: other
            for name, other in others.items()
            if name.removeprefix(GENERAL).isdigit() and name.startswith(GENERAL)
        }
        experts = {name: other for name, other in others.items() if name not in general}
        if not experts:
            return torch.zeros_like(result)
        lora.lora_arrow.look(experts, general, layer.routing.changes)
        a, b = (torch.stack([expert.factors[factor] for expert in experts.values()]).to(x) for factor in (0, 1))
        scaling = torch.tensor([expert.scaling for expert in experts.values()], dtype=x.dtype, device=x.device)
        low = torch.einsum("...i,eri->...er", x, a) * (lora.lora_arrow.shares(x) * scaling).unsqueeze(-1)
        return lora.lora_dropout(torch.einsum("...er,eor->...o", low, b))

    def merged(self, lora: Factors, weight: Tensor, frozen: Frozen) -> Tensor:
        raise NoWeights("Cannot merge an active Arrow router adapter. Remove it first.")

    unmerged = merged
