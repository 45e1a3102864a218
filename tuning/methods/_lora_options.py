"""What LoRA's variants and starts are configured with, by PEFT's names: each the value of a field of `LoraConfig`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from tuning.config import one_of, positive
from tuning.errors import ConfigError
from tuning.methods._loftq import LoftQConfig


@dataclass
class KasaConfig:
    """KaSA (Wang et al. 2024, https://arxiv.org/abs/2412.06071). What is added to the loss: `beta` · ‖diagonal‖², and `gamma` times how far
    A's rows and B's columns are from orthonormal.
    """

    beta: float = 1e-4
    gamma: float = 1e-3

    def __post_init__(self) -> None:
        if min(self.beta, self.gamma) < 0:
            raise ConfigError(f"beta is {self.beta} and gamma {self.gamma}; both have to be 0 or more")


@dataclass
class BdLoraConfig:
    """BD-LoRA (Wang et al. 2025, https://arxiv.org/abs/2510.23346): layers whose A or whose B is block-diagonal, named by parts of their paths.
    `match_strict`: every layer has to be one.
    """

    target_modules_bd_a: list[str] | None = None
    target_modules_bd_b: list[str] | None = None
    nblocks: int = 1
    match_strict: bool = True

    def __post_init__(self) -> None:
        positive(nblocks=self.nblocks)
        if both := set(self.target_modules_bd_a or ()) & set(self.target_modules_bd_b or ()):
            raise ConfigError(
                f"target_modules_bd_a and target_modules_bd_b both name {', '.join(sorted(both))}: one factor is in blocks"
            )


@dataclass
class VeloraConfig:
    """VeLoRA (Miles et al. 2024, https://arxiv.org/abs/2405.17991): inputs are kept for the backward pass as `num_groups` numbers a token,
    along a direction that `init_type` says where to take from; A's gradient is computed from `scale` times what these stand for.
    """

    num_groups: int = 64
    scale: float = 1.0
    init_type: str = "batch_average"

    def __post_init__(self) -> None:
        positive(num_groups=self.num_groups, scale=self.scale)
        one_of("init_type", self.init_type, ("batch_average", "batch_average_once", "random"))


@dataclass
class CordaConfig:
    """CorDA (Yang et al. 2024, https://arxiv.org/abs/2406.05223): "ipm" adapts the directions that data uses most, "kpm" least."""

    cache_file: str | None = None
    covariance_file: str | None = None
    corda_method: str = "ipm"
    verbose: bool = False
    use_float16_for_covariance: bool = False
    prune_temporary_fields: bool = True

    def __post_init__(self) -> None:
        one_of("corda_method", self.corda_method, ("ipm", "kpm"))


@dataclass
class LoraGAConfig:
    """LoRA-GA (Wang et al. 2024, https://arxiv.org/abs/2407.05000): which singular directions of the gradient A and B take, and how long they are."""

    direction: str = "ArB2r"
    scale: str = "stable"
    stable_gamma: int = 16

    def __post_init__(self) -> None:
        one_of("direction", self.direction, ("ArBr", "A2rBr", "ArB2r", "random"))
        one_of("scale", self.scale, ("stable", "weight_svd", "gd_scale", "unit"))
        positive(stable_gamma=self.stable_gamma)


@dataclass
class MontecloraConfig:
    """MonteCLoRA (Seth et al. 2024, https://arxiv.org/abs/2411.04358). `buffer_size`: how many draws PEFT makes ahead; here each is made
    when it is needed, so that it changes nothing.
    """

    num_samples: int = 8
    use_entropy: bool = False
    dirichlet_prior: float = 0.1
    sample_scaler: float = 1e-4
    kl_loss_weight: float = 1e-5
    buffer_size: int = 150

    def __post_init__(self) -> None:
        positive(num_samples=self.num_samples, dirichlet_prior=self.dirichlet_prior, buffer_size=self.buffer_size)


@dataclass
class ArrowConfig:
    """Arrow (Ostapenko et al. 2024, https://arxiv.org/abs/2405.11157): each token goes through the `top_k` nearest adapters. `use_gks`:
    general adapters are subtracted from the others. The names are set by `tuning.create_arrow_model`.
    """

    top_k: int = 3
    router_temperature: float = 1.0
    use_gks: bool = False
    task_adapter_names: list[str] | None = field(default=None, init=False)
    gks_adapter_names: list[str] | None = field(default=None, init=False)
    rng_seed: int | None = None

    def __post_init__(self) -> None:
        positive(top_k=self.top_k, router_temperature=self.router_temperature)


@dataclass
class EvaConfig:
    """EVA (Paischer et al. 2024, https://arxiv.org/abs/2410.07170), found by `initialize_lora_eva_weights`. A layer's rank is at most `rho` · r;
    a direction is found once its cosine with the one before is `tau`. `use_label_mask`: only inputs of tokens whose label is another than
    `label_mask_value`. `whiten`: directions are divided by the root of their singular value. `adjust_scaling_factors`: lora_alpha / r stays.
    """

    rho: float = 2.0
    tau: float = 0.99
    use_label_mask: bool = True
    label_mask_value: int = -100
    whiten: bool = False
    adjust_scaling_factors: bool = True

    def __post_init__(self) -> None:
        if self.rho < 1:
            raise ConfigError(f"`rho` must be >= 1.0, and is {self.rho}")
        if not 0 <= self.tau <= 1:
            raise ConfigError(f"`tau` must be between 0.0 and 1.0. It is {self.tau}")


OPTIONS: Mapping[str, type] = {  # a field of LoraConfig -> what it holds
    "arrow_config": ArrowConfig,
    "kasa_config": KasaConfig,
    "use_bdlora": BdLoraConfig,
    "velora_config": VeloraConfig,
    "monteclora_config": MontecloraConfig,
    "corda_config": CordaConfig,
    "lora_ga_config": LoraGAConfig,
    "loftq_config": LoftQConfig,
    "eva_config": EvaConfig,
}


def option(name: str, value: Any) -> Any:
    """A field's value, made of a dict where it comes from a file. Raises ConfigError."""
    kind = OPTIONS[name]
    if value is None or isinstance(value, kind):
        return value
    if not isinstance(value, Mapping):
        raise ConfigError(f"{name} is {value!r}; it has to be a {kind.__name__}")
    known = {entry.name: entry.init for entry in fields(kind)}
    if unknown := sorted(set(value) - set(known)):
        raise ConfigError(f"{name} has {', '.join(unknown)}; a {kind.__name__} has {', '.join(sorted(known))}")
    made = kind(**{key: each for key, each in value.items() if known[key]})
    for key in (key for key in value if not known[key]):
        setattr(made, key, value[key])
    return made
