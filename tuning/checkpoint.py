"""Adapters on disk, in PEFT's format: `adapter_config.json` and `adapter_model.safetensors`. Safetensors are what is written;
a `.bin` of PEFT's is read by torch's reader for tensors alone, and written where it is asked for.
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import warnings
from collections.abc import Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tuning.config import PeftConfig
from tuning.errors import AdapterError, CheckpointError
from tuning.files import replacing
from tuning.layers import AdaptedLayer, adapted_layers
from tuning.registry import LayerFamily
from tuning.saved import SavedModule, saved_modules
from tuning.tuner import Tuner

WEIGHTS = "adapter_model.safetensors"
INDEX = f"{WEIGHTS}.index.json"
STEM = "adapter_model"
PICKLED = "adapter_model.bin"  # what PEFT writes with safe_serialization=False
PREFIX = "base_model.model."
SHARD = 5 << 30  # bytes


class Loaded(NamedTuple):
    """What a checkpoint had too little or too much of."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def keys(tuner: Tuner, name: str, *, embeddings: bool = False, tied: bool = False) -> dict[str, Tensor]:
    """A checkpoint's key -> the parameter or buffer that it is for, of one adapter; with `tied` also the keys that other writers have."""
    config, family = tuner.peft_config[name], tuner.family(name)
    found: dict[str, Tensor] = {}
    for path, layer in tuner.layers_of(name).items():
        if not tied and not all(method.saved for _, method in layer.methods([name])):
            continue
        for own, tensor in _state(layer.adapters[name]).items():
            found[f"{PREFIX}{plain(path)}.{family.saved_as.get(own, own)}"] = tensor
    if name in tuner.in_common and family.shared_saved(config):
        found |= {f"base_model.{own}": tensor for own, tensor in _state(tuner.in_common[name]).items()}
    for path, module in saved_modules(tuner.model).items():
        if name in module.modules_to_save:
            copied = _state(module.modules_to_save[name])
            found |= {f"{PREFIX}{plain(path)}.{own}": tensor for own, tensor in copied.items()}
    found |= _biases(tuner, getattr(config, "bias", "none"))
    if embeddings:
        found |= _embeddings(tuner)
    return found


def plain(path: str) -> str:
    """A path without what torch.compile puts in it."""
    return path.replace("_orig_mod.", "")


def saved(
    tuner: Tuner, name: str, *, embeddings: bool = False, instead: Mapping[int, Tensor] | None = None
) -> Mapping[str, Tensor]:
    """What a checkpoint of an adapter holds. The tensors are the model's own, unless the method saves less of them.

    `instead`: what stands for the model's own tensors, by their ids; those that are not in it are left out.
    """
    own = keys(tuner, name, embeddings=embeddings)
    tensors = {
        key: (tensor if instead is None else instead[id(tensor)]).detach()
        for key, tensor in own.items()
        if instead is None or id(tensor) in instead
    }
    return tuner.family(name).before_save(tuner.peft_config[name], _methods(tuner, name), tensors)


def _methods(tuner: Tuner, name: str) -> dict[str, nn.Module]:
    """The start of a checkpoint's keys -> the method that they are for."""
    return {f"{PREFIX}{plain(path)}": layer.adapters[name] for path, layer in tuner.layers_of(name).items()}


def parts(held: object, name: str) -> Mapping[str, tuple[PeftConfig, Mapping[str, Tensor]]]:
    """The adapters that an adapter is made of, by name."""
    return held.family(name).parts(held.peft_config[name], _methods(held, name)) if isinstance(held, Tuner) else {}


def _state(module: nn.Module) -> dict[str, Tensor]:
    return dict(module.state_dict(keep_vars=True))


def _biases(tuner: Tuner, which: str) -> dict[str, Tensor]:
    if which == "none":
        return {}
    adapted = {f"{path}.base_layer.bias" for path in adapted_layers(tuner.model)}
    ours = {
        id(parameter)
        for name in tuner.peft_config
        for method in tuner.methods(name)
        for parameter in method.parameters()
    }
    return {
        f"{PREFIX}{path}": parameter
        for path, parameter in tuner.model.named_parameters()
        if path.endswith(".bias") and id(parameter) not in ours and (which == "all" or path in adapted)
    }


def _embeddings(tuner: Tuner) -> dict[str, Tensor]:
    model: Any = tuner.model
    found: dict[str, Tensor] = {}
    if not hasattr(model, "get_input_embeddings"):
        warnings.warn(
            f"{type(model).__name__} has no get_input_embeddings, so its embeddings are not saved with the adapter",
            stacklevel=5,
        )
        return found
    paths = {id(module): path for path, module in model.named_modules()}
    for module in (model.get_input_embeddings(), model.get_output_embeddings()):
        base = module.base_layer if isinstance(module, AdaptedLayer) else module
        if isinstance(base, nn.Module) and not isinstance(base, SavedModule):
            path = paths[id(base)]
            if hasattr(module, "token_adapter"):
                path = f"{path.removesuffix(OF_LAYER)}{OF_TOKENS}"
            found |= {f"{PREFIX}{path}.{own}": tensor for own, tensor in base.named_parameters()}
    return found


