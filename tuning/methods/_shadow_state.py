"""ShadowPEFT's shadow: what the blocks of an adapter share, its state in a call, its cache and its loss."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuning.config import TaskType
from tuning.errors import ConfigError
from tuning.inputs import first_of
from tuning.methods._shadow_config import MIRROR, ShadowConfig
from tuning.methods._shadow_models import made, width
from tuning.placement import OfCall, Placed
from tuning.virtual import cache_name

CACHES = ("cache", "past_key_values")


class Shadow(Placed):
    """shadow_backbone: the small model; shadow_projection: its hidden states -> the base's width; shadow_head: of a classifier, its own.

    `of_call`: a block's number -> the shadow's state (rows, tokens, dimensions) that comes to it; "cache": the small model's; "loss": its own.
    """

    on_layers = False

    def __init__(self, config: ShadowConfig, model: Any, blocks: Sequence[str]) -> None:
        super().__init__()
        self.config, self.of_call, self.size = config, OfCall(), width(model.config)
        self.numbers = {path: number for number, path in enumerate(blocks)}
        small, projection = made(config, model)
        into, out = width(small.config), self.size
        if isinstance(projection, nn.Linear) and projection.weight.shape != (out, into):
            raise ConfigError(
                f"shadow_model: its projection is {tuple(projection.weight.shape)}, and is to be {(out, into)}"
            )
        projection: Any = projection or (nn.Identity() if into == out else nn.Linear(into, out, bias=False))
        takes = "inputs_embeds" in inspect.signature(small.forward).parameters
        self.shares = config.share_embeddings and config.shadow_model == MIRROR and takes and into == out
        if self.shares and hasattr(small, "embed_tokens"):
            del small.embed_tokens
        like = next(model.parameters())
        self.shadow_backbone, self.shadow_projection = small.to(like), projection.to(like)
        head = next((getattr(model, name) for name in ("score", "classifier") if hasattr(model, name)), None)
        if config.task_type == TaskType.SEQ_CLS and isinstance(head, nn.Module):
            self.shadow_head = copy.deepcopy(head)
        if config.shadow_model != MIRROR:  # a table of words is no small part to train
            names = {id(module): path for path, module in small.named_modules()}
            self.still = (f"shadow_backbone.{names[id(small.get_input_embeddings())]}",)
        self.requires_grad_(True)

    def start(self, model: Any, name: str, inputs: Mapping[str, Any]) -> None:
        """Compute the state that comes to the first block."""
        ids, embedded = inputs.get("input_ids"), inputs.get("inputs_embeds")
        held = next((inputs[key] for key in CACHES if inputs.get(key) is not None), None)
        own = getattr(held, "shadows", {}).get(name)
        if held is not None and own is None and held.get_seq_length() > 0:
            raise ConfigError(f"the cache has tokens that came without the adapter '{name}': begin with an empty one")
        if embedded is None and self.shares:
            embedded = model.get_input_embeddings()(first_of({"input_ids": ids}))
        use_cache = inputs.get("use_cache")
        given = {"input_ids": ids} if embedded is None else {"inputs_embeds": embedded}
        given |= {key: inputs[key] for key in ("attention_mask", "position_ids") if inputs.get(key) is not None}
        given["use_cache"] = bool(getattr(model.config, "use_cache", False)) if use_cache is None else use_cache
        kept = cache_name(self.shadow_backbone)
        out = self.shadow_backbone(**given, return_dict=True, **({kept: own} if kept else {}))
        self.of_call.clear()
        self.of_call.update({0: self.shadow_projection(out.last_hidden_state), "cache": getattr(out, kept, None)})

    def keep(self, model: nn.Module, name: str, output: Any) -> None:
        """Let the model's cache hold the small model's, so that both are reordered and cut together."""
        held, own = getattr(output, cache_name(model), None), self.of_call.pop("cache", None)
        if held is not None and own is not None and name not in held.__dict__.setdefault("shadows", {}):
            held.shadows[name] = own
            held.layers.extend(own.layers)

    def loss(self, model: Any, labels: Tensor, mask: Tensor | None) -> Tensor | None:
        """The task's loss of the shadow alone: its head, or the base's, on the state that comes to the first block."""
        state: Tensor = self.of_call[0]
        if "shadow_head" in self._modules:
            return of_classes(self.shadow_head(last_token(state, mask)), labels)
        head = model.get_output_embeddings() if self.config.task_type == TaskType.CAUSAL_LM else None
        return None if head is None else of_tokens(head(state), labels)


def of_tokens(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of each token from those before it."""
    return functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)


def of_classes(logits: Tensor, labels: Tensor) -> Tensor:
    """As transformers has it: one class is regression, whole numbers are classes, others are several at once."""
    if logits.shape[-1] == 1:
        return functional.mse_loss(logits.squeeze(-1), labels.to(logits.dtype).view(-1))
    if labels.is_floating_point():
        return functional.binary_cross_entropy_with_logits(logits, labels)
    return functional.cross_entropy(logits, labels.view(-1))


def last_token(hidden: Tensor, mask: Tensor | None) -> Tensor:
    """(rows, tokens, dimensions) -> (rows, dimensions) of the last token that is no padding."""
    if mask is None:
        return hidden[:, -1]
    places = torch.arange(mask.shape[-1], device=mask.device)
    return hidden[torch.arange(len(hidden), device=hidden.device), (mask.ne(0) * places).argmax(-1)]


def last_loss(tuner: Any) -> Tensor | None:
    """What the shadow's own loss was in the last call, of the first adapter in use that has one."""
    found = (tuner.in_common.get(name) for name in tuner.active_adapters)
    loss = next((shadow.of_call.get("loss") for shadow in found if isinstance(shadow, Shadow)), None)
    return None if loss is None else loss.detach()
