"""What can go wrong in the engine. Every error says what was asked, what is there, and what would work.

TuningError (a ValueError, as callers of PEFT expect)
  TargetError       target modules that name nothing, or nothing that the method can adapt
  ConfigError       options that contradict each other, or a value that can't be
  AdapterError      an adapter's name that is taken, unknown, or not of the kind that is needed
  CheckpointError   a folder that is no adapter, or one for another model
  LibraryMissing    a library that this needs is not installed (also an ImportError)
  TrainingError     training that can't go on: a loss that is no number
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches


class TuningError(ValueError):
    """The engine can't do what was asked."""


class TargetError(TuningError):
    pass


class ConfigError(TuningError):
    pass


class AdapterError(TuningError):
    pass


class CheckpointError(TuningError):
    pass


class LibraryMissing(TuningError, ImportError):
    pass


class TrainingError(TuningError):
    pass


def nearest(asked: str, there: Iterable[str], most: int = 3) -> str:
    """', did you mean …' with the names that come closest, or nothing where none does."""
    close = get_close_matches(asked, list(dict.fromkeys(there)), n=most, cutoff=0.6)
    return f"; the nearest are {', '.join(map(repr, close))}" if close else ""


def check_adapters(names: Iterable[str], there: Collection[str]) -> None:
    """Raises AdapterError where one of the names is no adapter's."""
    for name in names:
        if name not in there:
            raise AdapterError(
                f"there is no adapter '{name}'; there are {', '.join(there) or 'none'}{nearest(name, there)}"
            )
