"""CPT: a prompt of examples whose embeddings are trained; each may change by a given length at most (Blau et al. 2024,
"Context-aware Prompt Tuning", https://arxiv.org/abs/2410.17222).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuning.config import PromptConfig, TaskType, one_of
from tuning.errors import ConfigError
from tuning.registry import PromptFamily
from tuning.virtual import IGNORED, KEY, table_size

KINDS = 4  # what tokens of an example are, modulo this: 1 the input's template, 2 the input, 3 the output's template, 0 the output
SMALL = 1e-10  # how far a token that is not trained may be from where it began


@dataclass(kw_only=True)
class CPTConfig(PromptConfig):
    """`cpt_token_ids`: the prompt. `cpt_tokens_type_mask`: what each token is, 4 more for each example (`KINDS`); 0 is padding.
    `opt_projection_epsilon`, `opt_projection_format_epsilon`: how far an input's, or a template's, embeddings may go, for 2048 dimensions.
    `opt_weighted_loss_type` "decay": an example's outputs count `opt_loss_decay_factor` times what the next one's do.
    """

    METHOD: ClassVar[str] = "CPT"

    cpt_token_ids: list[int] | None = None
    cpt_mask: list[int] | None = None
    cpt_tokens_type_mask: list[int] | None = None
    opt_weighted_loss_type: str | None = "none"
    opt_loss_decay_factor: float | None = 1.0
    opt_projection_epsilon: float | None = 0.1
    opt_projection_format_epsilon: float | None = 0.1
    tokenizer_name_or_path: str | None = None

    def check(self) -> None:
        if self.task_type != TaskType.CAUSAL_LM:
            raise ConfigError(f"{type(self).__name__} only supports task_type = {TaskType.CAUSAL_LM.value}.")
        one_of("opt_weighted_loss_type", self.opt_weighted_loss_type, ("none", "decay"))
        self.cpt_token_ids = self.cpt_token_ids or [0]
        self.num_virtual_tokens = count = len(self.cpt_token_ids)
        self.cpt_mask = self.cpt_mask or [1] * count
        self.cpt_tokens_type_mask = self.cpt_tokens_type_mask or [1] * count
        if not count == len(self.cpt_mask) == len(self.cpt_tokens_type_mask):
            raise ConfigError("cpt_token_ids, cpt_mask and cpt_tokens_type_mask must have the same length.")
        self.num_transformer_submodules = 1
        super().check()


class _Fixed(nn.Module):
    """Embeddings that are not trained: weight (tokens, dimensions)."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)


@final
class CPTEmbedding(nn.Module):
    """(tokens, dimensions): embedding, the words' own, and delta_embedding, which is trained. Outputs are not trained."""

    def __init__(self, config: CPTConfig, words: Any = None) -> None:
        super().__init__()
        tokens, dimensions = table_size(config, as_keys=False)
        ids = torch.tensor(config.cpt_token_ids)
        with torch.no_grad():
            start = torch.randn(tokens, dimensions) if words is None else words(ids.to(words.weight.device)).float()
        self.embedding = _Fixed(start.clone())
        self.delta_embedding = nn.Embedding(tokens, dimensions)
        nn.init.zeros_(self.delta_embedding.weight)
        kinds = torch.tensor(config.cpt_tokens_type_mask)
        narrow = torch.tensor([dimensions / 2048]).sqrt()
        own, of_template = config.opt_projection_epsilon or 0.0, config.opt_projection_format_epsilon or 0.0
        far = torch.where(kinds % KINDS == 2, own, of_template)
        limits = torch.where((kinds > 0) & (kinds % KINDS > 0), far * narrow, SMALL)
        self.register_buffer("trained", (kinds % KINDS > 0)[:, None], persistent=False)
        self.register_buffer("limits", limits, persistent=False)

    def forward(self) -> Tensor:
        self._constrain()
        delta = self.delta_embedding.weight
        return self.embedding.get_buffer("weight") + torch.where(self.get_buffer("trained"), delta, delta.detach())

    @torch.no_grad()
    def _constrain(self) -> None:
        """Bring what has gone too far back: the weight itself, whenever it is used."""
        delta, limits = self.delta_embedding.weight, self.get_buffer("limits")
        norm = delta.norm(dim=1)
        share = limits / norm.clamp(min=limits)
        delta.data = torch.where((norm > 0)[:, None], delta * share[:, None], delta)


def weighted_loss(config: CPTConfig, logits: Tensor, labels: Tensor, kinds: Tensor) -> Tensor:
    """The mean loss of the outputs of all examples, prompt's and input's: logits (rows, prompt + tokens, words), labels and kinds (rows,
    prompt + tokens). Raises ConfigError where no token is an output.
    """
    outputs = (kinds > 0) & (kinds % KINDS == 0)
    labels = labels.masked_fill(~outputs, IGNORED)[:, 1:]
    kinds, counted = kinds[:, 1:], labels != IGNORED
    if not counted.any():
        raise ConfigError(
            "CPT's loss is that of outputs, and there are none: end cpt_tokens_type_mask with a multiple of 4"
        )
    losses = functional.cross_entropy(logits[:, :-1].transpose(1, 2), labels, reduction="none", ignore_index=IGNORED)
    weights = counted.to(losses.dtype)
    if config.opt_weighted_loss_type == "decay":
        for row, own in enumerate(kinds):
            for back, kind in enumerate(own[(own > 0) & (own % KINDS == 0)].unique().flip(0).tolist()):
                weights[row, own == kind] *= (config.opt_loss_decay_factor or 0.0) ** back
    return (losses[counted] * weights[counted]).mean()


@final
class CPTFamily(PromptFamily):
    name = "CPT"
    config = CPTConfig

    def encoder(self, config: Any, words: nn.Module) -> nn.Module:
        return CPTEmbedding(config, words)

    def table(self, config: Any) -> nn.Module:
        return CPTEmbedding(config)

    def read(self, encoder: Any, tensors: Mapping[str, Tensor]) -> None:
        encoder.embedding.weight.copy_(tensors[KEY])
        nn.init.zeros_(encoder.delta_embedding.weight)

    def around(self, config: Any, inputs: dict[str, Any], forward: Callable[[dict[str, Any]], Any]) -> Any:
        """`input_type_mask` (rows, tokens): what the input's tokens are; left out, all are outputs."""
        kinds, labels = inputs.pop("input_type_mask", None), inputs.pop("labels", None)
        output = forward(inputs)
        if labels is None:
            return output
        labels = labels.to(output.logits.device)
        prompt = torch.tensor([config.cpt_token_ids, config.cpt_tokens_type_mask], device=labels.device)
        before, its_kinds = prompt[:, None].expand(2, len(labels), -1)
        kinds = torch.full_like(labels, KINDS) if kinds is None else kinds.to(labels)
        kinds = torch.where(kinds > 0, kinds + its_kinds.max(), kinds)
        labels, kinds = torch.cat([before, labels], 1), torch.cat([its_kinds, kinds], 1)
        output.loss = weighted_loss(config, output.logits, labels, kinds)
        return output


METHOD = CPTFamily()
