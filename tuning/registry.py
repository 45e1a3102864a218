"""The methods there are: one for each file in `tuning/methods/`, found by its name.

A method's file says `METHOD = LayerFamily(…)` or `METHOD = PromptFamily(…)`, and holds the config's class, named so that the file's
name without underscores is the class's without `Config`, in lower case: `LNTuningConfig` in `ln_tuning.py`. Nothing else knows of it.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuning.compat.absent import TYPES
from tuning.config import LayerConfig, PromptConfig
from tuning.errors import ConfigError, nearest

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tuning.kinds import Frozen
    from tuning.layers import AdaptedLayer, LayerMethod
    from tuning.placement import Placed

FOLDER = Path(__file__).parent / "methods"


def _nothing_shared(config: Any, layers: Sequence[Frozen]) -> None:
    return None


def _as_they_are(config: Any, layers: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    return tensors


def _no_difference(config: Any, tensors: Mapping[str, Tensor], start: Mapping[str, Tensor]) -> Any:
    raise ConfigError(
        f"{config.METHOD} has no form for an adapter less what it began as (path_initial_model_for_weight_conversion)"
    )


@dataclass(frozen=True, kw_only=True)
class LayerFamily:
    """A method that adapts layers.

    `prefix`: what the names of its parameters begin with, as PEFT says it. `roles`: the kinds of layer it can do (`tuning.kinds`). `targets`: layers that are meant where none is named, as lists of
    names to try in turn; `targets_of`: by a model's `model_type`, where PEFT means others. `shared`: makes what all layers of an adapter have in common, a module whose parameters and buffers are saved with it, or None.
    `penalty`: what an adapter adds to the loss, `end_of_step`: what it does after an optimiser's step; None where that is nothing.
    `prepared`: what it fills in in a config for a model. `beside`: the layers that it adapts beside its targets, whose methods, by
    path, it is given; these take the place of a target's own.
    `before_load`, `before_save`: what it changes in a checkpoint's tensors, or in its layers for them; both have keys as in a
    checkpoint, a layer's key being the start of its tensors'.
    `difference`: an adapter's tensors less those that it began as, and the config for it. `learning`: what layers (by path) need to go on training, beside parameters and buffers; `go_on` gives it back to them.
    """

    name: str
    prefix: str
    config: type[LayerConfig]
    layer: Callable[[Frozen, Any, Any], LayerMethod]
    roles: frozenset[str] = frozenset({"linear"})
    on_quantised: bool = True  # whether its layers' weights may be quantised
    targets: Sequence[Sequence[str]] = ()
    targets_of: Mapping[str, Sequence[str] | str] = field(default_factory=dict)
    shared: Callable[[Any, Sequence[Frozen]], Placed | None] = _nothing_shared
    prepared: Callable[[Any, nn.Module], None] = lambda config, model: None
    beside: Callable[[Any, nn.Module, Mapping[str, LayerMethod]], Sequence[tuple[Frozen, LayerMethod]]] = lambda *_: ()
    shared_saved: Callable[[Any], bool] = lambda config: True
    penalty: Callable[[Any, Sequence[LayerMethod]], Tensor | None] | None = None
    end_of_step: Callable[[Any, Mapping[str, AdaptedLayer], str, int], None] | None = None
    before_load: Callable[[Any, Mapping[str, Any], Mapping[str, Tensor]], Mapping[str, Tensor]] = _as_they_are
    before_save: Callable[[Any, Mapping[str, Any], Mapping[str, Tensor]], Mapping[str, Tensor]] = _as_they_are
    learning: Callable[[Mapping[str, Any]], Mapping[str, Tensor]] = lambda layers: {}
    go_on: Callable[[Any, Mapping[str, Any], Mapping[str, Tensor]], None] = lambda *_: None
    difference: Callable[[Any, Mapping[str, Tensor], Mapping[str, Tensor]], tuple[Mapping[str, Tensor], Any]] = (
        _no_difference
    )
    saved_as: Mapping[str, str] = field(default_factory=dict)  # a parameter's name here -> in a checkpoint


@dataclass(frozen=True, kw_only=True)
class PromptFamily:
    """A method that puts virtual tokens before the input: `encoder` makes them.

    `encoder(config, word_embeddings)`: a module that, called with nothing, gives (virtual tokens, dimensions) to put before the
    embedded input, or with `as_keys` the keys and values (virtual tokens, layers · 2 · dimensions) of each layer's attention.
    The config is one that `tuning.virtual.complete` has filled in.
    """

    name: str
    config: type[PromptConfig]
    encoder: Callable[[Any, nn.Module], nn.Module]
    as_keys: bool = False


Family = LayerFamily | PromptFamily


@cache
def files() -> Mapping[str, str]:
    """A config's class in lower case without `Config` -> its module."""
    found = sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))
    return {stem.replace("_", ""): f"tuning.methods.{stem}" for stem in found}


@cache
def methods() -> Mapping[str, Family]:
    """PEFT's name -> method, of all there are. Loads torch."""
    found: list[Family] = [import_module(module).METHOD for module in files().values()]
    return {method.name: method for method in found}


@cache
def names() -> tuple[str, ...]:
    """PEFT's names of the methods there are, as their files say them. Loads no torch."""
    texts = (path.read_text("utf-8") for path in sorted(FOLDER.glob("*.py")))
    return tuple(found[1] for text in texts if (found := re.search(r'METHOD: ClassVar\[str\] = "(\w+)"', text)))


class _Type(enum.StrEnum):
    def __str__(self) -> str:
        return f"PeftType.{self.name}"


# PEFT's enum of methods: those that are here, and those that are refused by name
PeftType: Any = _Type("PeftType", [(name, name) for name in (*names(), *TYPES)], module=__name__)


def method_named(peft_type: str) -> Family:
    """Raises ConfigError."""
    found = methods().get(str(getattr(peft_type, "value", peft_type)))
    if found is None:
        known = list(methods())
        hint = " (PEFT has it, and it is not here)" if peft_type in TYPES else nearest(str(peft_type), known)
        raise ConfigError(f"no method is named {str(peft_type)!r}; there are {', '.join(known)}{hint}")
    return found


def module_of(config_class: str) -> str | None:
    """The module that has a config's class, without importing it."""
    return files().get(config_class.removesuffix("Config").lower()) if config_class.endswith("Config") else None
