"""EVA's search: passes over data until the directions of layers' inputs hold still, and ranks shared out among the layers (Paischer et al. 2024,
https://arxiv.org/abs/2410.07170).
"""

from __future__ import annotations

import copy
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, distributed, nn
from tqdm import tqdm

from tuning.errors import ConfigError
from tuning.incremental_pca import IncrementalPCA

LARGEST_RHO = 1000  # a larger one is cut to what the largest weight can have, as in PEFT
SEED = 42  # of the decompositions, as in PEFT

# a layer's input, what was prepared of the model's, the layer's name -> (samples, features)
Inputs = Callable[[Any, Any, str], Tensor]


def search(
    model: nn.Module,
    config: Any,
    dataloader: Iterable[Any],
    data: Pass,
    inputs: Mapping[str, Callable[[Any], Tensor]],
    ranks: Mapping[str, int],
    progress: bool,
) -> tuple[dict[str, Directions], dict[str, tuple[str, int]]]:
    """What was found, by layer, and for each layer whose it takes, and how many: layers with the same inputs share them."""
    rho = config.eva_config.rho
    if rho > LARGEST_RHO:
        rho = min(rho, max(max(parameter.shape) for parameter in model.parameters()) // config.r)
    shared = _sharing(model, data, next(iter(dataloader)), inputs)
    most = {name: round(rank * rho) for name, rank in ranks.items()}
    for first in set(shared.values()):
        together = [name for name, other in shared.items() if other == first]
        most |= dict.fromkeys(together, max(most[name] for name in together))
    hooks = {
        name: Directions(name, most[name], config.eva_config.tau, inputs[name])
        for name in ranks
        if shared[name] == name
    }
    order = [*hooks, *(name for hook in hooks for name in ranks if shared[name] == hook != name)]
    wanted = dict(most)
    with ExitStack() as handles:
        active: dict[str, Any] = {}
        bar: Any = handles.enter_context(tqdm(leave=False, disable=not progress or _rank() > 0))
        while True:
            for batch in dataloader:
                done = {name: bool(hook.found[: wanted[name]].all()) for name, hook in hooks.items()}
                for name, hook in hooks.items():
                    if done[name] and name in active:
                        active.pop(name).remove()
                    elif not done[name] and name not in active:
                        active[name] = model.get_submodule(name).register_forward_hook(hook)
                        handles.callback(active[name].remove)
                bar.set_description(f"{sum(done[shared[name]] for name in order)}/{len(order)} layers have converged")
                bar.update()
                if all(done.values()):
                    return hooks, {name: (shared[name], wanted[name]) for name in wanted}
                data.over(batch)
                if all(hook.started for hook in hooks.values()):
                    wanted = _shared_out(hooks, order, shared, most, sum(ranks.values()))
            if missed := [hook for hook in hooks.values() if not hook.started]:
                raise ConfigError(
                    f"no batch gave '{missed[0].name}' {len(missed[0].found)} inputs, which its rank and `rho` need: give larger batches, or "
                    "with use_label_mask=False those of all tokens"
                )


def _rank() -> int:
    return distributed.get_rank() if distributed.is_initialized() else 0


def _sharing(model: nn.Module, data: Pass, batch: Any, inputs: Mapping[str, Callable[[Any], Tensor]]) -> dict[str, str]:
    """A layer -> the first of those that are given the same inputs. Raises ConfigError."""
    seen: dict[str, bytes] = {}

    def hook(name: str, module: nn.Module, args: Any, output: Any) -> None:
        if name not in seen:
            rows = inputs[name](args).detach().cpu().contiguous()
            seen[name] = hashlib.sha256(rows.view(torch.uint8).numpy().tobytes()).digest()

    with ExitStack() as handles:
        for name in inputs:
            handles.callback(model.get_submodule(name).register_forward_hook(partial(hook, name)).remove)
        data.over(batch)
    if unused := [name for name in inputs if name not in seen]:
        raise ConfigError(f"the model never used '{unused[0]}': name the layers that are used in target_modules")
    return {name: next(first for first in inputs if seen[first] == seen[name]) for name in inputs}


def _shared_out(
    hooks: Mapping[str, Directions],
    order: Sequence[str],
    shared: Mapping[str, str],
    most: Mapping[str, int],
    budget: int,
) -> dict[str, int]:
    """The ranks of layers: the directions of the largest explained variance are taken, `budget` in all."""
    explained = {name: hook.pca.explained_variance_ratio_[: most[name]] for name, hook in hooks.items()}
    owners = [name for name in order for _ in explained[shared[name]]]
    largest = torch.cat([explained[shared[name]] for name in order]).argsort(descending=True)[:budget]
    counts = Counter(owners[at] for at in largest.tolist())
    ranks = {name: counts[name] for name in order}
    for name in order:  # of layers that share their directions, the one that finds them has the highest rank
        if ranks[first := shared[name]] < ranks[name]:
            ranks[first], ranks[name] = ranks[name], ranks[first]
    return ranks


def flat(layer_input: Any, _: Any, layer_name: str) -> Tensor:
    return tensor_of(layer_input, layer_name).flatten(0, -2)


def tensor_of(layer_input: Any, layer_name: str) -> Tensor:
    found = layer_input[0] if isinstance(layer_input, Sequence) else layer_input
    if not isinstance(found, Tensor):
        raise ConfigError(f"'{layer_name}' was given {type(found).__name__}: give a prepare_layer_inputs_fn for it")
    return found


class Directions:
    """A forward hook that finds the directions of one layer's inputs, batch by batch. `found`: which of them hold still (components,)."""

    def __init__(self, name: str, components: int, tau: float, inputs: Callable[[Any], Tensor]) -> None:
        self.name, self.tau, self.inputs = name, tau, inputs
        self.pca = IncrementalPCA(n_components=components, lowrank=True, lowrank_seed=SEED)
        self.found = torch.zeros(components, dtype=torch.bool)

    @property
    def started(self) -> bool:
        return hasattr(self.pca, "components_")

    @torch.no_grad()
    def __call__(self, module: nn.Module, args: Any, output: Any) -> None:
        rows = self.inputs(args)
        if len(rows) < len(self.found):
            return
        before = self.pca.components_.clone() if self.started else None
        self.pca.partial_fit(rows.float())
        if before is not None:
            self.found = torch.cosine_similarity(self.pca.components_, before) >= self.tau


class Pass:
    """What goes over the data: batches brought to the model, and what is made of them for the layers."""

    def __init__(
        self, model: nn.Module, config: Any, forward: Callable[..., Any], prepare: Callable[..., Any] | None
    ) -> None:
        self.model, self.config, self.forward, self.prepare = model, config, forward, prepare
        devices = {parameter.device for parameter in model.parameters() if not parameter.is_meta}
        self.device = devices.pop() if len(devices) == 1 else None
        self.prepared: Any = None

    def over(self, batch: Any) -> None:
        batch = batch if self.device is None else _moved(batch, self.device)
        self.prepared = copy.deepcopy(batch) if self.prepare is None else self.prepare(batch, self.config)
        self.forward(self.model, batch)

    def inputs(self, name: str, of_layer: Inputs | None, gather: bool) -> Callable[[Any], Tensor]:
        def found(args: Any) -> Tensor:
            rows = (of_layer or flat)(args, self.prepared, name)
            return _gathered(rows) if gather and distributed.is_initialized() else rows

        return found


def _moved(batch: Any, device: torch.device) -> Any:
    if hasattr(batch, "to"):
        return batch.to(device)
    if isinstance(batch, Mapping):
        return {key: _moved(value, device) for key, value in batch.items()}
    return type(batch)(_moved(value, device) for value in batch) if isinstance(batch, list | tuple) else batch


def _gathered(rows: Tensor) -> Tensor:
    """The rows of all processes, each of which may have another number of them."""
    counts = [torch.zeros(1, dtype=torch.long, device=rows.device) for _ in range(distributed.get_world_size())]
    distributed.all_gather(counts, torch.tensor([len(rows)], device=rows.device))
    padded = rows.new_zeros(int(max(counts)), rows.shape[1])
    padded[: len(rows)] = rows
    parts = [torch.zeros_like(padded) for _ in counts]
    distributed.all_gather(parts, padded)
    return torch.cat([part[: int(count)] for part, count in zip(parts, counts, strict=True)])
