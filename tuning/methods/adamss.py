"""AdaMSS: clusters a layer's outputs by its singular vectors, and changes the weights of each cluster in a subspace of
its own ("AdaMSS: Adaptive Multi-Subspace Approach for Parameter-Efficient Fine-Tuning", 2025,
https://openreview.net/forum?id=8ZdWmpYxT0).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuning.config import LayerConfig, one_of, positive
from tuning.errors import ConfigError
from tuning.kinds import Affine, Frozen
from tuning.layer_method import Layer, LayerMethod, as_computed
from tuning.layers import AdaptedLayer
from tuning.methods import _subspaces
from tuning.methods._clusters import started
from tuning.methods.lora import METHOD as LORA
from tuning.registry import LayerFamily

A, B = "adamss_A", "adamss_B"


@dataclass(kw_only=True)
class AdamssConfig(LayerConfig):
    """`r`: singular vectors of a weight; `num_subspaces`: clusters; `subspace_rank`: of a cluster's change, with `use_dynamic_rank` at
    most. `use_asa`: leave only the `asa_target_subspaces` most important ones training (`update_and_allocate` after each step).
    """

    METHOD: ClassVar[str] = "ADAMSS"

    r: int = 100
    num_subspaces: int = 5
    subspace_rank: int = 1
    init_weights: bool | str | None = "orthogonal"
    use_asa: bool = False
    asa_target_subspaces: int = 50
    init_warmup: int = 50
    final_warmup: int = 1000
    mask_interval: int = 100
    asa_importance_beta: float = 0.85
    asa_uncertainty_beta: float = 0.85
    asa_schedule_exponent: float = 3.0
    use_dynamic_rank: bool = False
    svd_threshold: float = 0.1
    random_seed: int = 0

    def check(self) -> None:
        super().check()
        positive(r=self.r, num_subspaces=self.num_subspaces, subspace_rank=self.subspace_rank)
        self.init_weights = None if self.init_weights is False else self.init_weights
        one_of("init_weights", self.init_weights, ("orthogonal", None))
        if self.use_asa:
            few, exponent = self.asa_target_subspaces, self.asa_schedule_exponent
            positive(mask_interval=self.mask_interval, asa_target_subspaces=few, asa_schedule_exponent=exponent)
            if self.init_warmup >= self.final_warmup:
                raise ConfigError(
                    f"`init_warmup` must be smaller than `final_warmup`, so that there are steps to prune in; they are {self.init_warmup} "
                    f"and {self.final_warmup}"
                )


@final
class Adamss(LayerMethod):
    """x ↦ base(x) + M V x̃, V = adamss_newB (r, in), frozen, the weight's right singular vectors; row by row M (out, r) is Bᵢ Aᵢ, i the
    cluster of an output, adamss_A[i]: (rank, r), adamss_B[i]: (its outputs, rank). A bias is a column more of the weight, x̃ has a 1 then.
    """

    adamss_newB: Tensor
    places: Tensor  # (out,): the row of the clusters' change, one below the other, that is an output's

    def __init__(self, frozen: Frozen, config: AdamssConfig, shared: None) -> None:
        super().__init__()
        weight, bias = frozen.affine
        self.importance: dict[_subspaces.Key, tuple[Tensor, Tensor]] = {}
        whole = (weight if bias is None else torch.cat((weight, bias.unsqueeze(1)), dim=1)).detach()
        vectors, rows, pairs = started(whole, config)
        self.register_buffer("adamss_newB", vectors)
        self.register_buffer("places", torch.cat(rows).argsort(), persistent=False)
        self.adamss_A = nn.ParameterList([nn.Parameter(a) for a, _ in pairs])
        self.adamss_B = nn.ParameterList([nn.Parameter(b) for _, b in pairs])

    @property
    def factors(self) -> Mapping[str, Sequence[nn.Parameter]]:
        return {A: list(self.adamss_A), B: list(self.adamss_B)}

    def mixing(self) -> Tensor:
        """M: (out, r)."""
        return torch.cat([b @ a for a, b in zip(self.adamss_A, self.adamss_B, strict=True)])[self.places]

    def change(self, into: int) -> tuple[Tensor, Tensor]:
        """What is added to the weight, (out, in), and to the bias, (out,); without a bias that is empty."""
        mixed, vectors = self.mixing(), self.adamss_newB
        return mixed @ vectors[:, :into], (mixed @ vectors[:, into:]).flatten()

    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        result, vectors = base(x), self.adamss_newB
        into = x.shape[-1]
        constant = vectors[:, into] if vectors.shape[1] > into else None
        low = functional.linear(as_computed(x, vectors.dtype), vectors[:, :into], constant)
        return result + functional.linear(low, self.mixing()).to(result.dtype)

    def merged(self, affine: Affine, frozen: Frozen) -> Affine:
        return self._added(affine, 1)

    def unmerged(self, affine: Affine, frozen: Frozen) -> Affine:
        return self._added(affine, -1)

    def _added(self, affine: Affine, sign: int) -> Affine:
        weight, bias = self.change(affine.weight.shape[1])
        moved = None if affine.bias is None else affine.bias + sign * bias.to(affine.bias)
        return Affine(affine.weight + sign * weight.to(affine.weight), moved)


@final
class AdamssFamily(LayerFamily):
    name = "ADAMSS"
    prefix = "adamss_"
    config = AdamssConfig
    targets = LORA.targets
    targets_of: ClassVar[Mapping[str, Sequence[str] | str]] = {**LORA.targets_of, "vit": ("query", "value")}

    def layer(self, frozen: Frozen, config: Any, shared: Any) -> LayerMethod:
        return Adamss(frozen, config, shared)

    def end_of_step(self, config: Any, layers: Mapping[str, AdaptedLayer], name: str, step: int) -> None:
        if config.use_asa:
            found: list[Any] = [layer.adapters[name] for layer in layers.values()]
            _subspaces.allocate(config, found, step)

    def before_load(
        self, config: Any, methods: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> Mapping[str, Tensor]:
        return _subspaces.with_ranks_of(methods, tensors)

    def learning(self, methods: Mapping[str, Any]) -> Mapping[str, Tensor]:
        return _subspaces.learned(methods)

    def go_on(self, config: Any, methods: Mapping[str, Any], learned: Mapping[str, Tensor]) -> None:
        _subspaces.go_on(methods, learned)


METHOD = AdamssFamily()
