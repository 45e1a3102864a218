"""PEFT's names of methods, and which file of `tuning/methods/` each is in. Loads no torch, and no method before it is asked for."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from tuning.errors import ConfigError, nearest

FOLDER = Path(__file__).parent / "methods"
_CONFIG = re.compile(r'^class (\w+)Config\(.*?METHOD: ClassVar\[str\] = "(\w+)"', re.MULTILINE | re.DOTALL)


@cache
def files() -> Mapping[str, str]:
    """A config's class in lower case without `Config` -> its module."""
    found = sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))
    return {stem.replace("_", ""): f"tuning.methods.{stem}" for stem in found}


@cache
def homes() -> Mapping[str, str]:
    """PEFT's name of each method there is -> its module, by what the files say."""
    texts = (path.read_text("utf-8") for path in sorted(FOLDER.glob("*.py")))
    return {found[2]: files()[found[1].lower()] for text in texts if (found := _CONFIG.search(text))}


def names() -> tuple[str, ...]:
    """PEFT's names of the methods there are."""
    return tuple(homes())


class _Type(enum.StrEnum):
    def __str__(self) -> str:
        return f"PeftType.{self.name}"


PeftType: Any = _Type("PeftType", [(name, name) for name in names()], module=__name__)  # PEFT's enum of methods


def load_method(peft_type: str) -> Any:
    """A file's `METHOD`. Raises ConfigError where there is no such method."""
    home = homes().get(str(getattr(peft_type, "value", peft_type)))
    if home is None:
        known = names()
        raise ConfigError(
            f"no method is named {str(peft_type)!r}; there are {', '.join(known)}{nearest(str(peft_type), known)}"
        )
    return import_module(home).METHOD


def module_of(config_class: str) -> str | None:
    """The module that has a config's class, without importing it."""
    return files().get(config_class.removesuffix("Config").lower()) if config_class.endswith("Config") else None
