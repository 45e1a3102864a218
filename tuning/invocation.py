"""Activated LoRA: an adapter that sets in where a row of tokens last has certain ones (Greenewald et al. 2025,
https://arxiv.org/abs/2504.12397).
"""

from __future__ import annotations

import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from tuning.routing import Routing


def counts(tokens: Sequence[int], ids: Tensor) -> list[int]:
    """For each row of ids (rows, length) how many tokens there are from the last place on where all of `tokens` stand; 0 for none."""
    wanted = torch.tensor(list(tokens), device=ids.device)
    length = ids.shape[1]
    if length < len(wanted):
        return [0] * len(ids)
    found = (ids.unfold(1, len(wanted), 1) == wanted).all(dim=2)  # (rows, places)
    places = torch.arange(found.shape[1], device=ids.device)
    last = torch.where(found, places, torch.full_like(places, -1)).max(dim=1).values
    return [length - place if place >= 0 else 0 for place in last.tolist()]


def after_invocation(added: Tensor, owner: Any, adapter: str) -> Tensor:
    """What an adapter adds (rows, length, …), zero before its tokens. Rows that lack them get nothing."""
    found: Sequence[int] | None = owner.routing.invoked.get(adapter)
    if found is None:
        return torch.zeros_like(added)
    if (part := owner.routing.part) is not None:
        found = [found[row] for row in part]
    length = added.shape[1]
    first = torch.tensor([length - min(count, length) for count in found], device=added.device)
    kept = torch.arange(length, device=added.device) >= first[:, None]
    return added * kept.view(*kept.shape, *[1] * (added.ndim - 2)).to(added.dtype)


@contextmanager
def invoking(routing: Routing, ids: Tensor | None, copies: int, *, keep: bool) -> Generator[None]:
    """Inside the `with`, layers know where each activated adapter sets in. `keep`: also after it, for a backward pass that computes layers
    again. `copies`: how many rows of the model there are for one of ids.
    """
    configs: Mapping[str, Any] = routing.configs
    asked = {name: getattr(config, "alora_invocation_tokens", None) for name, config in configs.items()}
    asked = {name: tokens for name, tokens in asked.items() if tokens is not None}
    if not asked:
        yield
        return
    if ids is None:
        warnings.warn(
            "aLoRA finds its invocation tokens in input_ids, and only inputs_embeds were given: it adds nothing in this pass",
            stacklevel=4,
        )
        routing.invoked = {}
    else:
        routing.invoked = {
            name: [count for count in counts(tokens, ids) for _ in range(copies)] for name, tokens in asked.items()
        }
    try:
        yield
    finally:
        if not keep:
            routing.invoked = {}
