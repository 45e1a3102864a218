"""AdaLoRA's config, and AdaLoRA on one layer: factors with singular values, and how important each rank is."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, final

import torch
from torch import Tensor, nn

from tuning.config import fraction, one_of, positive
from tuning.errors import ConfigError
from tuning.kinds import CONV, Frozen
from tuning.layer_method import Additive, Layer, as_computed
from tuning.methods._lora_config import LoraConfig
from tuning.methods._lora_options import OPTIONS

FACTORS = ("lora_A", "lora_B", "lora_E")
EPSILON = 1e-5  # PEFT's, so that a rank of 0 divides nothing by 0


@dataclass(kw_only=True)
class AdaLoraConfig(LoraConfig):
    """Ranks start at `init_r` and end at `target_r` on average: for `tinit` steps nothing is cut, then every `deltaT` steps,
    and for the last `tfinal` of `total_step` steps what is left is trained.

    `rank_pattern` is written while training: a layer's path and `.lora_E` -> which of its ranks are left.
    """

    METHOD: ClassVar[str] = "ADALORA"
    NOT_HERE: ClassVar[Sequence[str]] = (
        *LoraConfig.NOT_HERE,
        *OPTIONS,
        *("use_dora", "use_rslora", "lora_bias", "trainable_token_indices", "target_parameters", "ensure_weight_tying"),
        "alpha_pattern",
    )

    target_r: int = 8
    init_r: int = 12
    tinit: int = 0
    tfinal: int = 0
    deltaT: int = 1
    beta1: float = 0.85
    beta2: float = 0.85
    orth_reg_weight: float = 0.5
    total_step: int | None = None
    rank_pattern: Any = None  # what is written while training: dict[str, list[bool]]

    def check(self) -> None:
        super().check()
        positive(init_r=self.init_r, target_r=self.target_r, deltaT=self.deltaT, beta1=self.beta1, beta2=self.beta2)
        fraction(lora_dropout=self.lora_dropout, beta1=self.beta1, beta2=self.beta2)
        one_of("bias", self.bias, ("none", "all", "lora_only"))
        if self.orth_reg_weight < 0:
            raise ConfigError(f"orth_reg_weight is {self.orth_reg_weight}; it has to be 0 or more")
        if self.use_dora or str(self.init_lora_weights).lower() == "loftq" or self.loftq_config:
            raise ConfigError(f"ADALORA does not support {'DoRA' if self.use_dora else 'LOFTQ'}")
        if self.r != 8:
            warnings.warn(
                f"r={self.r} does nothing: AdaLoRA starts at init_r={self.init_r} and ends at target_r={self.target_r}",
                stacklevel=5,
            )
        if self.target_r > self.init_r:
            raise ConfigError(f"target_r is {self.target_r} and init_r {self.init_r}: ranks are only taken away")
        if self.total_step is None or self.total_step <= 0:
            raise ConfigError(
                "AdaLoRA cuts ranks by a schedule: give total_step, the number of optimiser's steps, above 0"
            )
        if min(self.tinit, self.tfinal) < 0 or self.tinit >= self.last_cut:
            raise ConfigError(
                f"tinit ({self.tinit}) and tfinal ({self.tfinal}) leave no step of total_step ({self.total_step}) to cut ranks in: they have "
                "to be 0 or more, and together less than it"
            )

    @property
    def last_cut(self) -> int:
        """The step at which ranks are cut for the last time."""
        return (self.total_step or 0) - self.tfinal


class Importance(NamedTuple):
    """Of each value of a factor, smoothed over steps: how much the loss depends on it, and how uncertain that is."""

    sensitivity: Tensor
    uncertainty: Tensor


@final
class AdaLora(Additive):
    """x ↦ base(x) + lora_alpha / init_r · B (E ⊙ A) x. lora_A: (r, in), lora_B: (out, r), lora_E: (r, 1), r ≤ init_r."""

    def __init__(self, frozen: Frozen, config: AdaLoraConfig, shared: None) -> None:
        super().__init__()
        out, into = frozen.shape
        r = config.init_r
        self.ranknum = float(r)  # stays, however many ranks are left: the change is scaled as at the start
        self.scaling = (config.lora_alpha if config.lora_alpha > 0 else r) / (self.ranknum + EPSILON)
        self.lora_dropout = nn.Dropout(config.lora_dropout) if config.lora_dropout else nn.Identity()
        std = 0.02 if config.init_lora_weights else 1.0
        self.lora_A = nn.Parameter(torch.randn(r, into) * std)
        self.lora_B = nn.Parameter(torch.randn(out, r) * std)
        self.lora_E = nn.Parameter(torch.zeros(r, 1) if config.init_lora_weights else torch.randn(r, 1))
        self.importance: dict[str, Importance] = {}
        self.left: Tensor | None = None  # (r,): which ranks are, once some were cut

    def change(self) -> Tensor:
        """What is added to the weight: (out, in)."""
        return self.lora_B @ (self.lora_A * self.lora_E) * self.scaling

    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        result = base(x)
        x = self.lora_dropout(as_computed(x, self.lora_A.dtype))
        if frozen.role == CONV:
            return result + frozen.kind.apply(frozen.module, x, self.change()).to(result.dtype)
        return result + (x @ (self.lora_A * self.lora_E).T @ self.lora_B.T * self.scaling).to(result.dtype)

    def learn_importance(self, beta1: float, beta2: float) -> None:
        """From the gradients that are there (section 3.2, equations 8 to 10). A layer that had none counts as unimportant."""
        for name in FACTORS:
            value = self.get_parameter(name)
            now = torch.zeros_like(value) if value.grad is None else (value * value.grad).abs()
            before = self.importance.get(name, Importance(torch.zeros_like(value), torch.zeros_like(value)))
            sensitivity = beta1 * before.sensitivity + (1 - beta1) * now
            uncertainty = beta2 * before.uncertainty + (1 - beta2) * (now - sensitivity).abs()
            self.importance[name] = Importance(sensitivity, uncertainty)

    def scores(self) -> Tensor:
        """(r,): the importance of each rank (equation 7), of all of them infinite where nothing was learned yet."""
        if not self.importance:
            return self.lora_E.new_full((len(self.lora_E),), torch.inf)
        a, b, e = (self.importance[name].sensitivity * self.importance[name].uncertainty for name in FACTORS)
        return e.squeeze(1) + a.mean(dim=1) + b.mean(dim=0)

    def cut(self) -> None:
        """Set the singular values of ranks that are not left to 0."""
        if self.left is not None:
            self.lora_E.masked_fill_(~self.left.unsqueeze(1), 0.0)
