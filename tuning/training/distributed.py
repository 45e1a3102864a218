"""One run over several processes, as `torchrun` starts them.

The base is frozen and adapters are small, so gradients are summed in one all-reduce a step, after the last part of the batch: nothing to
synchronise during it, and sums that do not depend on when a process started. With `sharded`, FSDP keeps a share of the frozen
base in each process and gathers a layer when it is needed; adapters stay whole.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from tuning.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Group:
    """This process among those that train together. Alone, every method gives back what it was given."""

    rank: int = 0
    size: int = 1

    @property
    def writes(self) -> bool:
        """Whether this is the process that writes files and shows progress."""
        return self.rank == 0

    def share(self, items: Sequence[Any]) -> Sequence[Any]:
        return items[self.rank :: self.size]

    def summed(self, values: Sequence[float], device: torch.device) -> list[float]:
        if self.size == 1:
            return list(values)
        precision = torch.float32 if device.type == "mps" else torch.float64
        tensor = torch.tensor(list(values), dtype=precision, device=device)
        dist.all_reduce(tensor)
        return tensor.tolist()

    def gathered(self, value: Any) -> list[Any]:
        """What each process has to say, in the order of ranks."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value)
        return found

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Every process then has the same gradients: the sum of all. A parameter without one counts as zeros."""
        if self.size == 1:
            return
        for same in _by_kind(parameters):
            flat = torch.cat(
                [(torch.zeros_like(entry) if entry.grad is None else entry.grad).flatten() for entry in same]
            )
            dist.all_reduce(flat)
            for entry, part in zip(same, flat.split([entry.numel() for entry in same]), strict=True):
                entry.grad = part.view_as(entry)

    def same_start(self, tensors: Iterable[Tensor]) -> None:
        """Every process starts from what the first one has."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor.data, src=0)

    def wait(self) -> None:
        if self.size > 1:
            dist.barrier()


def _by_kind(parameters: Iterable[nn.Parameter]) -> list[list[nn.Parameter]]:
    groups: dict[Any, list[nn.Parameter]] = {}
    for parameter in parameters:
        groups.setdefault((parameter.device, parameter.dtype), []).append(parameter)
    return list(groups.values())


def current() -> Group:
    """The group that this process belongs to."""
    if dist.is_available() and dist.is_initialized():
        return Group(rank=dist.get_rank(), size=dist.get_world_size())
    return Group()


@contextmanager
def joined() -> Generator[Group]:
    """The group of the processes that `torchrun` started, inside the `with`; this process alone where it started none."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Group()
        return
    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("nccl" if gpu else "gloo")
    try:
        yield current()
    finally:
        dist.destroy_process_group()


def shard(objective: nn.Module, group: Group) -> None:
    """Split what is frozen over the processes, layer by layer. Raises ConfigError where the model has no list of layers."""
    if group.size == 1:
        return
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    stacks = [module for module in objective.modules() if isinstance(module, nn.ModuleList) and len(module) > 1]
    if not stacks:
        raise ConfigError("sharded: this model has no list of layers to split; leave it out")
    layers = max(stacks, key=lambda stack: sum(parameter.numel() for parameter in stack.parameters()))
    device = next(objective.parameters()).device.type
    mesh = init_device_mesh(device, (group.size,))
    trained = {parameter for parameter in objective.parameters() if parameter.requires_grad}
    for layer in layers:
        fully_shard(layer, mesh=mesh, ignored_params=trained)
    fully_shard(objective, mesh=mesh, ignored_params=trained)
