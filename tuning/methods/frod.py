"""FRoD: rotates a weight, at full rank and with few parameters, in a basis that is shared by all layers of the same
place in their block ("Full-Rank Efficient Fine-Tuning with Rotational Degrees", AAAI 2026,
https://doi.org/10.1609/aaai.v40i31.39813).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuning.config import LayerConfig, fraction, one_of
from tuning.errors import CheckpointError, ConfigError
from tuning.kinds import Frozen
from tuning.layer_method import Additive, Layer, LayerMethod, as_computed
from tuning.methods._frod_bases import Bases, category, sides
from tuning.methods.vera import METHOD as VERA
from tuning.placement import Placed
from tuning.registry import LayerFamily


@dataclass(kw_only=True)
class FrodConfig(LayerConfig):
    """`sparse_rate`: the share of S that is trained beside its diagonal, at places drawn from `projection_prng_key`. `save_projection`:
    save V and these places, which are computed again otherwise. `progressbar` is read and written for PEFT; there is no bar here.
    """

    METHOD: ClassVar[str] = "FROD"
    NOT_HERE: ClassVar[Sequence[str]] = ("runtime_offload_base_weight",)

    projection_prng_key: int = 0
    save_projection: bool = True
    frod_dropout: float = 0.0
    fan_in_fan_out: bool = False  # read and written for PEFT; a layer's own kind says how its weight lies
    bias: str = "none"
    init_weights: bool = True
    sparse_rate: float = 0.01
    regularization_alpha: float = 1e-3
    progressbar: bool = True
    runtime_offload_base_weight: bool = False

    def check(self) -> None:
        super().check()
        fraction(frod_dropout=self.frod_dropout)
        one_of("bias", self.bias, ("none", "all", "frod_only"))
        if not 0 <= self.sparse_rate <= 1:
            raise ConfigError(f"sparse_rate is {self.sparse_rate}; it has to be from 0 to 1")


@final
class Frod(Additive):
    """x ↦ base(x) + U (S + diag(l - l₀)) Vᵀ x, where the weight is U diag(l₀) Vᵀ. V: (in, in), of all layers of a place; U: (out, in), with
    columns of length 1, computed from the weight. frod_lambda_l: l (in,); frod_lambda_s_values: S's entries, which start as 0.
    """

    def __init__(self, frozen: Frozen, config: FrodConfig, shared: Bases) -> None:
        super().__init__()
        self.category, self.shared = category(frozen.name), (shared,)
        self.frod_dropout = nn.Dropout(config.frod_dropout) if config.frod_dropout else nn.Identity()
        u, before = sides(frozen.weight, self.basis(frozen.weight))
        self.register_buffer("frod_U", u, persistent=False)
        self.register_buffer("frod_l_before", before, persistent=False)
        entries = torch.zeros(self.places().shape[1])
        if not config.init_weights:
            entries, before = 0.1 * torch.randn_like(entries), before + 0.1 * torch.randn_like(before)
        self.frod_lambda_l = nn.Parameter(before.clone())
        self.frod_lambda_s_values = nn.Parameter(entries)

    def basis(self, like: Tensor) -> Tensor:
        return self.shared[0].frod_V.get_buffer(self.category).to(like)

    def places(self) -> Tensor:
        """Where S has its entries: (2, entries)."""
        return self.shared[0].frod_s_indices.get_buffer(self.category).to(self.frod_U.device)

    def fit(self, weight: Tensor, basis: Tensor) -> None:
        """Compute U and l₀ again, for another V."""
        self.frod_U, self.frod_l_before = (part.to(self.frod_U) for part in sides(weight, basis.to(weight)))

    def turn(self) -> Tensor:
        """S + diag(l - l₀): (in, in)."""
        rows, columns = self.places()
        on_diagonal = torch.diag(self.frod_lambda_l - self.frod_l_before)
        return on_diagonal.index_put((rows, columns), self.frod_lambda_s_values)

    def change(self) -> Tensor:
        return self.frod_U @ self.turn() @ self.basis(self.frod_U).T

    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        result = base(x)
        along = self.frod_dropout(as_computed(x, self.frod_U.dtype)) @ self.basis(self.frod_U)
        return result + functional.linear(functional.linear(along, self.turn()), self.frod_U).to(result.dtype)


@final
class FrodFamily(LayerFamily):
    name = "FROD"
    prefix = "frod_"
    config = FrodConfig
    targets = VERA.targets
    targets_of: ClassVar[Mapping[str, Sequence[str] | str]] = {**VERA.targets_of, "vit": ("query", "value")}

    def layer(self, frozen: Frozen, config: Any, shared: Any) -> LayerMethod:
        return Frod(frozen, config, shared)

    def shared(self, config: Any, model: nn.Module, layers: Sequence[Frozen], others: Mapping[str, Any]) -> Placed:
        for other in others.values():
            for option in ("projection_prng_key", "save_projection"):
                if getattr(config, option) != getattr(other.config, option):
                    raise ConfigError(
                        f"FRoD: {option} must be the same for all adapters of a model; got {getattr(config, option)} and before "
                        f"{getattr(other.config, option)}"
                    )
        return Bases(config, layers)

    def shared_saved(self, config: Any) -> bool:
        return config.save_projection

    def before_load(
        self, config: Any, methods: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        """U is no part of a checkpoint: it is computed for the checkpoint's V, which another machine may have made a little otherwise."""
        for method in methods.values() if config.save_projection else ():
            key = f"base_model.frod_V.{method.category}"
            if key not in tensors:
                raise CheckpointError(
                    f"the checkpoint has no {key}: it was saved with save_projection=False. Say so in its adapter_config.json, and V is "
                    "computed again from the base"
                )
            weight = method.owner.frozen.weight
            if not torch.equal(tensors[key].to(weight), method.basis(weight)):
                method.fit(weight, tensors[key])
        return tensors


METHOD = FrodFamily()
