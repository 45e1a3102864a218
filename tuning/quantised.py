"""Quantised bases of bitsandbytes: 8 bit (LLM.int8, Dettmers et al. 2022) and 4 bit (NF4 and FP4, QLoRA, Dettmers et al. 2023).

An adapter computes in float32 (or what it was made in) beside the frozen layer; the gradient goes through the layer as it is.
Merging rounds: W = Q⁻¹(Q(W₀ + ΔW)). The error of one weight is then at most, of the largest weight
  8 bit   0.45 % of its row's          (and of a matrix of normal weights about 0.8 % in Frobenius' norm)
  NF4     16 % of its block's of 64    (about 10 %)
  FP4     17.5 % of its block's of 64  (about 12 %)
Unmerging rounds a second time, so it gives the base back to about twice that. `merge_adapter(keep_base=True)` gives it back bit for
bit, for the memory of one more copy of the quantised weights. Where the error matters, merge into the base as it was before
quantisation.

On CPUs with AVX512-BF16 the library stores a 4-bit weight anew at its first forward pass in evaluation, with scales in bfloat16: that
rounding is its own (about 0.2 %). On such CPUs it computes 4-bit layers with fewer inputs than a block (64) wrongly (0.50).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from copy import copy
from importlib.util import find_spec
from typing import Any, cast, final

import torch
from torch import Tensor, nn

from corpus.interpreter import missing
from tuning.errors import ConfigError, LibraryMissing
from tuning.kinds import LINEAR, Kind
from tuning.quantised_torchao import check_tensors

LIBRARY = "bitsandbytes"


def quantised_kinds() -> Sequence[Kind]:
    """The kinds of layer that the library has. Not loaded for this: who has a quantised layer has loaded it."""
    bnb = sys.modules.get(LIBRARY)
    return () if bnb is None or not hasattr(bnb, "nn") else (_FourBit(bnb), _EightBit(bnb))


def is_quantised(model: nn.Module) -> bool:
    """Whether a model says that it is quantised with bitsandbytes, or has a layer of its."""
    said: Any = model
    if getattr(said, "is_loaded_in_8bit", False) or getattr(said, "is_loaded_in_4bit", False):
        return True
    method = getattr(said, "quantization_method", None)
    return getattr(method, "value", method) == LIBRARY or any(
        type(module).__module__.partition(".")[0] == LIBRARY for module in model.modules()
    )


OTHERS = {  # transformers' names of quantisations whose layers this engine can't read, and the packages that have these layers
    "gptq": ("GPTQ", ("gptqmodel", "auto_gptq")),
    "awq": ("AWQ", ("awq",)),
    "aqlm": ("AQLM", ("aqlm",)),
    "eetq": ("EETQ", ("eetq",)),
    "hqq": ("HQQ", ("hqq",)),
}


def check_readable(model: nn.Module) -> None:
    """Raises ConfigError where a model's layers are quantised in a way that adapters can't sit on here."""
    said: Any = model
    config = getattr(getattr(said, "config", None), "quantization_config", None)
    asked = config.get("quant_method") if isinstance(config, dict) else getattr(config, "quant_method", None)
    method = getattr(said, "quantization_method", None) or asked
    packages = {type(module).__module__.partition(".")[0] for module in model.modules()}
    for name, (title, theirs) in OTHERS.items():
        if getattr(method, "value", method) == name or packages & set(theirs):
            raise ConfigError(
                f"{type(model).__name__} is quantised with {title}, whose weights this engine can't read. Load the model without it, or "
                "with transformers' BitsAndBytesConfig (4 or 8 bit): an adapter is the same file for all of these"
            )
    check_tensors(model)


def check_library(model: nn.Module) -> None:
    """Raises LibraryMissing where a model is quantised and the library for it isn't there, and ConfigError where none is for it."""
    check_readable(model)
    if sys.modules.get(LIBRARY) is None and is_quantised(model) and find_spec(LIBRARY) is None:
        raise LibraryMissing(
            f"{type(model).__name__} is quantised. {missing(LIBRARY, extra='quantised')} "
            "Or load the model without quantization_config"
        )


def prepare_model_for_gradient_checkpointing(model: nn.Module) -> None:
    """Let embedded inputs take gradients: a reentrant checkpoint gives none otherwise."""
    if getattr(model, "is_gradient_checkpointing", True) and hasattr(model, "get_input_embeddings"):
        found: Any = model
        if hasattr(model, "enable_input_require_grads"):
            found.enable_input_require_grads()
        else:
            found.get_input_embeddings().register_forward_hook(lambda module, args, output: output.requires_grad_(True))