OF_LAYER, OF_TOKENS = (
    ".base_layer",
    ".token_adapter.base_layer",
)  # where the base is: here, and in PEFT with tokens beside LoRA


@contextlib.contextmanager
def writing(folder: Path, tensors: Mapping[str, Tensor], *, shard: int = SHARD) -> Generator[None]:
    """Write weights, whole or not at all; above `shard` bytes in several files with an index.

    Everything is written before the block runs, and takes the old files' place after it; where the block or the writing fails, a
    full disk for one, the old files stay. Raises CheckpointError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    before = {entry.name for entry in folder.glob(f"{STEM}-*.safetensors")}
    groups = _groups({key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}, shard)
    once = secrets.token_hex(4)  # new names: the old index must go on naming the old files until it is replaced
    names = [f"{STEM}-{once}-{number:05}-of-{len(groups):05}.safetensors" for number in range(1, len(groups) + 1)]
    if len(groups) == 1:
        names = [WEIGHTS]
    with contextlib.ExitStack() as files:
        try:
            index = files.enter_context(replacing(folder / INDEX)) if len(groups) > 1 else None  # takes its place last
            for name, group in zip(names, groups, strict=True):
                save_file(_apart(group), files.enter_context(replacing(folder / name)), metadata={"format": "pt"})
            if index is not None:
                index.write_text(_index(names, groups), encoding="utf-8")
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{folder} can't be written: {error}. What was there is still whole.") from error
        yield
    for name in (WEIGHTS if len(groups) > 1 else INDEX, PICKLED):
        (folder / name).unlink(missing_ok=True)
    for name in before - set(names):
        (folder / name).unlink(missing_ok=True)


@contextlib.contextmanager
def writing_pickled(folder: Path, tensors: Mapping[str, Tensor]) -> Generator[None]:
    """As `writing`, PEFT's `adapter_model.bin`."""
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / PICKLED) as temporary:
        torch.save({key: tensor.detach().cpu() for key, tensor in tensors.items()}, temporary)
        yield
    for name in (WEIGHTS, INDEX):
        (folder / name).unlink(missing_ok=True)


def _groups(tensors: Mapping[str, Tensor], shard: int) -> list[dict[str, Tensor]]:
    groups: list[dict[str, Tensor]] = [{}]
    size = 0
    for key, tensor in tensors.items():
        if groups[-1] and size + tensor.nbytes > shard:
            groups.append({})
            size = 0
        groups[-1][key] = tensor
        size += tensor.nbytes
    return groups


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors that share memory copied: the format has no two names for one."""
    seen: set[int] = set()
    found: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        start = tensor.untyped_storage().data_ptr()
        found[key] = tensor.clone() if start in seen or tensor.untyped_storage().nbytes() != tensor.nbytes else tensor
        seen.add(start)
    return found


def _index(names: Sequence[str], groups: Sequence[Mapping[str, Tensor]]) -> str:
    total = sum(tensor.nbytes for group in groups for tensor in group.values())
    where = {key: name for name, group in zip(names, groups, strict=True) for key in group}
    return json.dumps({"metadata": {"total_size": total}, "weight_map": where}, indent=2, sort_keys=True)


def read(folder: Path, device: str | None = None) -> dict[str, Tensor]:
    """An adapter's weights, on a device (the CPU). Raises CheckpointError where there are none that can be read safely."""
    tensors = _read(folder)
    try:
        return tensors if device is None else {key: tensor.to(device) for key, tensor in tensors.items()}
    except RuntimeError as error:
        raise CheckpointError(f"torch_device is {device!r}, which tensors can't be on: {error}") from error


