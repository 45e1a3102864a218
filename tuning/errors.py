"""What can go wrong in the engine. Every error says what was asked, what is there, and what would work.

TuningError (a ValueError, as callers of PEFT expect)
  TargetError       target modules that name nothing, or nothing that the method can adapt
    NotLinear       an adapter of other layers, meant for what is for linear ones (also a TypeError)
    NoModule        what computes nothing, meant to be trained whole (also a TypeError)
  ConfigError       options that contradict each other, or a value that can't be
    NoList          one name where a list of names is meant (also a TypeError)
    NoOptimizer     something else where a class of optimisers is meant (also a TypeError)
  AdapterError      an adapter's name that is taken, unknown, or not of the kind that is needed
    NoWeights       what is no change of weights, meant to be merged (also a RuntimeError)
    NotOnLayers     what is for adapters on layers, asked of virtual tokens (also a TypeError)
  CheckpointError   a folder that is no adapter, or one for another model
    NoConfig        a config file that is no adapter's (also a TypeError)
    NotTheSame      an adapter of other layers, meant to take one's place (also a RuntimeError)
  LibraryMissing    a library that this needs is not installed (also an ImportError)
  TrainingError     training that can't go on: a loss that is no number
    CutShort        an adapter that was saved without what training needs (also a RuntimeError)
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches


class TuningError(ValueError):
    """The engine can't do what was asked."""


class TargetError(TuningError):
    pass


class NotLinear(TargetError, TypeError):
    pass


class NoModule(TargetError, TypeError):
    pass


class ConfigError(TuningError):
    pass


class NoList(ConfigError, TypeError):
    pass


class NoOptimizer(ConfigError, TypeError):
    pass


class AdapterError(TuningError):
    pass


class NoWeights(AdapterError, RuntimeError):
    pass


class NotOnLayers(AdapterError, TypeError):
    pass


class CheckpointError(TuningError):
    pass


class NoConfig(CheckpointError, TypeError):
    pass


class NotTheSame(CheckpointError, RuntimeError):
    pass


class LibraryMissing(TuningError, ImportError):
    pass


class TrainingError(TuningError):
    pass


class CutShort(TrainingError, RuntimeError):
    pass


class PeftWarning(UserWarning):
    """Something is not as PEFT's users expect it."""


def nearest(asked: str, there: Iterable[str], most: int = 3) -> str:
    """', did you mean …' with the names that come closest, or nothing where none does."""
    close = get_close_matches(asked, list(dict.fromkeys(there)), n=most, cutoff=0.6)
    return f"; the nearest are {', '.join(map(repr, close))}" if close else ""


def check_adapters(names: Iterable[str], there: Collection[str]) -> None:
    """Raises AdapterError where one of the names is no adapter's."""
    for name in names:
        if name not in there:
            raise AdapterError(
                f"Adapter {name} does not exist. Adapter(s) {[name]} not found, available adapters: {sorted(there)}{nearest(name, there)}"
            )