def prepare_model_for_kbit_training(
    model: nn.Module,
    use_gradient_checkpointing: bool = True,
    gradient_checkpointing_kwargs: dict[str, Any] | None = None,
    auto_clear_cache: bool = True,
) -> Any:
    """Freeze a model, bring what isn't quantised to float32, and where layers are quantised compute activations again in the
    backward pass instead of keeping them. To be called before `get_peft_model`. Raises LibraryMissing.
    """
    check_library(model)
    loaded: Any = model
    for parameter in model.parameters():
        parameter.requires_grad_(False)
        if parameter.dtype in (torch.float16, torch.bfloat16) and type(parameter).__name__ != "Params4bit":
            parameter.data = parameter.data.float()
    if auto_clear_cache and torch.cuda.is_available():
        torch.cuda.empty_cache()
    if use_gradient_checkpointing and is_quantised(model):
        options = gradient_checkpointing_kwargs or {}
        if options.get("use_reentrant", True):  # else no gradient would come through the frozen embedding
            loaded.enable_input_require_grads()
        loaded.gradient_checkpointing_enable(gradient_checkpointing_kwargs=options)
    return loaded


@final
class _FourBit(Kind):
    role, quantised, backend = LINEAR, True, "bnb 4bit"

    def __init__(self, bnb: Any) -> None:
        self._bnb = bnb

    def matches(self, module: nn.Module) -> bool:
        return isinstance(module, self._bnb.nn.Linear4bit)

    def read(self, module: nn.Module) -> Tensor:
        weight: Any = module.weight
        state = weight.quant_state
        if state is None:  # not quantised yet: that happens when it is moved to its device
            return weight
        data = weight.data
        if getattr(state, "packing_format_for_cpu", False):
            data, state = self._in_plain_order(data, state)
        return self._bnb.functional.dequantize_4bit(data, state)

    def _in_plain_order(self, data: Tensor, packed: Any) -> tuple[Tensor, Any]:
        """What a forward pass in evaluation put in another order (CPUs with AVX512-BF16), as `dequantize_4bit` expects it."""
        state = copy(packed)
        state.original_nested = False  # or the blocks' scales, which are plain by now, would be quantised once more
        data, state = self._bnb.functional._convert_weight_packed_for_cpu_inverse(data, state)
        state.absmax = packed.absmax.T.reshape(-1).float()
        state.nested, state.state2, state.offset = False, None, None
        return data, state

    def write(self, module: nn.Module, weight: Tensor) -> None:
        found: Any = module
        kept = found.weight
        if kept.quant_state is None:
            kept.data = weight.to(kept.dtype).contiguous()
            return
        dtype = getattr(kept.quant_state, "original_dtype", kept.quant_state.dtype)
        fresh = self._bnb.nn.Params4bit(
            weight.to(dtype).contiguous(),
            requires_grad=False,
            quant_type=kept.quant_type,
            blocksize=kept.blocksize,
            compress_statistics=kept.compress_statistics,
            quant_storage=kept.quant_storage,
            module=found,
        )
        found.weight = fresh.to(kept.device)

    def held(self, module: nn.Module) -> Tensor:
        return module.get_parameter("weight")

    def put_back(self, module: nn.Module, held: Tensor) -> None:
        layer, weight = cast(Any, module), cast(Any, held)
        layer.weight, layer.quant_state = weight, weight.quant_state

    def precision(self, module: nn.Module) -> torch.dtype:
        return torch.get_default_dtype()


@final
class _EightBit(Kind):
    role, quantised, backend = LINEAR, True, "bnb 8bit"

    def __init__(self, bnb: Any) -> None:
        self._bnb = bnb

    def matches(self, module: nn.Module) -> bool:
        return isinstance(module, self._bnb.nn.Linear8bitLt)

    def read(self, module: nn.Module) -> Tensor:
        layer: Any = module
        if layer.weight.dtype != torch.int8:  # not quantised yet, or kept in half precision
            return layer.weight
        scale = layer.state.SCB if layer.weight.SCB is None else layer.weight.SCB
        return self._bnb.functional.int8_vectorwise_dequant(layer.weight.data, scale.to(layer.weight.device))

    def write(self, module: nn.Module, weight: Tensor) -> None:
        layer: Any = module
        kept = layer.weight
        if kept.dtype != torch.int8:
            kept.data = weight.to(kept.dtype).contiguous()
            return
        fresh = self._bnb.nn.Int8Params(weight.cpu().contiguous(), requires_grad=False, has_fp16_weights=False)
        layer.weight = fresh.to(kept.device)
        layer.state.reset_grads()

    def held(self, module: nn.Module) -> Tensor:
        layer: Any = module
        weight = layer.weight
        if weight.dtype == torch.int8 and weight.SCB is None:  # its first forward pass moved the scales into the state
            weight.CB, weight.SCB = weight.data, layer.state.SCB
        return weight

    def put_back(self, module: nn.Module, held: Tensor) -> None:
        layer: Any = module
        layer.weight = held
        layer.state.reset_grads()

    def precision(self, module: nn.Module) -> torch.dtype:
        return torch.get_default_dtype()
