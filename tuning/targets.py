"""Which layers of a model an adapter is for: PEFT's rules for names, patterns, "all-linear" and layers_to_transform."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from difflib import get_close_matches
from typing import Any

from torch import nn

from tuning.config import LayerConfig, TaskType
from tuning.errors import TargetError
from tuning.kind_of import kind_of
from tuning.kinds import ATTENTION, LINEAR, Frozen, Kind, ParameterKind
from tuning.layers import AdaptedLayer, innermost
from tuning.patterns import value_for
from tuning.registry import LayerFamily
from tuning.saved import SavedModule

ALL_LINEAR = "all-linear"
LAYERS = re.compile(r".*?\.[^.]*\.(\d+)\.")  # where no layers_pattern says it: the first number after a name


def matching(asked: Collection[str] | str | None, name: str) -> bool:
    """Whether a module's path is meant: a pattern matches it whole, a listed name is it or its end."""
    if asked is None:
        return False
    if isinstance(asked, str):
        return re.fullmatch(asked, name) is not None
    return name in asked or any(name.endswith(f".{target}") for target in asked)


def targeted(config: LayerConfig, name: str) -> bool:
    """Whether the config means the module at this path. Never one that is trained whole, or is inside of one."""
    if matching(config.exclude_modules, name) or _kept_whole(config, name):
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
        if found := re.match(rf"(?:^|.*?\.){pattern}\.(\d+)\.", name):
            return int(found[1])
    return None


def resolved(model: nn.Module, config: LayerConfig, family: LayerFamily) -> Collection[str] | str:
    """target_modules with what it leaves open filled in: "all-linear", or none given."""
    asked = config.target_modules
    if isinstance(asked, str) and asked.lower() == ALL_LINEAR:
        return all_linear(model, config)
    if getattr(config, "target_parameters", None) and not asked:
        return set()
    if asked is not None:
        if not asked:
            raise TargetError("target_modules is empty. Name layers, or leave it out for the model's usual ones.")
        return asked
    model_type: str = getattr(getattr(model, "config", None), "model_type", "")
    if model_type in family.targets_of:
        usual = family.targets_of[model_type]
        return usual if isinstance(usual, str) else set(usual)
    ends = {name.rsplit(".", 1)[-1] for name, _ in candidates(model)}
    paths = [name for name, _ in candidates(model)]
    for group in family.targets:
        there = [target for target in group if target in ends or any(path.endswith(f".{target}") for path in paths)]
        if len(there) == len(group) or (there and group is family.targets[-1]):
            return set(there)
    raise TargetError(
        f"{type(model).__name__} has none of {family.name}'s usual layers. Please specify `target_modules`: {listing(model)}"
    )


def all_linear(model: nn.Module, config: LayerConfig) -> set[str]:
    """Every linear layer but the output head, which of a sequence classifier is its score (PEFT's rule)."""
    of_head: Any = getattr(model, "get_output_embeddings", None)
    head = of_head() if of_head is not None else None
    if head is None and config.task_type == TaskType.SEQ_CLS:
        head = next((getattr(model, name) for name in ("score", "classifier") if hasattr(model, name)), None)
    found = list(_with_kinds(model))
    attention = {name for name, _, kind in found if kind.role == ATTENTION}
    linear = [
        (name, module)
        for name, module, kind in found
        if kind.role == LINEAR and name.rpartition(".")[0] not in attention and not read_by_kernels(model, name)
    ]
    out = {name for name, module in linear if module is base_of(head) or _kept_whole(config, name)}
    wanted = {name for name, _ in linear if name not in out}
    if not wanted:
        raise TargetError(f"{type(model).__name__} has no linear layer but its head: {listing(model)}")
    stacked = sorted({own.rpartition(".")[2] for own, parameter in model.named_parameters() if parameter.ndim == 3})
    if stacked and not getattr(config, "target_parameters", None):
        warnings.warn(
            f"all-linear means no layers that are stacked in one parameter, as experts are ({', '.join(stacked)}): name these in "
            "target_parameters", stacklevel=5,
        )  # fmt: skip
    ends = {name.rsplit(".", 1)[-1] for name in wanted}
    meant = {name for name, _ in outer(model) if matching(ends, name)}
    return ends if meant == wanted else wanted  # shorter where it means the same


