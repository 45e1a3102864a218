"""LoRA on one layer: its factors, and what they add. How they are applied is its variant's to say (`_lora_variant`)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, final

from torch import Tensor, nn
from torch.nn import functional

from tuning.initialising import initialise, minor_directions
from tuning.kinds import EMBEDDING, Affine, Frozen
from tuning.layer_method import Layer, LayerMethod, as_computed
from tuning.methods._loftq import split
from tuning.methods._lora_checks import check_goes, check_rank
from tuning.methods._lora_config import LoraConfig
from tuning.methods._lora_variants import variant_of
from tuning.methods._low_rank import FORMS
from tuning.patterns import value_for
from tuning.placement import OfAdapter


@final
class Lora(LayerMethod):
    """x ↦ base(x) + scaling · B A x. A: (r, in), B: (out, r); of an embedding A: (r, tokens), B: (dimensions, r)."""

    lora_A: Any  # a module with a weight, of layers that are multiplied; of an embedding the two below
    lora_B: Any
    lora_embedding_A: nn.Parameter
    lora_embedding_B: nn.Parameter
    lora_start_A: Tensor  # (r, in), (out, r): the part of the base's weight that A and B began as, where they did
    lora_start_B: Tensor
    lora_magnitude_vector: Any  # its variant's own, see there
    lora_diag: Any
    kasa_C: Any
    kasa_D: Any
    lora_velora_embed: Any
    lora_monteclora_sampler: Any
    lora_arrow: Any

    rounded: Callable[[], Tensor] | None = None  # of LoftQ: gives the weight that the base is to have

    r = OfAdapter[int]()
    lora_alpha = OfAdapter[float]()
    scaling = OfAdapter[float]()
    use_rslora = OfAdapter[bool]()
    use_dora = OfAdapter[bool]()
    lora_bias = OfAdapter[bool]()

    def __init__(self, frozen: Frozen, config: LoraConfig, shared: None) -> None:
        super().__init__()
        self.form = FORMS[frozen.role]
        self.r = value_for(config.rank_pattern, frozen.name, config.r)
        self.lora_alpha = value_for(config.alpha_pattern, frozen.name, config.lora_alpha)
        self.use_rslora, self.use_dora = config.use_rslora, config.use_dora
        self.scaling = self.lora_alpha / (math.sqrt(self.r) if config.use_rslora else self.r)
        self.lora_dropout = nn.Dropout(config.lora_dropout) if config.lora_dropout else nn.Identity()
        self.lora_bias = config.lora_bias and frozen.role != EMBEDDING
        check_goes(config, frozen)
        check_rank(self.r, frozen)
        for name, factor in zip(self.form.names, self.form.make(frozen, self.r, self.lora_bias), strict=True):
            setattr(self, name, factor)
        if _initialise(self, config, frozen):
            for name, factor in zip(("lora_start_A", "lora_start_B"), self.factors, strict=True):
                self.register_buffer(name, factor.detach().clone(), persistent=False)
        if str(config.init_lora_weights).lower() == "mica":
            self.still = self.form.names[1:]
            self.requires_grad_(True)
        if config.loftq_config:
            bits, rounds = config.loftq_config["loftq_bits"], config.loftq_config["loftq_iter"]
            rounded, *start = split(frozen.weight, self.r, bits, rounds)
            self.rounded = rounded
            for factor, values in zip(self.factors, start, strict=True):
                factor.data = values.contiguous()
            frozen = frozen.under(lambda affine, _: affine._replace(weight=rounded()))
        self.variant = variant_of(self, config, frozen)

    @property
    def converts(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride, reportIncompatibleUnannotatedOverride]
        return self.variant.converts

    @property
    def factors(self) -> tuple[Tensor, Tensor]:
        """(A, B)."""
        first, second = self.form.names
        a, b = getattr(self, first), getattr(self, second)
        return (a, b) if isinstance(a, Tensor) else (a.weight, b.weight)  # FSDP has a view in a parameter's place

    def change(self, frozen: Frozen) -> Tensor:
        """What B A adds to the weight: (out, in); of an embedding (tokens, dimensions)."""
        return self.without_start(self.form.change, frozen) * self.scaling

    def delta(self, frozen: Frozen) -> Tensor:
        return self.variant.change(self, frozen)

    def without_start(self, product: Callable[[Tensor, Tensor, Frozen], Tensor], frozen: Frozen) -> Tensor:
        """The factors' product, unscaled, less that of the factors as they began where the base has that part."""
        change = product(*self.factors, frozen)
        return change - product(self.lora_start_A, self.lora_start_B, frozen) if self.has_start else change

    @property
    def has_start(self) -> bool:
        return "lora_start_A" in self._buffers

    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        result = base(x)
        if frozen.role != EMBEDDING:
            x = as_computed(x, self.factors[0].dtype)
        return result + self.variant.added(self, result, x, frozen).to(result.dtype)

    def low(self, x: Tensor, frozen: Frozen) -> Tensor:
        """What B A adds to the layer's output for x, after dropout."""
        a, b = (getattr(self, name) for name in self.form.names)
        low = self.form.low(x, a, b, self.scaling, frozen)
        if self.has_start:
            start = functional.linear(x, self.lora_start_A.to(x.dtype)) * self.scaling
            low = low - functional.linear(start, self.lora_start_B.to(x.dtype))
        return low

    def merged(self, affine: Affine, frozen: Frozen) -> Affine:
        bias = affine.bias
        if self.lora_bias:
            added = self.lora_B.bias * self.scaling
            bias = added if bias is None else bias + added
        return Affine(self.variant.merged(self, affine.weight, frozen), bias)

    def unmerged(self, affine: Affine, frozen: Frozen) -> Affine:
        bias = affine.bias
        if bias is not None and self.lora_bias:
            bias = bias - self.lora_B.bias * self.scaling
        return Affine(self.variant.unmerged(self, affine.weight, frozen), bias)


def _initialise(method: Lora, config: LoraConfig, frozen: Frozen) -> bool:
    """Fill A and B; returns whether they are a part of the base's weight."""
    how = config.init_lora_weights
    if frozen.role != EMBEDDING:
        return initialise(method.lora_A, method.lora_B, method.scaling, how, frozen, method.r, config.lora_ga_config)
    if how is False:
        nn.init.normal_(method.lora_embedding_A)
    elif str(how).lower() == "mica":
        method.lora_embedding_B.data = minor_directions(frozen.weight.T, method.r)
    return False
