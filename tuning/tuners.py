"""PEFT's classes of tuners, one a method: `LoraModel`, `IA3Model`. What differs between methods is in their files; these only say
which it is.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from tuning.registry import LayerFamily, method_named, methods
from tuning.tuner import Tuner


@cache
def tuner_class(peft_type: str) -> type[Tuner]:
    """The tuner of the method that PEFT calls so. Raises ConfigError."""
    family = method_named(peft_type)
    assert isinstance(family, LayerFamily)
    name = tuner_name(family)
    return type(
        name,
        (Tuner,),
        {
            **family.functions,
            "prefix": family.prefix,
            "__module__": __name__,
            "__doc__": f"The model with {family.name} on it.",
        },
    )


def tuner_name(family: LayerFamily) -> str:
    return family.config.__name__.removesuffix("Config") + "Model"


def __getattr__(name: str) -> Any:
    for family in methods().values() if name.endswith("Model") else ():
        if isinstance(family, LayerFamily) and tuner_name(family) == name:
            return tuner_class(family.name)
    raise AttributeError(f"module '{__name__}' has no attribute {name!r}")
