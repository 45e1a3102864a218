"""Which layers of a model an adapter is for: PEFT's rules for names, patterns, "all-linear" and layers_to_transform."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from torch import nn

from tuning.config import LayerConfig
from tuning.errors import TargetError, nearest
from tuning.kinds import LINEAR, Frozen, Kind, kind_of
from tuning.layers import AdaptedLayer
from tuning.registry import LayerFamily

ALL_LINEAR = "all-linear"
LAYERS = re.compile(r".*\.[^.]*\.(\d+)\.")  # where no layers_pattern says it: the first number after a name


def matching(asked: Collection[str] | str | None, name: str) -> bool:
    """Whether a module's path is meant: a pattern matches it whole, a listed name is it or its end."""
    if asked is None:
        return False
    if isinstance(asked, str):
        return re.fullmatch(asked, name) is not None
    return name in asked or any(name.endswith(f".{target}") for target in asked)


def targeted(config: LayerConfig, name: str) -> bool:
    """Whether the config means the module at this path."""
    if matching(config.exclude_modules, name):
        return False
    if not matching(config.target_modules, name):
        return False
    wanted = config.layers_to_transform
    exact = not isinstance(config.target_modules, str) and name in (config.target_modules or ())
    if wanted is None or (isinstance(wanted, list) and not wanted) or exact:
        return True
    number = _layer(name, config.layers_pattern)
    return number is not None and number in ([wanted] if isinstance(wanted, int) else wanted)


def _layer(name: str, patterns: Sequence[str] | str | None) -> int | None:
    if not patterns:
        found = LAYERS.match(name)
        return int(found[1]) if found else None
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        if found := re.match(rf".*\.{pattern}\.(\d+)\.", name):
            return int(found[1])
    return None


def resolved(model: nn.Module, config: LayerConfig, family: LayerFamily) -> Collection[str] | str:
    """target_modules with what it leaves open filled in: "all-linear", or none given."""
    asked = config.target_modules
    if isinstance(asked, str) and asked.lower() == ALL_LINEAR:
        return _all_linear(model, set(config.modules_to_save or ()))
    if asked is not None:
        if not asked:
            raise TargetError("target_modules is empty. Name layers, or leave it out for the model's usual ones.")
        return asked
    ends = {name.rsplit(".", 1)[-1] for name, _ in candidates(model)}
    paths = [name for name, _ in candidates(model)]
    for group in family.targets:
        there = [target for target in group if target in ends or any(path.endswith(f".{target}") for path in paths)]
        if len(there) == len(group) or (there and group is family.targets[-1]):
            return set(there)
    raise TargetError(
        f"{type(model).__name__} has none of {family.name}'s usual layers. Give target_modules: {listing(model)}"
    )


def _all_linear(model: nn.Module, kept_whole: set[str]) -> set[str]:
    """Every linear layer but the output head, and for a classifier its last layer (PEFT's rule)."""
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    linear = [
        (name, module)
        for name, module in candidates(model)
        if kind_of(module).role == LINEAR and name.rsplit(".", 1)[-1] not in kept_whole  # type: ignore[union-attr]
    ]
    out = {name for name, module in linear if base_of(module) is base_of(head)}
    if head is None:
        out |= {name for name, _ in linear if name.rsplit(".", 1)[-1] in ("score", "classifier", "qa_outputs")}
    ends = {name.rsplit(".", 1)[-1] for name, _ in linear if name not in out}
    if any(name.rsplit(".", 1)[-1] in ends for name in out):  # the head has a name that other layers have too
        return {name for name, _ in linear if name not in out}
    return ends


def base_of(module: nn.Module | None) -> nn.Module | None:
    return module.base_layer if isinstance(module, AdaptedLayer) else module


def candidates(model: nn.Module) -> Iterable[tuple[str, nn.Module]]:
    """(path, base layer) of every layer that some method can adapt, also where adapters sit on it already."""
    inside: list[str] = []
    for name, module in model.named_modules():
        if any(name.startswith(f"{start}.") for start in inside):
            continue
        if isinstance(module, AdaptedLayer):
            inside.append(name)
            yield name, module.base_layer
        elif kind_of(module) is not None:
            yield name, module


def find(model: nn.Module, config: LayerConfig, family: LayerFamily) -> list[Frozen]:
    """The layers that an adapter is to sit on. Raises TargetError where there are none, or one can't be adapted."""
    found: list[Frozen] = []
    wrong: list[tuple[str, nn.Module, Kind | None]] = []
    inside: list[str] = []
    for name, module in model.named_modules():
        if any(name.startswith(f"{start}.") for start in inside):
            continue
        if isinstance(module, AdaptedLayer):
            inside.append(name)
        if not name or not targeted(config, name) or _kept_whole(config, name):
            continue
        base = module.base_layer if isinstance(module, AdaptedLayer) else module
        kind = kind_of(base)
        if kind is None or kind.role not in family.roles:
            wrong.append((name, base, kind))
        else:
            found.append(Frozen(name=name, module=base, kind=kind))
    if wrong:
        name, module, kind = wrong[0]
        what = f"{type(module).__name__}, a {kind.role} layer" if kind else f"{type(module).__name__}"
        raise TargetError(
            f"{family.name} can't adapt '{name}' ({what}); it can adapt {' and '.join(sorted(family.roles))} layers: "
            f"{listing(model, family.roles)}"
        )
    if not found:
        raise TargetError(_none_found(model, config, family))
    return found


def _kept_whole(config: LayerConfig, name: str) -> bool:
    return any(name == kept or name.endswith(f".{kept}") for kept in config.modules_to_save or ())


def _none_found(model: nn.Module, config: LayerConfig, family: LayerFamily) -> str:
    asked = config.target_modules
    ends = {name.rsplit(".", 1)[-1] for name, _ in candidates(model)}
    shown = repr(asked) if isinstance(asked, str) else ", ".join(map(repr, sorted(asked or ())))
    hints = "" if isinstance(asked, str) else "".join(nearest(name, ends) for name in sorted(asked or ()))
    also = f" (exclude_modules {config.exclude_modules!r} takes the rest away)" if config.exclude_modules else ""
    also += f" (in layers {config.layers_to_transform!r})" if config.layers_to_transform is not None else ""
    return (
        f"target_modules {shown} name no layer{also}{hints}. {type(model).__name__} has {listing(model, family.roles)}"
    )


def listing(model: nn.Module, roles: Collection[str] = ()) -> str:
    """A model's layers by kind: 'linear: q_proj ×30, …; embedding: embed_tokens ×1'."""
    counted: dict[str, Counter[str]] = {}
    for name, module in candidates(model):
        kind: Any = kind_of(module)
        if not roles or kind.role in roles:
            counted.setdefault(kind.role, Counter())[name.rsplit(".", 1)[-1]] += 1
    shown = (f"{role}: {', '.join(f'{name} ×{n}' for name, n in names.items())}" for role, names in counted.items())
    return "; ".join(shown) or "no layer that can be adapted"
