"""What a run goes on from: the weights that it trains, the optimiser's moments, the best weights, how far it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tuning.errors import CheckpointError
from tuning.tasks import PeftModel
from tuning.training.resuming import State
from tuning.tuner import Tuner

NOW, BEST, MOMENT = "now/", "best/", "optimiser/"  # a state's parts
LEARNED = "learned/"  # in a snapshot: of `Tuner.learning`


@dataclass(kw_only=True)
class Progress:
    """Steps done, and what evaluations found: the lowest loss, when, and how many since were no lower."""

    step: int = 0
    loss: float | None = None
    best: float | None = None
    best_step: int = 0
    worse: int = 0
    stopped: bool = False


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    """A copy of all that training changes in a model: see `tensors_of`, and what methods learn beside it."""
    found = tensors_of(model)
    if (tuner := tuner_in(model)) is not None:
        found |= {LEARNED + key: tensor for key, tensor in tuner.learning().items()}
    return {key: tensor.detach().clone() for key, tensor in found.items()}


@torch.no_grad()
def put(model: nn.Module, found: Mapping[str, Tensor]) -> None:
    """Make a model what it was when a snapshot was taken. Raises CheckpointError."""
    there = tensors_of(model)
    learned = {key.removeprefix(LEARNED): tensor for key, tensor in found.items() if key.startswith(LEARNED)}
    saved = {key: tensor for key, tensor in found.items() if not key.startswith(LEARNED)}
    if differing := sorted(saved.keys() ^ there.keys()) or [
        name for name, tensor in saved.items() if tensor.shape != there[name].shape
    ]:
        raise CheckpointError(f"this is of another model or adapter: they differ in {', '.join(differing[:4])}")
    for name, tensor in saved.items():
        there[name].copy_(tensor)
    if (tuner := tuner_in(model)) is not None:
        device = next(model.parameters()).device
        tuner.go_on({key: tensor.to(device) for key, tensor in learned.items()})


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """What training changes: parameters with gradients, and buffers; of an adapted model the adapters' alone."""
    found: dict[str, Tensor] = {name: entry for name, entry in model.named_parameters() if entry.requires_grad}
    tuner = tuner_in(model)
    ours = None if tuner is None else {id(buffer) for buffer in tuner.buffers_of_adapters()}
    for name, buffer in model.named_buffers():
        if not isinstance(model, PeftModel) or (ours is not None and id(buffer) in ours):
            found[name] = buffer
    return found


def tuner_in(model: nn.Module) -> Tuner | None:
    """What holds a model's adapters on layers, where it has any."""
    return model.base_model if isinstance(model, PeftModel) and isinstance(model.base_model, Tuner) else None


def state_of(
    model: nn.Module,
    named: Mapping[str, nn.Parameter],
    optimiser: torch.optim.Optimizer,
    best: Mapping[str, Tensor],
    progress: Progress,
    started: Mapping[str, Any],
) -> State:
    """`named`: what the optimiser changes, by name; `best`: a snapshot, or nothing."""
    tensors = {NOW + name: tensor for name, tensor in snapshot(model).items()}
    tensors |= {BEST + name: tensor for name, tensor in best.items()}
    for name, parameter in named.items():
        for moment, value in optimiser.state.get(parameter, {}).items():
            tensors[f"{MOMENT}{moment}/{name}"] = torch.as_tensor(value)
    return State(tensors, {"progress": asdict(progress), "started": dict(started)})


def restore(
    state: State, model: nn.Module, named: Mapping[str, nn.Parameter], optimiser: torch.optim.Optimizer
) -> tuple[Progress, dict[str, Tensor]]:
    """Put a state into a model and an optimiser; returns how far it was and its best weights. Raises CheckpointError."""
    put(model, _below(NOW, state))
    for key, tensor in _below(MOMENT, state).items():
        moment, _, name = key.partition("/")
        optimiser.state[named[name]][moment] = tensor.to(named[name].device)
    return Progress(**state.facts["progress"]), _below(BEST, state)


def _below(start: str, state: State) -> dict[str, Tensor]:
    return {key.removeprefix(start): tensor for key, tensor in state.tensors.items() if key.startswith(start)}