def _read(folder: Path) -> dict[str, Tensor]:
    index = folder / INDEX
    try:
        if index.is_file():
            names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
            if any(Path(name).name != name for name in names):
                raise CheckpointError(f"{index} names files outside its folder")
            return {key: tensor for name in names for key, tensor in load_file(folder / name).items()}
        if (folder / WEIGHTS).is_file():
            return load_file(folder / WEIGHTS)
    except (OSError, SafetensorError, KeyError, ValueError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{folder} can't be read: {error}. Was it copied whole?") from error
    if (folder / PICKLED).is_file():
        return _unpickled(folder / PICKLED)
    there = ", ".join(sorted(entry.name for entry in folder.glob("*"))[:12]) or "nothing"
    raise CheckpointError(f"{folder} has no {WEIGHTS} (there is: {there})")


def _unpickled(path: Path) -> dict[str, Tensor]:
    """What PEFT writes with safe_serialization=False, read by torch's reader for tensors and nothing else. Raises CheckpointError."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever the reader comes upon in a broken or hostile file
        raise CheckpointError(f"{path} holds more than tensors, or is broken, and is not read: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(tensor, Tensor) for tensor in found.values()):
        raise CheckpointError(f"{path} holds something else than tensors by name")
    return found


@torch.no_grad()
def load(tuner: Tuner, name: str, tensors: Mapping[str, Tensor], *, ignore_mismatched: bool = False) -> Loaded:
    """Put a checkpoint's weights into an adapter that is there.

    Raises CheckpointError where shapes differ or nothing fits, AdapterError where the adapter is merged; then nothing has changed.
    """
    tuner.check_known([name])
    if any(name in layer.merged_adapters for layer in adapted_layers(tuner.model).values()):
        raise AdapterError(f"'{name}' is merged: unmerge it before its weights are changed")
    family = tuner.family(name)
    tensors = {key.replace(f"{OF_TOKENS}.", f"{OF_LAYER}."): tensor for key, tensor in tensors.items()}
    methods = _methods(tuner, name)
    with _kept_on_error(methods.values()):
        tensors = family.before_load(tuner.peft_config[name], methods, tensors)
        wanted = keys(tuner, name)
        everything = keys(tuner, name, tied=True)
        everything |= {f"{PREFIX}{path}": tensor for path, tensor in tuner.model.state_dict(keep_vars=True).items()}
        found = {key: target for key in tensors if (target := wanted.get(key, everything.get(key))) is not None}
        missing = [key for key in wanted if key not in tensors]
        if wanted and len(missing) == len(wanted):
            raise CheckpointError(_none_fits(tuner, family, tensors, wanted))
        fitting = {key: target for key, target in found.items() if target.shape == tensors[key].shape}
        if not ignore_mismatched and (wrong := [key for key in found if key not in fitting]):
            there, here = tuple(tensors[wrong[0]].shape), tuple(found[wrong[0]].shape)
            more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
            raise CheckpointError(
                f"'{wrong[0]}' is {there} in the checkpoint and {here} here{more}: it was trained for another base, or with "
                "another rank. ignore_mismatched_sizes=True leaves such tensors out"
            )
    empty = {id(target) for target in fitting.values() if target.is_meta}
    places = {
        id(parameter): (module, own)
        for module in (tuner.modules() if empty else ())
        for own, parameter in module.named_parameters(recurse=False)
    }
    for key, target in fitting.items():
        if id(target) in places and target.is_meta:
            held, own = places[id(target)]
            value = tensors[key].to(device=_device(tuner), dtype=target.dtype)
            setattr(held, own, nn.Parameter(value, requires_grad=target.requires_grad))
        else:
            target.data.copy_(tensors[key])
    tuner.routing.changes += 1
    here = {id(tensor): f"base_model.{path}" for path, tensor in tuner.state_dict(keep_vars=True).items()}
    named = [here.get(id(wanted[key]), key) for key in missing]  # by the model's names, as PEFT has them
    return Loaded(named, [key for key in tensors if key not in found])


@contextlib.contextmanager
def _kept_on_error(methods: Iterable[nn.Module]) -> Generator[None]:
    """Where the block raises, methods hold what they held before: some make room for a checkpoint before all of it is checked."""
    before = [
        (module, dict(module.__dict__), {**module._parameters, **module._buffers})  # pyright: ignore[reportPrivateUsage]
        for method in methods
        for module in method.modules()
    ]
    try:
        yield
    except BaseException:
        for module, own, held in before:
            module.__dict__.update(own)
            for name in (name for name, value in held.items() if getattr(module, name) is not value):
                setattr(module, name, held[name])
        raise


def _device(tuner: Tuner) -> torch.device:
    """The base's."""
    return next(
        (parameter.device for parameter in tuner.model.parameters() if not parameter.is_meta), torch.device("cpu")
    )


def _none_fits(tuner: Tuner, family: LayerFamily, tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    layers = sorted({re.sub(r"\.\d+\.", ".N.", key.removeprefix(PREFIX)) for key in tensors})
    here = sorted({re.sub(r"\.\d+\.", ".N.", key.removeprefix(PREFIX)) for key in wanted})
    return (
        f"the checkpoint fits no layer of {type(tuner.model).__name__}: it has {', '.join(layers[:4]) or 'nothing'}, "
        f"and {family.name} here wants {', '.join(here[:4])}"
    )
