"""Which kind of layer a module is: the table of all kinds that can be here."""

from __future__ import annotations

import sys
from functools import cache

from torch import Tensor, nn

from tuning.kinds import CONV, EMBEDDING, LINEAR, NORM, Attention, Convolution, Embedding, Kind, Plain
from tuning.quantised import quantised_kinds
from tuning.quantised_torchao import TorchaoInt8


def _is_norm(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return isinstance(weight, Tensor) and weight.ndim == 1 and "norm" in type(module).__name__.lower()


def kinds() -> tuple[Kind, ...]:
    """All kinds that can be here, quantised ones first: they are subclasses of the plain ones."""
    return _kinds(sys.modules.get("bitsandbytes") is not None)


@cache
def _kinds(with_quantised: bool) -> tuple[Kind, ...]:
    from transformers.pytorch_utils import Conv1D

    return (
        *(quantised_kinds() if with_quantised else ()),
        TorchaoInt8(),
        Plain(LINEAR, lambda module: isinstance(module, nn.Linear)),
        Plain(LINEAR, lambda module: isinstance(module, Conv1D), transposed=True),
        Embedding(EMBEDDING, lambda module: isinstance(module, nn.Embedding)),
        Convolution(CONV, lambda module: isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d)),
        Attention(),
        Plain(NORM, _is_norm),
    )


def kind_of(module: nn.Module) -> Kind | None:
    """The kind that a module is of, or None where no method can adapt it."""
    return next((kind for kind in kinds() if kind.matches(module)), None)
