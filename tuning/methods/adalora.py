"""AdaLoRA: LoRA whose change has the form of a singular value decomposition, P Λ Q, and whose ranks a budget shares out among
the layers while they train (Zhang et al. 2023, https://arxiv.org/abs/2303.10512).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, final

import torch
from torch import Tensor, nn

from tuning.config import fraction, one_of, positive
from tuning.errors import AdapterError, ConfigError
from tuning.kinds import CONV, LINEAR, Frozen
from tuning.layers import AdaptedLayer, Additive, Layer, LayerMethod, as_computed
from tuning.methods.lora import LoraConfig
from tuning.registry import LayerFamily

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
            raise ConfigError(
                f"`orth_reg_weight` should be greater than or equal to 0, but the value passed is {self.orth_reg_weight}"
            )
        if self.use_dora or str(self.init_lora_weights).lower() == "loftq" or self.loftq_config:
            raise ConfigError(f"ADALORA does not support {'DoRA' if self.use_dora else 'LOFTQ'}")
        if self.r != 8:
            warnings.warn(
                "Note that `r` is not used in AdaLora and will be ignored. `init_r` is the rank at the start.",
                stacklevel=5,
            )
        if self.target_r > self.init_r:
            raise ConfigError(f"target_r is {self.target_r} and init_r {self.init_r}: ranks are only taken away")
        if self.total_step is None or self.total_step <= 0:
            raise ConfigError("AdaLoRA does not work when `total_step` is None, supply a value > 0.")
        if min(self.tinit, self.tfinal) < 0 or self.tinit >= self.last_cut:
            raise ConfigError(
                f"The supplied schedule values don't allow for a budgeting phase: tinit ({self.tinit}) and tfinal ({self.tfinal}) leave none of total_step ({self.total_step}) for "
                "cutting ranks: they have to be 0 or more, and together less than it"
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

    def resize(self, r: int) -> None:
        """Room for r ranks, to be filled from a checkpoint."""
        shapes = {"lora_A": (r, self.lora_A.shape[1]), "lora_B": (len(self.lora_B), r), "lora_E": (r, 1)}
        for name, shape in shapes.items():
            there = self.get_parameter(name)
            setattr(self, name, nn.Parameter(there.new_zeros(shape), there.requires_grad))
        self.importance, self.left = {}, None


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
