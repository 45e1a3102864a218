"""What a step minimises: a sum over tokens, and how many there are, so that batches of any shape count each token alike."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuning.errors import ConfigError
from tuning.prompts import AfterKeys, Prompts
from tuning.tasks import PeftModel
from tuning.training.cross_entropy import Logits, chunked_cross_entropy
from tuning.training.packing import IGNORED, Piece, count_labels, packed_batch
from tuning.training.state import tuner_in

log = logging.getLogger(__name__)

Loss = Callable[[Any, Any], Any]


class Parts(NamedTuple):
    """A causal language model taken apart where its logits would come to be."""

    backbone: nn.Module
    head: nn.Module
    after: Logits | None


class Objective(nn.Module):
    """A batch -> (sum of losses, how many). Its parameters are the model's.

    Without a loss of the caller's: chunked cross-entropy where the model can be taken apart, else what the model says itself of a batch
    with labels. The caller's `loss(model, batch)` gives a mean, or a sum and a count.
    """

    def __init__(self, model: nn.Module, loss: Loss | None = None, chunk: int = 128) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.chunk = chunk
        self.chunked = loss is None and parts(model) is not None

    def forward(self, batch: Any) -> tuple[Tensor, int]:
        if self.loss is not None:
            found = self.loss(self.model, batch)
            return (found, 1) if isinstance(found, Tensor) else found
        if self.chunked and "labels" in batch:
            total, count = self.in_chunks(batch)
            return total + self.beside(chunked=True) * max(count, 1), count
        count = count_labels(batch) if "labels" in batch else 1
        out = self.model(**batch)
        return ((out.loss + self.beside(chunked=False)) * count, count) if count else (out.logits.sum() * 0, 0)

    def beside(self, *, chunked: bool) -> Tensor | float:
        """What adapters add to the loss that was computed (AdaLoRA's orthogonality): of an evaluation's loss nothing is to be theirs. A model
        that was run as a whole has its adapters' penalty in its loss.
        """
        tuner = tuner_in(self.model)
        if tuner is None:
            return 0.0
        penalty = tuner.penalty() if chunked == torch.is_grad_enabled() else None
        own = 0.0 if penalty is None else penalty if chunked else -penalty
        return own + tuner.regularisation() if torch.is_grad_enabled() else own

    def in_chunks(self, batch: Mapping[str, Any]) -> tuple[Tensor, int]:
        backbone, head, after = parts(self.model) or _no_parts()
        inputs = {key: value for key, value in batch.items() if key != "labels"}
        hidden: Tensor = backbone(**inputs)[0][:, :-1]
        targets: Tensor = batch["labels"][:, 1:]
        learned = targets != IGNORED
        hidden, targets = hidden[learned], targets[learned]
        if not len(targets):
            return hidden.sum() * 0, 0
        return chunked_cross_entropy(hidden, targets, head, after=after, chunk=self.chunk), len(targets)


def _no_parts() -> Parts:
    raise AssertionError("asked for the parts of a model that has none")


def parts(model: nn.Module) -> Parts | None:
    """None where a model can't be taken apart: it has no head, its output holds more tokens than its input, or a method sees its calls."""
    prompts: Prompts | None = None
    if isinstance(model, PeftModel):
        if isinstance(model.held, Prompts):
            prompts = model.held
            if not prompts.gives_keys:
                return None
        elif model.held.is_seen:
            return None
        model = model.get_base_model()
    found: Any = model
    head = found.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    backbone = getattr(model, "base_model", None)
    if not isinstance(head, nn.Module) or not isinstance(backbone, nn.Module) or backbone is model:
        return None
    return Parts(backbone if prompts is None else AfterKeys(prompts, backbone), head, _after(found.config))


def _after(config: Any) -> Logits | None:
    """What some models do with their logits, by what their configs call it."""
    config = config.get_text_config()
    cap = getattr(config, "final_logit_softcapping", None)
    divisor, factor = getattr(config, "logits_scaling", None) or 1.0, getattr(config, "logit_scale", None) or 1.0
    if cap:
        return lambda logits: torch.tanh(logits / cap) * cap
    return None if divisor == factor == 1.0 else lambda logits: logits / divisor * factor


@torch.no_grad()
def check(objective: Objective, *, packing: bool) -> None:
    """Run two short documents alone and packed. Raises ConfigError where one sees the other.

    Where a model does to its logits what this does not know of, its loss is computed without chunks from then on.
    """
    model = objective.model
    if not hasattr(model, "config") or not (packing or objective.chunked):
        return
    device = next(model.parameters()).device
    documents = [list(range(5)), list(range(5, 8))]
    vocabulary = _vocabulary(model)
    documents = [[token % vocabulary for token in document] for document in documents]
    window = tuple(Piece(number, 0, len(document)) for number, document in enumerate(documents))
    with evaluating(model):
        alone = [model(input_ids=torch.tensor([document], device=device)).logits[0].float() for document in documents]
        expected = sum(
            functional.cross_entropy(logits[:-1], torch.tensor(document[1:], device=device), reduction="sum").item()
            for logits, document in zip(alone, documents, strict=True)
        )
        tolerance = 1e-3 if _precise(model) else 5e-2
        if packing:
            batch = on_device(packed_batch([window], documents), device)
            inputs = {key: value for key, value in batch.items() if key != "labels"}
            try:
                together: Tensor | None = model(**inputs).logits[0].float()
            except TypeError:  # there are models without position_ids
                together = None
            whole = torch.cat(alone)
            if together is None or (together - whole).abs().max() > tolerance * whole.std() + 1e-6:
                raise ConfigError(
                    f"in {_name(model)} documents that share a window see each other: set packing = false, "
                    "and each document gets a window of its own"
                )
        if objective.chunked:
            sums = [
                objective.in_chunks({"input_ids": row, "labels": row, "use_cache": False})[0].item()
                for row in (torch.tensor([document], device=device) for document in documents)
            ]
            if abs(sum(sums) - expected) > tolerance * abs(expected):
                log.warning("%s does something of its own with logits: they are held whole", _name(model))
                objective.chunked = False


def _name(model: nn.Module) -> str:
    return type(model.get_base_model() if isinstance(model, PeftModel) else model).__name__


def _vocabulary(model: nn.Module) -> int:
    found: Any = model
    return int(found.config.get_text_config().vocab_size)


def _precise(model: nn.Module) -> bool:
    return not any(
        parameter.dtype in (torch.float16, torch.bfloat16, torch.uint8, torch.int8) for parameter in model.parameters()
    )


@contextmanager
def evaluating(model: nn.Module) -> Generator[None]:
    """The model as it is used, without dropout, inside the `with`; each module is put back as it was."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def on_device(batch: Any, device: torch.device) -> Any:
    """A batch with its tensors there: a tensor, or mappings, lists and tuples of them."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, Mapping):
        return {key: on_device(value, device) for key, value in batch.items()}
    if isinstance(batch, (list, tuple)) and not hasattr(batch, "_fields"):
        return type(batch)(on_device(value, device) for value in batch)
    return batch
