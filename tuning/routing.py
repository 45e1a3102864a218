"""Which adapters a call uses: all rows the active ones, or each row its own; and which task each row is of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

NO_ADAPTER = "__base__"  # PEFT's name for rows that use none


@dataclass(kw_only=True)
class Routing:
    """Which adapters are used. One for a whole model, so that switching them touches no layer."""

    active: tuple[str, ...] = ()  # stacked in this order
    enabled: bool = True
    merged: tuple[str, ...] = ()  # those that are in the base's weights
    differing: bool = False  # whether a layer was given a choice of its own
    configs: dict[str, Any] = field(default_factory=dict)  # adapter -> its config
    changes: int = 0  # how often adapters were set or loaded: what was computed of their weights may be out of date
    names: Sequence[str] = ()  # which each row of the batch uses; empty: all rows use the active ones
    invoked: dict[str, Sequence[int]] = field(default_factory=dict)  # see tuning.invocation
    offsets: dict[str, list[int]] = field(default_factory=dict)
    task_ids: Tensor | None = None  # the task of each row (rows,), for methods that know tasks
    part: Sequence[int] | None = None  # the rows that are computed now, where each uses its own adapter

    def set(self, names: Sequence[str]) -> None:
        self.names = names
        self.offsets = {}
        for row, name in enumerate(names):
            self.offsets.setdefault(name, []).append(row)

    def tasks(self, rows: int) -> Tensor | None:
        """The task of each of so many rows, which are all or the `part`; a row's beams follow each other."""
        ids = self.task_ids
        if ids is not None and self.part is not None:
            ids = ids.repeat_interleave(len(self.names) // len(ids))[list(self.part)]
        return ids if ids is None or rows % len(ids) else ids.repeat_interleave(rows // len(ids))


def by_rows(routing: Routing, x: Tensor, through: Callable[[str, Tensor], Tensor]) -> Tensor:
    """Each adapter's rows of x (rows, …) through it, back in their order."""
    parts: list[tuple[list[int], Tensor]] = []
    try:
        for name, rows in routing.offsets.items():
            routing.part = rows
            parts.append((rows, through(name, x[rows])))
    finally:
        routing.part = None
    out = parts[0][1].new_empty((len(x), *parts[0][1].shape[1:]))
    for rows, part in parts:
        out[rows] = part
    return out
