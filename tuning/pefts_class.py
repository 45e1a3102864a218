"""For libraries that ask `isinstance(model, peft.PeftModel)`: an adapted model of this engine says yes, where HF's peft is imported.

transformers' Trainer asks so, to save the adapter alone. Where peft is not imported nothing changes; `as_peft` puts this engine in its place.
"""

from __future__ import annotations

import sys
from typing import Any


class OfPeftsClass:
    """A class whose objects also count as objects of the class of PEFT's that has its name."""

    @property  # isinstance asks the object's type first, and this then
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        own = type(self)
        return getattr(sys.modules.get("peft"), own.__name__, own)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """pickle asks for the class too, and has to be told the real one."""
        return _empty, (type(self),), self.__getstate__()

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__)


def _empty(kind: Any) -> Any:
    return kind.__new__(kind)
