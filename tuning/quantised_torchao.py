"""Bases of torchao's 8-bit tensors: weights alone (`Int8WeightOnlyConfig`), or inputs too (`Int8DynamicActivationInt8WeightConfig`).

An adapter computes beside the frozen layer, as with bitsandbytes (`tuning.quantised`). Merging rounds the changed weight as the old one was:
with one scale a row, the error of a weight is at most 1 / 254 of the largest of its row. torchao's other tensors are refused: how they were
rounded can't be told from them.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any, final

import torch
from torch import Tensor, nn

from tuning.errors import ConfigError, PeftWarning
from tuning.kinds import LINEAR, Kind

LIBRARY, TENSOR = "torchao", "Int8Tensor"


def check_tensors(model: nn.Module) -> None:
    """Raises ConfigError where a model has tensors of torchao's that adapters can't sit on; warns of those that no gradient comes through."""
    found = {name: value for name, value in model.named_parameters() if _is_torchaos(value)}
    if wrong := [name for name, value in found.items() if not _is_readable(value)]:
        raise ConfigError(
            f"'{wrong[0]}' is torchao's {type(found[wrong[0]]).__name__}, which this engine can't read: of torchao it reads Int8Tensor without "
            "act_pre_scale. Load the model with Int8WeightOnlyConfig, or with transformers' BitsAndBytesConfig (4 or 8 bit)"
        )
    if rounded := [name for name, value in found.items() if getattr(value, "act_quant_kwargs", None) is not None]:
        warnings.warn(
            f"torchao rounds the inputs of '{rounded[0]}', and no gradient comes through: use an adapter there, and train it on "
            "Int8WeightOnlyConfig", PeftWarning, stacklevel=4,
        )  # fmt: skip


def _is_torchaos(tensor: Any) -> bool:
    return type(tensor).__module__.partition(".")[0] == LIBRARY


def _is_readable(tensor: Any) -> bool:
    return _is_torchaos(tensor) and type(tensor).__name__ == TENSOR and getattr(tensor, "act_pre_scale", None) is None


@final
class TorchaoInt8(Kind):
    role, quantised, backend = LINEAR, True, "torchao"

    def matches(self, module: nn.Module) -> bool:
        return isinstance(module, nn.Linear) and _is_readable(module.weight)

    def read(self, module: nn.Module) -> Tensor:
        weight: Any = module.weight
        return weight.dequantize()

    def write(self, module: nn.Module, weight: Tensor) -> None:
        torchao: Any = import_module("torchao.quantization")  # loaded already
        kept: Any = module.weight
        rows, group = kept.block_size
        by_row = torchao.PerRow() if group == kept.shape[1] else torchao.PerGroup(group)
        fresh = type(kept).from_hp(
            weight.to(kept.dtype).contiguous(),
            granularity=by_row if rows == 1 else torchao.PerTensor(),
            act_quant_kwargs=kept.act_quant_kwargs,
            act_quant_scale=kept.act_quant_scale,
            act_quant_zero_point=kept.act_quant_zero_point,
            reduce_range=kept.reduce_range,
        )
        module.weight = nn.Parameter(fresh, requires_grad=False)

    def held(self, module: nn.Module) -> Tensor:
        return module.get_parameter("weight")

    def put_back(self, module: nn.Module, held: Tensor) -> None:
        module.weight = held  # pyright: ignore[reportAttributeAccessIssue]

    def precision(self, module: nn.Module) -> torch.dtype:
        return torch.get_default_dtype()