def base_of(module: nn.Module | None) -> nn.Module | None:
    """The base's own module, where an adapter sits on it or trains a copy of it."""
    if isinstance(module, AdaptedLayer):
        return innermost(module)
    return module.original_module if isinstance(module, SavedModule) else module


def outer(model: nn.Module) -> Iterable[tuple[str, nn.Module]]:
    """(path, module) of a model's modules, without what is inside of ours."""
    inside = "\n"
    for name, module in model.named_modules():
        if name.startswith(inside):
            continue
        if isinstance(module, AdaptedLayer | SavedModule):
            inside = f"{name}."
        yield name, module


def candidates(model: nn.Module) -> Iterable[tuple[str, nn.Module]]:
    """(path, base layer) of every layer that some method can adapt, also where adapters sit on it already."""
    for name, module, _ in _with_kinds(model):
        yield name, module


def _with_kinds(model: nn.Module) -> Iterable[tuple[str, nn.Module, Kind]]:
    """(path, base layer, kind) of these."""
    for name, module in outer(model):
        base = base_of(module)
        if base is not None and (kind := kind_of(base)) is not None:
            yield name, base, kind


def find(model: nn.Module, config: LayerConfig, family: LayerFamily) -> list[Frozen]:
    """The layers that an adapter is to sit on. Raises TargetError where there are none, or one can't be adapted."""
    found: list[Frozen] = []
    wrong: list[tuple[str, nn.Module, Kind | None]] = []
    seen: dict[str, nn.Module] = {}
    for name, module in outer(model):
        seen[name] = module
        if not name or not targeted(config, name):
            continue
        base = innermost(module)
        kind = kind_of(base)
        if kind is None or kind.role not in family.roles or (kind.quantised and not family.on_quantised):
            wrong.append((name, base, kind))
            continue
        if isinstance(innermost(seen[name.rpartition(".")[0]]), nn.MultiheadAttention):
            raise TargetError(
                f"'{name}' is read by its attention as a weight: target '{name.rpartition('.')[0]}' itself"
            )
        if read_by_kernels(model, name):
            raise TargetError(
                f"'{name}' is incompatible with Mamba-based models: fused kernels read its weight, past an adapter"
            )
        found.append(Frozen(name=name, module=base, kind=kind))
        if kind.role == ATTENTION:  # its output projection is not called, but has its weight read: both have adapters
            inner: Any = base
            projection = innermost(inner.out_proj)
            kind = kind_of(projection)
            assert kind is not None
            found.append(Frozen(name=f"{name}.out_proj", module=projection, kind=kind))
    found += parameters(model, config)
    if wrong:
        name, module, kind = wrong[0]
        what = f"{type(module).__name__}, a {kind.role} layer" if kind else f"{type(module).__name__}"
        raise TargetError(
            f"{family.name} can't adapt '{name}' ({what}); it can adapt {' and '.join(sorted(family.roles))} layers: "
            f"{listing(model, family.roles)}"
        )
    named = [frozen for frozen in found if not isinstance(frozen.kind, ParameterKind)]
    if not found:
        raise TargetError(_none_found(model, config, family))
    meant = getattr(config, "target_parameters", None)
    if config.exclude_modules and not any(matching(config.exclude_modules, name) for name, _ in outer(model)):
        warnings.warn(
            f"exclude_modules={config.exclude_modules} excludes nothing: no layer has such a name", stacklevel=4,
        )  # fmt: skip
    elif config.target_modules and not named:
        warnings.warn(
            f"target_modules={config.target_modules} match no module: only parameters are adapted",
            RuntimeWarning,
            stacklevel=4,
        )
    elif meant and len(named) == len(found):
        warnings.warn(
            f"target_parameters={meant} match no parameter: only modules are adapted", RuntimeWarning, stacklevel=4
        )
    for option in ("rank_pattern", "alpha_pattern"):
        pattern = getattr(config, option, None) or {}
        if unmatched := sorted(
            key for key in pattern if not any(value_for({key: 1}, frozen.name, 0) for frozen in found)
        ):
            warnings.warn(
                f"{option} has keys that match no layer of this adapter, and do nothing: {unmatched}",
                RuntimeWarning,
                stacklevel=4,
            )
    return found


