"""Which adapters a call uses: all rows the active ones, or each row its own; and which task each row is of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from tuning.errors import AdapterError

NO_ADAPTER = "__base__"  # PEFT's name for rows that use none


@dataclass(kw_only=True)
class Routing:
    """Which adapters are used. One for a whole model, so that switching them touches no layer."""

    active: tuple[str, ...] = ()  # stacked in this order
    enabled: bool = True
    merged: tuple[str, ...] = ()  # those that are in the base's weights
    differing: bool = False  # whether a layer was given a choice of its own
    configs: dict[str, Any] = field(default_factory=dict)  # adapter -> its config
    in_common: dict[str, Any] = field(default_factory=dict)  # adapter -> what all its layers have in common
    hooks: list[Any] = field(default_factory=list)  # on the model, see tuning.calls
    looks: int = 0  # how often adapters came or went: tuners that found their layers before look again
    changes: int = 0  # how often adapters were set, loaded, or came or went: what was computed of them may be old
    names: Sequence[str] = ()  # which each row of the batch uses; empty: all rows use the active ones
    invoked: dict[str, Sequence[int]] = field(default_factory=dict)  # see tuning.invocation
    task_ids: Tensor | None = None  # the task of each row (rows,), for methods that know tasks
    part: Sequence[int] | None = None  # where each row uses its own adapter: which of `names` are computed now

    def rows(self, count: int) -> dict[str, list[int]]:
        """Adapter -> which of so many rows use it. An encoder has one row for several names, where a model repeats its outputs.

        Raises AdapterError where the rows are not those of `names`.
        """
        copies = len(self.names) // count if count else 0
        names = self.names[:: copies or 1]
        if len(names) != count or [name for name in names for _ in range(copies)] != list(self.names):
            raise AdapterError(
                f"adapter_names are for {len(self.names)} rows, and a layer is given {count}: rows can't have adapters of their own there"
            )
        found: dict[str, list[int]] = {}
        for row, name in enumerate(names):
            found.setdefault(name, []).append(row)
        return found

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
        for name, rows in routing.rows(len(x)).items():
            routing.part = [row * (len(routing.names) // len(x)) for row in rows]
            parts.append((rows, through(name, x[rows])))
    finally:
        routing.part = None
    out = parts[0][1].new_empty((len(x), *parts[0][1].shape[1:]))
    for rows, part in parts:
        out[rows] = part
    return out
