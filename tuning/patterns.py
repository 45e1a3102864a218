"""Values by layer: `rank_pattern` and `alpha_pattern`, whose keys are ends of paths or patterns of them (PEFT's rule)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

Value = TypeVar("Value")


def value_for(pattern: Mapping[str, Value] | None, name: str, default: Value) -> Value:
    """The first value whose key fits the end of a layer's path, or the default."""
    return next((value for key, value in (pattern or {}).items() if re.match(rf"(.*\.)?({key})$", name)), default)
