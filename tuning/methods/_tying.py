"""What LoRA does where layers share the embedding's weight (`ensure_weight_tying`), and beside its targets with tokens."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, final

from torch import Tensor, nn

from tuning.errors import ConfigError
from tuning.kinds import EMBEDDING, Frozen
from tuning.layer_method import Additive, Layer, LayerMethod, as_computed
from tuning.methods._low_rank import FORMS
from tuning.methods._token_layers import frozen_at, named
from tuning.methods._tokens import Tokens
from tuning.placement import OfAdapter
from tuning.tied import embedding_path, saves_tied, targets_tied, tied_layers


class Turned:
    """A parameter of another layer, transposed: what PEFT has as a tied head's `lora_A["default"].weight`."""

    def __init__(self, parameter: nn.Parameter) -> None:
        self.parameter = parameter

    @property
    def weight(self) -> Tensor:
        return self.parameter.T


@final
class TiedLora(Additive):
    """The change of the embedding's weight by its A (r, tokens) and B (dimensions, r), on a layer that shares that weight: of a head
    x ↦ base(x) + scaling · Aᵀ Bᵀ x, of another embedding ids ↦ base(ids) + scaling · B A[:, ids].
    """

    lora_embedding_A: nn.Parameter
    lora_embedding_B: nn.Parameter
    lora_A = OfAdapter[Turned]()
    lora_B = OfAdapter[Turned]()

    def __init__(self, embedding: LayerMethod, frozen: Frozen) -> None:
        super().__init__()
        of: Any = embedding
        self.scaling, self.lora_dropout = of.scaling, of.lora_dropout
        self.lora_embedding_A, self.lora_embedding_B = of.lora_embedding_A, of.lora_embedding_B
        if frozen.role != EMBEDDING:
            self.lora_A, self.lora_B = Turned(self.lora_embedding_B), Turned(self.lora_embedding_A)
        self.tied, self.saved = True, False
        self.follows_ties = embedding.follows_ties = True

    def change(self) -> Tensor:
        """(tokens, dimensions)."""
        return (self.lora_embedding_B @ self.lora_embedding_A).T * self.scaling

    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        result = base(x)
        if frozen.role == EMBEDDING:
            form = FORMS[EMBEDDING]
            return result + form.low(x, self.lora_embedding_A, self.lora_embedding_B, self.scaling, frozen).to(result)
        low = self.lora_dropout(as_computed(x, self.lora_embedding_B.dtype)) @ self.lora_embedding_B
        return result + (low @ self.lora_embedding_A * self.scaling).to(result.dtype)


def prepare(config: Any, model: nn.Module) -> None:
    """With `ensure_weight_tying`: where a tied layer is meant, the embedding is, and the others follow it."""
    others = tied_layers(model) if config.ensure_weight_tying else []
    if not others:
        return
    if saves_tied(config):
        config.modules_to_save = _without(config.modules_to_save or (), others, embedding_path(model))
    elif targets_tied(config, model):
        embedding = embedding_path(model)
        if isinstance(config.target_modules, str):
            config.target_modules = rf"(?:{config.target_modules}|^{re.escape(embedding)}$)"
        else:
            config.target_modules = set(_without(config.target_modules or (), others, embedding))


def _without(names: Collection[str], heads: Sequence[str], embedding: str) -> list[str]:
    """Names that mean no head, and the embedding."""
    kept = [name for name in names if not any(re.match(rf"(^|.*\.){name}($|\..*)", head) for head in heads)]
    return kept if any(embedding == name or embedding.endswith(f".{name}") for name in kept) else [*kept, embedding]


def before_load(config: Any, methods: Mapping[str, nn.Module], tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Without the copies of the embedding's factors that PEFT writes for tied heads."""
    tied = tuple(f"{key}.lora_" for key, method in methods.items() if isinstance(method, TiedLora))
    return {key: tensor for key, tensor in tensors.items() if not key.startswith(tied)} if tied else tensors


def beside(config: Any, model: nn.Module, made: Mapping[str, LayerMethod]) -> Sequence[tuple[Frozen, LayerMethod]]:
    """The rows of tokens that are trained, and layers that are tied to an adapted embedding. Raises ConfigError, TargetError."""
    found: list[tuple[Frozen, LayerMethod]] = []
    if config.trainable_token_indices is not None:
        found += _tokens(config, model, made)
    if config.ensure_weight_tying and (others := tied_layers(model)):
        embedding = made.get(embedding_path(model))
        if embedding is not None and hasattr(embedding, "lora_embedding_A"):
            layers = [frozen_at(model, path) for path in others]
            found += [(frozen, TiedLora(embedding, frozen)) for frozen in layers]
    return found


def _tokens(config: Any, model: nn.Module, made: Mapping[str, LayerMethod]) -> Sequence[tuple[Frozen, LayerMethod]]:
    asked = config.trainable_token_indices
    embedding = embedding_path(model) if hasattr(model, "get_input_embeddings") or not isinstance(asked, dict) else ""
    if isinstance(asked, dict):
        wanted = {path: value for key, value in asked.items() for path in named(model, key)}
    else:
        wanted = {embedding: asked}
    for path in wanted:
        if path in made:
            raise ConfigError(
                f"'{path}' is adapted (target_modules), and rows of it are trained (trainable_token_indices): leave it out of one of the two"
            )
        if any(path == kept or path.endswith(f".{kept}") for kept in config.modules_to_save or ()):
            raise ConfigError(
                f"'{path}' is trained fully (modules_to_save), and rows of it are (trainable_token_indices): leave it out of one of the two"
            )
    others = tied_layers(model) if embedding else []
    tied = {path: indices for path, indices in wanted.items() if path in others or path == embedding}
    differ = any(indices != next(iter(tied.values())) for indices in tied.values())
    if differ and config.ensure_weight_tying:
        shown = ", ".join(f"{path} {indices}" for path, indices in tied.items())
        raise ConfigError(
            f"ensure_weight_tying gives tied layers the same rows, and they were given different tokens: {shown}"
        )
    follows = embedding in wanted and not differ
    found: dict[str, tuple[Frozen, Tokens]] = {}
    for path, indices in wanted.items():
        if not (follows and path in others):
            frozen = frozen_at(model, path)
            found[path] = frozen, Tokens(frozen, indices or (), nested=True)
    if follows:
        source = found[embedding][1]
        for path in others:
            frozen = frozen_at(model, path)
            found[path] = frozen, Tokens(frozen, wanted[embedding] or (), nested=True).tied_to(source)
    return list(found.values())
