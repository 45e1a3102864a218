"""What LoRA does where an output head is tied to the embedding (`ensure_weight_tying`), and beside its targets with tokens."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, final

from torch import Tensor, nn

from tuning.errors import ConfigError
from tuning.kinds import Frozen
from tuning.layers import Additive, Layer, LayerMethod, as_computed
from tuning.methods._tokens import Tokens, frozen_at, named
from tuning.targets import embedding_path, tied_paths

if TYPE_CHECKING:
    from tuning.methods.lora import Lora, LoraConfig

TYING = ("embed_tokens", "lm_head")  # PEFT 0.21 ties what has one of these names, and nothing else


@final
class TiedLora(Additive):
    """x ↦ base(x) + scaling · x B A, with the embedding's A (r, tokens) and B (dimensions, r): the head as the change of the
    embedding's weight makes it.
    """

    lora_embedding_A: nn.Parameter
    lora_embedding_B: nn.Parameter

    def __init__(self, embedding: Lora) -> None:
        super().__init__()
        self.scaling, self.lora_dropout = embedding.scaling, embedding.lora_dropout
        self.lora_embedding_A, self.lora_embedding_B = embedding.lora_embedding_A, embedding.lora_embedding_B
        self.tied, self.saved = True, False
        self.follows_ties = embedding.follows_ties = True

    def change(self) -> Tensor:
        """(tokens, dimensions)."""
        return (self.lora_embedding_B @ self.lora_embedding_A).T * self.scaling

    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        result = base(x)
        low = self.lora_dropout(as_computed(x, self.lora_embedding_B.dtype)) @ self.lora_embedding_B
        return result + (low @ self.lora_embedding_A * self.scaling).to(result.dtype)


def prepared(config: LoraConfig, model: nn.Module) -> None:
    """With `ensure_weight_tying`: where a tied layer is meant, the embedding is, and the heads follow it."""
    if not config.ensure_weight_tying:
        return
    heads = tied_paths(model) if hasattr(model, "get_input_embeddings") else []
    if not heads:
        warnings.warn(
            "You have requested `ensure_weight_tying`, but no tied modules were found in the model", stacklevel=4
        )
        return
    if any(name.rpartition(".")[2] in TYING for name in config.modules_to_save or ()):
        config.modules_to_save = _without(config.modules_to_save or (), heads, embedding_path(model))
    elif _meant(config):
        embedding = embedding_path(model)
        if isinstance(config.target_modules, str):
            config.target_modules = rf"(?:{config.target_modules}|^{re.escape(embedding)}$)"
        else:
            config.target_modules = set(_without(config.target_modules or (), heads, embedding))
    elif config.trainable_token_indices is None:
        warnings.warn(
            "You have requested `ensure_weight_tying`, but no tied modules are added in either `modules_to_save` or `target_modules`",
            stacklevel=4,
        )


def _meant(config: LoraConfig) -> bool:
    asked = config.target_modules
    if isinstance(asked, str):
        return any(re.fullmatch(asked, name) for name in TYING)
    return any(name.rpartition(".")[2] in TYING for name in asked or ())


def _without(names: Collection[str], heads: Sequence[str], embedding: str) -> list[str]:
    """Names that mean no head, and the embedding."""
    kept = [name for name in names if not any(re.match(rf"(^|.*\.){name}($|\..*)", head) for head in heads)]
    return kept if any(embedding == name or embedding.endswith(f".{name}") for name in kept) else [*kept, embedding]


def before_load(
    config: LoraConfig, methods: Mapping[str, nn.Module], tensors: Mapping[str, Tensor]
) -> Mapping[str, Tensor]:
    """Without the copies of the embedding's factors that PEFT writes for tied heads."""
    tied = tuple(f"{key}.lora_" for key, method in methods.items() if isinstance(method, TiedLora))
    return {key: tensor for key, tensor in tensors.items() if not key.startswith(tied)} if tied else tensors


def beside(
    config: LoraConfig, model: nn.Module, made: Mapping[str, LayerMethod]
) -> Sequence[tuple[Frozen, LayerMethod]]:
    """The rows of tokens that are trained, and heads that are tied to an adapted embedding. Raises ConfigError, TargetError."""
    found: list[tuple[Frozen, LayerMethod]] = []
    if config.trainable_token_indices is not None:
        found += _tokens(config, model, made)
    if config.ensure_weight_tying and hasattr(model, "get_input_embeddings"):
        embedding = made.get(embedding_path(model))
        if embedding is not None and hasattr(embedding, "lora_embedding_A") and _meant(config):
            found += [(frozen_at(model, path), TiedLora(embedding)) for path in tied_paths(model)]  # type: ignore[arg-type]
    return found


def _tokens(
    config: LoraConfig, model: nn.Module, made: Mapping[str, LayerMethod]
) -> Sequence[tuple[Frozen, LayerMethod]]:
    asked = config.trainable_token_indices
    embedding = embedding_path(model) if hasattr(model, "get_input_embeddings") or not isinstance(asked, dict) else ""
    wanted = (
        {named(model, key): value for key, value in asked.items()} if isinstance(asked, dict) else {embedding: asked}
    )
    for path in wanted:
        if path in made:
            raise ConfigError(
                f"'{path}' is in target_modules and has trainable_token_indices. Leave it out of one of the two."
            )
        if any(path == kept or path.endswith(f".{kept}") for kept in config.modules_to_save or ()):
            raise ConfigError(
                f"'{path}' is in modules_to_save, trained whole, and has trainable_token_indices: one of the two"
            )
    heads = tied_paths(model) if embedding else []
    tied = {path: indices for path, indices in wanted.items() if path in heads or path == embedding}
    differ = any(indices != next(iter(tied.values())) for indices in tied.values())
    if differ and config.ensure_weight_tying:
        shown = ", ".join(f"{path} {indices}" for path, indices in tied.items())
        raise ConfigError(f"ensure_weight_tying, and layers that are tied have other token indices: {shown}")
    follows = embedding in wanted and not differ
    found: dict[str, tuple[Frozen, Tokens]] = {}
    for path, indices in wanted.items():
        if not (follows and path in heads):
            frozen = frozen_at(model, path)
            found[path] = frozen, Tokens(frozen, indices or (), nested=True)
    if follows:
        source = found[embedding][1]
        for path in heads:
            frozen = frozen_at(model, path)
            found[path] = frozen, Tokens(frozen, wanted[embedding] or (), nested=True).tied_to(source)
    return list(found.values())
