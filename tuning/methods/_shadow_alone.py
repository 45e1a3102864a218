"""The shadow of ShadowPEFT as a model of its own, without its base: PEFT's `unload_shadow`."""

from __future__ import annotations

import copy as copying
from typing import Any

from torch import Tensor, nn
from transformers import GenerationConfig, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast, SequenceClassifierOutput

from tuning.errors import AdapterError
from tuning.methods._shadow_state import Shadow, last_token, of_classes, of_tokens
from tuning.virtual import cache_name


class DetachedShadowModel(PreTrainedModel, GenerationMixin):
    """head(projection(backbone(x))): logits of each token, or of a classifier of each row; without a head the hidden states."""

    main_input_name = "input_ids"
    base_model_prefix = "backbone"
    _supports_sdpa = _supports_flash_attn = _supports_flex_attn = _supports_attention_backend = True

    def __init__(
        self, backbone: Any, projection: nn.Module, head: nn.Module | None, *, classifies: bool, words: Any
    ) -> None:
        super().__init__(backbone.config)
        self.backbone, self.shadow_hidden_projection, self.head = backbone, projection, head
        self.is_classification = classifies
        self.words = [words]  # the base's embedding, where it is shared: in a list, so that it is no part of this
        self.generation_config = getattr(backbone, "generation_config", None) or GenerationConfig.from_model_config(
            self.config
        )

    def can_generate(self) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride]
        return getattr(self, "head", None) is not None and not self.is_classification

    def get_input_embeddings(self) -> Any:
        return self.words[0] if self.words[0] is not None else self.backbone.get_input_embeddings()

    def get_output_embeddings(self) -> Any:
        return None if self.is_classification else self.head

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        **given: Any,
    ) -> Any:
        given = {key: value for key, value in given.items() if key not in ("logits_to_keep", "return_dict")}
        if self.words[0] is not None and given.get("inputs_embeds") is None:
            given["inputs_embeds"], input_ids = self.words[0](input_ids), None
        out = self.backbone(input_ids=input_ids, attention_mask=attention_mask, return_dict=True, **given)
        hidden = self.shadow_hidden_projection(out.last_hidden_state)
        if self.head is None:
            return hidden
        if self.is_classification:
            logits = self.head(last_token(hidden, attention_mask))
            loss: Any = None if labels is None else of_classes(logits, labels)
            return SequenceClassifierOutput(loss=loss, logits=logits)
        logits = self.head(hidden)
        loss = None if labels is None else of_tokens(logits, labels)
        kept = cache_name(self.backbone)
        return CausalLMOutputWithPast(loss=loss, logits=logits, **{kept: getattr(out, kept, None)} if kept else {})


def unload_shadow(tuner: Any, adapter_name: str | None = None, copy: bool = False) -> nn.Module:
    """An adapter's shadow as a model. Its modules are the adapter's own and the base's, or `copy` of them, which can be saved whole."""
    name = tuner.active_adapters[0] if adapter_name is None else adapter_name
    shadow = tuner.in_common.get(name)
    if not isinstance(shadow, Shadow):
        raise AdapterError(f"No shadow backbone found for adapter '{name}'.")
    classifies = "shadow_head" in shadow._modules  # pyright: ignore[reportPrivateUsage]
    head = shadow.shadow_head if classifies else tuner.model.get_output_embeddings()
    parts: list[Any] = [shadow.shadow_backbone, shadow.shadow_projection, head]
    words = tuner.model.get_input_embeddings() if shadow.shares else None
    if copy:
        parts = [copying.deepcopy(part) for part in parts]
        if words is not None:
            setattr(parts[0], "wte" if hasattr(parts[0], "wte") else "embed_tokens", copying.deepcopy(words))
            words = None
    return DetachedShadowModel(*parts, classifies=classifies, words=words)
