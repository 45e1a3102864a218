"""A run's state on disk: written aside, then put in its place by one rename, so there is always a whole one to go on from.

    OUT/checkpoints/step-00000120/state.safetensors   weights that are trained, the optimiser's moments, the best weights so far
    OUT/checkpoints/step-00000120/state.json          step, evaluations, and what the run was started with

Nothing is pickled. The learning rate and the order of data follow from the step and the seed, and every step seeds its random numbers anew, so
neither needs a state.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from tuning.errors import CheckpointError, ConfigError

FOLDER = "checkpoints"
KEPT = 2
TENSORS, FACTS = "state.safetensors", "state.json"


class State(NamedTuple):
    """`facts` is JSON."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]


def write(out: Path, step: int, state: State) -> None:
    """Write a run's state after a step; the newest two are kept. Raises OSError."""
    folder = out / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(".new-*"):  # of a run that was killed while it wrote
        shutil.rmtree(left, ignore_errors=True)
    fresh, place = folder / f".new-{step:08}", folder / f"step-{step:08}"
    if place.exists():
        return
    fresh.mkdir()
    save_file(
        {key: tensor.detach().cpu().contiguous().clone() for key, tensor in state.tensors.items()}, fresh / TENSORS
    )
    (fresh / FACTS).write_text(json.dumps(state.facts, indent=1), encoding="utf-8")
    for path in (fresh / TENSORS, fresh / FACTS, fresh):
        _on_disk(path)
    fresh.replace(place)
    _on_disk(folder)
    for old in _there(folder)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def _on_disk(path: Path) -> None:
    """Wait until the system has written it: a rename must not come before what it renames. Raises OSError for a file."""
    if path.is_dir():
        with contextlib.suppress(OSError):  # folders can't be opened, or waited for, on every system
            _synced(path, os.O_RDONLY)
    else:
        _synced(path, os.O_RDWR)


def _synced(path: Path, how: int) -> None:
    descriptor = os.open(path, how)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _there(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"))


def read(out: Path) -> State | None:
    """The newest state of a run, or None. Raises CheckpointError."""
    there = _there(out / FOLDER)
    if not there:
        return None
    try:
        return State(load_file(there[-1] / TENSORS), json.loads((there[-1] / FACTS).read_bytes()))
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(
            f"{there[-1]} can't be read ({error}): remove it, and the run goes on from the one before"
        ) from error


def check_same(started: Mapping[str, Any], now: Mapping[str, Any], out: Path) -> None:
    """Raises ConfigError where a run would go on with other options or data than it was started with."""
    changed = [
        f"{key} was {started.get(key)!r} and is {now.get(key)!r}"
        for key in dict.fromkeys((*started, *now))
        if started.get(key) != now.get(key)
    ]
    if changed:
        raise ConfigError(
            f"{out} holds a run that was started differently: {'; '.join(changed)}. Take another folder, or its options"
        )


def seed_all(*parts: int) -> None:
    """The same random numbers for the same seed, step and process: torch's, Python's and numpy's where it is loaded."""
    import sys

    value = random.Random(" ".join(map(str, parts))).getrandbits(32)
    torch.manual_seed(value)
    random.seed(value)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(value)
