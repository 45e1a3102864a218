"""LLaMA-Adapter: learned tokens that the top layers' attention sees beside the input's, behind a gate that starts closed (Zhang et al. 2023,
https://arxiv.org/abs/2303.16199).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuning.config import LayerConfig, positive
from tuning.errors import ConfigError
from tuning.kinds import Block, Frozen
from tuning.layer_method import Layer, LayerMethod, Unmergeable
from tuning.layers import adapted_layers, innermost
from tuning.registry import LayerFamily

LLAMA, GPT2 = Block("q_proj"), Block("c_attn")
BLOCKS = {
    "llama": ("self_attn", LLAMA),
    "mistral": ("self_attn", LLAMA),
    "gpt2": ("attn", GPT2),
}  # by a model's `model_type`


@dataclass(kw_only=True)
class AdaptionPromptConfig(LayerConfig):
    """`adapter_len`: tokens; `adapter_layers`: how many layers have them, from the top. `target_modules`: the name of the layers' attention."""

    METHOD: ClassVar[str] = "ADAPTION_PROMPT"
    is_adaption_prompt: ClassVar[bool] = True

    adapter_len: int | None = None
    adapter_layers: int | None = None

    def check(self) -> None:
        super().check()
        for name in ("adapter_len", "adapter_layers"):
            if (value := getattr(self, name)) is not None:
                positive(**{name: value})


@final
class AdaptionPrompt(Unmergeable):
    """x ↦ attention(x) + g · (softmax(Q(x) K(p)ᵀ / √d) V(p)) Oᵀ, with the attention's own projections; GPT-2's has no O here, as in PEFT.
    adaption_prompt: p (1, tokens, dimensions); adaption_gate: g (1,), 0 at the start.
    """

    def __init__(self, frozen: Frozen, config: AdaptionPromptConfig, shared: None) -> None:
        super().__init__()
        module: Any = frozen.module
        self.adaption_prompt = nn.Parameter(torch.randn(1, config.adapter_len or 0, module.config.hidden_size))
        self.adaption_gate = nn.Parameter(torch.zeros(1))

    def forward(self, base: Layer, x: Tensor, frozen: Frozen) -> Tensor:
        result = base(x)
        module: Any = frozen.module
        prompt = self.adaption_prompt.to(x.dtype)
        if frozen.kind is GPT2 or getattr(frozen.kind, "first", "") == GPT2.first:
            query = self._heads(module.c_attn(x).chunk(3, dim=-1)[0], module)
            _, key, value = (self._heads(part, module) for part in module.c_attn(prompt).chunk(3, dim=-1))
        else:
            query = self._heads(module.q_proj(x), module)
            cos, sin = (part.unsqueeze(1) for part in frozen.given["position_embeddings"])
            query = query * cos + _half_turned(query) * sin
            key, value = (self._heads(part(prompt), module) for part in (module.k_proj, module.v_proj))
            groups = query.shape[1] // key.shape[1]
            key, value = (part.repeat_interleave(groups, dim=1) for part in (key, value))
        scores = query @ key.mT / module.head_dim**0.5
        single = scores.float() if scores.dtype in (torch.float16, torch.bfloat16) else scores
        shares = (self.adaption_gate * functional.softmax(single, dim=-1)).to(x.dtype)
        added = (shares @ value).transpose(1, 2).flatten(2)
        return result + (added if hasattr(module, "c_attn") else module.o_proj(added)).to(result.dtype)

    def _heads(self, x: Tensor, module: Any) -> Tensor:
        """(rows, tokens, heads · d) -> (rows, heads, tokens, d)."""
        return x.unflatten(-1, (-1, module.head_dim)).transpose(1, 2)


def _half_turned(x: Tensor) -> Tensor:
    """Rotary embeddings' other half (Su et al. 2021, https://arxiv.org/abs/2104.09864)."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat([-second, first], dim=-1)


@final
class AdaptionPromptFamily(LayerFamily):
    name = "ADAPTION_PROMPT"
    prefix = "adaption_"
    config = AdaptionPromptConfig
    merges = False

    def layer(self, frozen: Frozen, config: Any, shared: Any) -> LayerMethod:
        return AdaptionPrompt(frozen, config, shared)

    def found(self, config: Any, model: nn.Module) -> Sequence[Frozen]:
        """The attention of the top layers."""
        kind = getattr(getattr(model, "config", None), "model_type", None)
        if kind not in BLOCKS:
            raise ConfigError(f"Unsupported model type for adaption prompt: '{kind}'. It can be {', '.join(BLOCKS)}")
        if config.adapter_len is None or config.adapter_layers is None:
            raise ConfigError(
                "ADAPTION_PROMPT needs adapter_len, how many tokens, and adapter_layers, how many layers have them"
            )
        config.target_modules = config.target_modules or BLOCKS[kind][0]
        paths = {path: module for path, module in model.named_modules() if path.endswith(f".{config.target_modules}")}
        if len(paths) < config.adapter_layers:
            raise ConfigError(
                f"Config specifies more adapter layers '{config.adapter_layers}' than the model has '{len(paths)}'."
            )
        found = [Frozen(name=path, module=innermost(module), kind=BLOCKS[kind][1]) for path, module in paths.items()]
        found = found[-config.adapter_layers :]
        if inside := [frozen.name for frozen in found if adapted_layers(frozen.module)]:
            raise ConfigError(f"adapters sit inside of '{inside[0]}': put adaption prompts on a model of their own")
        return found


METHOD = AdaptionPromptFamily()
