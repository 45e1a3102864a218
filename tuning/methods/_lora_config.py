"""What a LoRA adapter is: PEFT's config, and what of it is refused here."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from tuning.config import LayerConfig, fraction, one_of, positive
from tuning.errors import ConfigError, NoList
from tuning.initialising import check_name, takes_part
from tuning.methods._lora_options import OPTIONS, CordaConfig, EvaConfig, option

VARIANTS = (
    "use_dora",
    "alora_invocation_tokens",
    "kasa_config",
    "use_bdlora",
    "velora_config",
    "monteclora_config",
    "arrow_config",
)


@dataclass
class LoraRuntimeConfig:
    """What is said for one run, and not saved. `ephemeral_gpu_offload` is for DoRA on a GPU: nothing of it is moved here."""

    ephemeral_gpu_offload: bool = False


@dataclass(kw_only=True)
class LoraConfig(LayerConfig):
    METHOD: ClassVar[str] = "LORA"
    NOT_HERE: ClassVar[Sequence[str]] = ("megatron_config",)

    r: int = 8
    lora_alpha: float = 8
    lora_dropout: float = 0.0
    fan_in_fan_out: bool = False  # read and written for PEFT; a layer's own kind says how its weight lies
    bias: str = "none"
    use_rslora: bool = False
    init_lora_weights: bool | str = True
    rank_pattern: dict[str, int] | None = field(default_factory=dict)
    alpha_pattern: dict[str, int] | None = field(default_factory=dict)
    use_dora: bool = False
    lora_bias: bool = False
    trainable_token_indices: list[int] | dict[str, list[int]] | None = None
    ensure_weight_tying: bool = False

    target_parameters: list[str] | None = None
    megatron_config: dict[str, Any] | None = None
    megatron_core: str | None = "megatron.core"
    layer_replication: list[tuple[int, int]] | None = None
    alora_invocation_tokens: list[int] | None = None
    arrow_config: Any = None
    loftq_config: Any = field(default_factory=dict)
    eva_config: Any = None
    corda_config: Any = None
    lora_ga_config: Any = None
    velora_config: Any = None
    monteclora_config: Any = None
    kasa_config: Any = None
    use_bdlora: Any = None
    use_qalora: bool = False
    qalora_group_size: int = 16
    runtime_config: Any = field(default_factory=LoraRuntimeConfig)

    def _check_starts(self) -> None:
        """Give a start that is taken from data its config, and warn of one that goes unused; LoftQ's is a dict, as in PEFT."""
        how = str(self.init_lora_weights).lower()
        if how == "loftq" and self.loftq_config is None:
            raise ConfigError(
                "`loftq_config` must be specified where init_lora_weights='loftq': loftq_config=LoftQConfig()"
            )
        for name, title, kind in (("eva", "EVA", EvaConfig), ("corda", "CorDA", CordaConfig)):
            if how == name and getattr(self, f"{name}_config") is None:
                warnings.warn(
                    f"`init_lora_weights` is '{name}' but `{name}_config` is not specified. Using default {title} config: {kind.__name__}()",
                    stacklevel=5,
                )
                setattr(self, f"{name}_config", kind())
        for name in ("loftq", "eva", "corda"):
            if how != name and getattr(self, f"{name}_config") is not None:
                warnings.warn(
                    f"`{name}_config` specified but will be ignored when `init_lora_weights` is not '{name}': leave it out", stacklevel=5
                )  # fmt: skip
        self.loftq_config = asdict(self.loftq_config) if how == "loftq" else {}

    def check_here(self) -> None:
        super().check_here()
        if self.use_qalora:
            raise ConfigError(
                "use_qalora is for layers that are quantised with GPTQ (QALoRA, https://arxiv.org/abs/2309.14717), and their weights can't be "
                "read here. Leave it out: on other layers PEFT's adapter is a plain LoRA too"
            )

    def to_dict(self) -> dict[str, Any]:
        return {key: value for key, value in super().to_dict().items() if key != "runtime_config"}

    def check(self) -> None:
        super().check()
        self.loftq_config = self.loftq_config or None
        for name in OPTIONS:
            setattr(self, name, option(name, getattr(self, name)))
        positive(r=self.r, lora_alpha=self.lora_alpha)
        fraction(lora_dropout=self.lora_dropout)
        one_of("bias", self.bias, ("none", "all", "lora_only"))
        check_name(self.init_lora_weights)
        if self.lora_bias and self.init_lora_weights not in (True, False):
            raise ConfigError(
                f"The argument lora_bias=True is for init_lora_weights=True or False, and not for {self.init_lora_weights!r}"
            )
        if isinstance(self.target_parameters, str):
            raise NoList(
                f"`target_parameters` must be a list of names of parameters, and is {self.target_parameters!r}"
            )
        if self.use_rslora and takes_part(self.init_lora_weights) and (self.rank_pattern or self.alpha_pattern):
            warnings.warn(
                f"init_lora_weights={self.init_lora_weights!r} with use_rslora and a rank_pattern or alpha_pattern can't be saved as a plain "
                "LoRA (path_initial_model_for_weight_conversion). Where that is wanted, leave one of the two out", stacklevel=5,
            )  # fmt: skip
        self._check_starts()
        if len(used := [name for name in VARIANTS if getattr(self, name) not in (None, False)]) > 1:
            raise ConfigError(f"{', '.join(used)} each change how LoRA's factors are applied: take one of them")
        if self.lora_bias and used:
            raise ConfigError(f"The argument lora_bias=True is not for {used[0]}, which has no bias")
