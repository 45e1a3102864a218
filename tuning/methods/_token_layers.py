"""Which layers have rows that can be trained, and which rows: what is asked by name and by token id."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from tuning.errors import ConfigError, TargetError, nearest
from tuning.kind_of import kind_of
from tuning.kinds import EMBEDDING, LINEAR, Frozen
from tuning.targets import candidates


def check_indices(indices: Sequence[int], count: int, name: str) -> None:
    """Raises ConfigError where ids are no rows of an embedding, or are there twice."""
    if not indices:
        raise ConfigError(f"there are no token indices for '{name}': give the ids of the tokens to train")
    if wrong := [index for index in indices if not 0 <= index < count]:
        raise ConfigError(f"token index {wrong[0]} is no row of '{name}', which has {count}: 0 to {count - 1}")
    if len(set(indices)) < len(indices):
        raise ConfigError(
            f"token indices of '{name}' are there twice: {sorted({i for i in indices if indices.count(i) > 1})}"
        )


def frozen_at(model: nn.Module, path: str) -> Frozen:
    """A layer as methods see it. Raises TargetError where rows of it can't be trained."""
    module = dict(candidates(model)).get(path)
    kind = kind_of(module) if module is not None else None
    if module is None or kind is None or kind.role not in (EMBEDDING, LINEAR) or kind.quantised:
        raise TargetError(f"'{path}' is no embedding whose rows could be trained")
    return Frozen(name=path, module=module, kind=kind)


def named(model: nn.Module, name: str) -> list[str]:
    """The paths of the layers whose path is or ends with a name. Raises TargetError."""
    paths = [path for path, _ in candidates(model) if path == name or path.endswith(f".{name}")]
    if not paths:
        hint = nearest(name, [path.rsplit(".", 1)[-1] for path, _ in candidates(model)])
        raise TargetError(f"trainable_token_indices name {name!r}, and no layer has that name{hint}")
    return paths