def parameters(model: nn.Module, config: LayerConfig) -> list[Frozen]:
    """The parameters that `target_parameters` mean, one by one. Raises TargetError where one can't be adapted."""
    asked = sorted(set(getattr(config, "target_parameters", None) or ()))
    found: list[Frozen] = []
    for name, module in outer(model) if asked else ():
        for own, _ in innermost(module).named_parameters(recurse=False):
            if not matching(asked, f"{name}.{own}".removeprefix(".")):
                continue
            if not name:
                raise TargetError(
                    f"'{own}' is a parameter of the model itself: only those of modules inside it can be adapted"
                )
            if matching(config.target_modules, name) or _has_methods(module):
                raise TargetError(
                    f"'{name}' ({type(innermost(module)).__name__}) is adapted itself, and its parameter '{own}' too: name it in one of target_modules "
                    "and target_parameters. `target_modules=[]` leaves all modules out"
                )
            found.append(Frozen(name=f"{name}.{own}", module=innermost(module), kind=ParameterKind(own)))
    return sorted(
        found, key=lambda frozen: frozen.name.rpartition(".")[0]
    )  # stable: those of one module as they are in it


def read_by_kernels(model: nn.Module, name: str) -> bool:
    """Whether a layer is one of a state-space block whose weights its fused kernels read."""
    above, _, own = name.rpartition(".")
    return own in ("out_proj", "conv1d") and hasattr(model.get_submodule(above), "A_log")


def _has_methods(module: nn.Module) -> bool:
    """Whether adapters sit on a layer as such, and not on its parameters."""
    while isinstance(module, AdaptedLayer):
        if not isinstance(module.frozen.kind, ParameterKind):
            return True
        module = module.base_layer
    return False


def _kept_whole(config: LayerConfig, name: str) -> bool:
    return any(re.match(rf"(^|.*\.){kept}($|\.)", name) for kept in config.modules_to_save or ())


def _none_found(model: nn.Module, config: LayerConfig, family: LayerFamily) -> str:
    asked = config.target_modules
    ends = {name.rsplit(".", 1)[-1] for name, _ in candidates(model)}
    close = [] if isinstance(asked, str) else [
        name for target in sorted(asked or ()) for name in get_close_matches(target, sorted(ends), n=2)
    ]  # fmt: skip
    hints = f" The nearest are {', '.join(map(repr, dict.fromkeys(close)))}." if close else ""
    names = [name for name, _ in outer(model) if name]
    dropped = [name for name in names if matching(config.exclude_modules, name) or _kept_whole(config, name)]
    shown = repr(asked) if isinstance(asked, str) else sorted(asked or ())
    where = (
        f" Note: You specified 'layers_to_transform': {config.layers_to_transform}."
        if config.layers_to_transform is not None
        else ""
    )
    where += (
        f" You also specified 'layers_pattern': {config.layers_pattern}." if config.layers_pattern is not None else ""
    )
    if not asked and (meant := getattr(config, "target_parameters", None)):
        said = f"none of target_parameters {sorted(meant)} is there, and no target_modules are given."
    elif dropped and all(name in dropped for name in names if matching(asked, name)) and len(dropped) == len(names):
        said = "All modules were excluded: check exclude_modules and modules_to_save."
    elif dropped:
        said = (
            f"No modules were targeted for adaptation: what target_modules {shown} mean is left out by exclude_modules "
            f"{config.exclude_modules!r} or modules_to_save {config.modules_to_save!r}."
        )
    else:
        said = f"Target modules {shown} not found in the base model."
    return f"{said}{where}{hints} {type(model).__name__} has {listing(model, family.roles)}"


def listing(model: nn.Module, roles: Collection[str] = ()) -> str:
    """A model's layers by kind: 'linear: q_proj ×30, …; embedding: embed_tokens ×1'."""
    counted: dict[str, Counter[str]] = {}
    for name, _, kind in _with_kinds(model):
        if not roles or kind.role in roles:
            counted.setdefault(kind.role, Counter())[name.rsplit(".", 1)[-1]] += 1
    shown = (f"{role}: {', '.join(f'{name} ×{n}' for name, n in names.items())}" for role, names in counted.items())
    return "; ".join(shown) or "no layer that can be adapted"
