"""What a ShadowPEFT adapter is: PEFT's config."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tuning.config import LayerConfig, fraction, positive
from tuning.errors import ConfigError

MIRROR = "mirror"
SIZES = ("shadow_num_hidden_layers", "shadow_hidden_size", "shadow_num_attention_heads", "shadow_intermediate_size")


@dataclass(kw_only=True)
class ShadowConfig(LayerConfig):
    """`target_modules`: blocks of the model, all of them where it is left out. `shadow_model`: "mirror", a small model of the base's class and
    of the sizes that are given, or the folder of a model.
    """

    METHOD: ClassVar[str] = "SHADOW"

    r: int = 8
    shadow_alpha: float = 0.1
    shadow_dropout: float = 0.2
    init_weights: bool = True
    shadow_model: str = MIRROR
    shadow_num_hidden_layers: int | None = None
    shadow_hidden_size: int | None = None
    shadow_num_attention_heads: int | None = None
    shadow_intermediate_size: int | None = None
    share_embeddings: bool = True
    update_hidden_size: int | None = None
    auxiliary_loss_weight: float = 0.05

    def check(self) -> None:
        super().check()
        positive(r=self.r)
        fraction(shadow_dropout=self.shadow_dropout)
        given = [name for name in SIZES if getattr(self, name) is not None]
        for name in (*given, *(["update_hidden_size"] if self.update_hidden_size is not None else [])):
            positive(**{name: getattr(self, name)})
        if given and self.shadow_model != MIRROR:
            raise ConfigError(f"shadow_model={self.shadow_model!r} has its own sizes: leave out {', '.join(given)}")
