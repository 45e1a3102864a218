"""Rows of an embedding that are trained while the others stay: for TRAINABLE_TOKENS, and for LoRA's `trainable_token_indices`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuning.kinds import EMBEDDING, Affine, Frozen
from tuning.layer_method import Layer, LayerMethod
from tuning.layers import AdaptedLayer
from tuning.methods._token_layers import check_indices
from tuning.placement import Delegating, OfAdapter, Placed


@final
class Tokens(LayerMethod):
    """ids ↦ base(ids), with trained rows (tokens, dimensions) for some ids; of an output head x ↦ base(x), with the logits of
    these. Layers that share the embedding's weight have its rows. The rows take the weight's place: of two adapters with one id
    the last holds, stacked or merged.
    """

    saves_embedding = False
    token_indices = OfAdapter[list[int]]()

    def __init__(self, frozen: Frozen, indices: Sequence[int], *, initial: bool = True, nested: bool = False) -> None:
        super().__init__()
        weight = frozen.weight
        check_indices(indices, len(weight), frozen.name)
        self.token_indices = list(indices)
        self.indices = torch.tensor(self.token_indices)
        rows = (
            weight.detach()[self.indices.to(weight.device)] if initial else torch.randn(len(indices), weight.shape[1])
        )
        original = weight.detach()[self.indices.to(weight.device)]
        if nested:
            self.token_adapter = _Rows(rows, original, self.token_indices)
        else:
            self.trainable_tokens_delta = nn.Parameter(rows.clone())
            self.register_buffer("trainable_tokens_original", original, persistent=False)
        self.before: Tensor | None = None  # the rows before merging
        self.of: list[
            Tokens
        ] = []  # the embedding's, for a head that is tied to it; in a list, so that it is no part of this

    def tied_to(self, other: Tokens) -> Tokens:
        """Take another's rows for one's own."""
        if hasattr(self, "token_adapter"):
            self.token_adapter = other.token_adapter
        else:
            self.trainable_tokens_delta = other.trainable_tokens_delta
            self.trainable_tokens_original = other.trainable_tokens_original
        self.of, self.tied, self.saved = [other], True, not hasattr(self, "token_adapter")  # as PEFT does in each case
        self.follows_ties = other.follows_ties = True
        return self

    @property
    def rows(self) -> Tensor:
        return (
            self.token_adapter.trainable_tokens_delta if hasattr(self, "token_adapter") else self.trainable_tokens_delta
        )

    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        result, indices = base(x), self.indices.to(x.device)
        if frozen.role != EMBEDDING:
            bias = frozen.bias
            own = functional.linear(x.to(self.rows.dtype), self.rows, None if bias is None else bias[indices])
            return result.index_copy(-1, indices, own.to(result.dtype))
        module: Any = frozen.module
        found = x.unsqueeze(-1) == indices  # (…, tokens): these are few
        padding = module.padding_idx
        frozen_row = self.indices.tolist().index(padding) if padding is not None and padding in self.indices else None
        own = functional.embedding(found.int().argmax(-1), self.rows, padding_idx=frozen_row)
        own = own * getattr(module, "embed_scale", 1)  # some models scale in their embedding's forward
        return torch.where(found.any(-1, keepdim=True), own.to(result.dtype), result)

    def merged(self, affine: Affine, frozen: Frozen) -> Affine:
        indices = self.indices.to(affine.weight.device)
        self.before = affine.weight[indices].clone()
        return affine._replace(weight=affine.weight.index_copy(0, indices, self.rows.to(affine.weight)))

    def unmerged(self, affine: Affine, frozen: Frozen) -> Affine:
        before = (self.of[0] if self.of else self).before
        assert before is not None
        return affine._replace(weight=affine.weight.index_copy(0, self.indices.to(before.device), before))


class TokenAdapter(Delegating):
    """What PEFT calls a layer's `token_adapter`: the rows of all adapters of one layer, where they are beside LoRA. `base_layer`,
    `active_adapters` and others are the layer's.
    """


def _space(layer: nn.Module) -> nn.Module:
    assert isinstance(layer, AdaptedLayer)
    return TokenAdapter(layer)


class _Rows(Placed):
    """Under the name that PEFT gives them where they are beside LoRA: `token_adapter.trainable_tokens_delta`."""

    space = staticmethod(_space)
    token_indices = OfAdapter[list[int]]()

    def __init__(self, rows: Tensor, original: Tensor, indices: list[int]) -> None:
        super().__init__()
        self.token_indices = indices
        self.trainable_tokens_delta = nn.Parameter(rows.clone())
        self.register_buffer("trainable_tokens_original", original, persistent=False)
