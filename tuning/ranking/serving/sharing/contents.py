"""The files of an adapter and of a usage table, as they are shared: which there are, how large they may be, and whether they are sound.

Safetensors, JSON and Starling's own tables: nothing here is unpickled, and nothing of it is run.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta, Struct

from corpus.syntax.language import languages
from corpus.usage.table import SUFFIX, Table, TableError
from tuning.ranking.serving.model.adapter_merging import CONFIG, FILE
from tuning.ranking.serving.model.adapter_registry import ADAPTERS
from tuning.ranking.serving.model.llama_weights import safetensors
from tuning.ranking.serving.model.model_store import File, sha256
from tuning.ranking.serving.sharing.errors import EntryRefused

CONFIG_SIZE, WEIGHTS_SIZE, TABLE_SIZE = 1 << 20, 1 << 30, 64 << 20  # bytes at most
HEADER_SIZE = 16 << 20  # of a safetensors file
WIDTHS = {"F32": 4, "F16": 2, "BF16": 2}  # bytes of a number, of the types that adapters are read in
BASE_NAME = "base_model_name_or_path"
UNREADABLE = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)

Content = bytes | Path


class _Tensor(Struct):
    dtype: str
    shape: list[Annotated[int, Meta(ge=0)]]
    data_offsets: tuple[Annotated[int, Meta(ge=0)], Annotated[int, Meta(ge=0)]]


def limits(kind: str) -> Mapping[str, int]:
    """The names that files of a kind may have, and how many bytes each may have at most."""
    if kind == ADAPTERS:
        return {CONFIG: CONFIG_SIZE, FILE: WEIGHTS_SIZE}
    return {f"{language.usage}{SUFFIX}": TABLE_SIZE for language in languages().values()}


def missing(kind: str, names: Mapping[str, Any]) -> str:
    """What these files lack to be an adapter or a usage table; "" for nothing."""
    if kind == ADAPTERS:
        return ", ".join(name for name in (CONFIG, FILE) if name not in names)
    return "" if names else f"a file *{SUFFIX}"


def shared(folder: Path, kind: str) -> dict[str, Content]:
    """What is shared of an installed version, by name. Raises EntryRefused, OSError."""
    found: dict[str, Content] = {name: folder / name for name in limits(kind) if (folder / name).is_file()}
    if lacking := missing(kind, found):
        raise EntryRefused(f"{folder} has no {lacking}")
    if CONFIG in found:
        found[CONFIG] = _without_places(folder / CONFIG)
    return found


def _without_places(file: Path) -> bytes:
    """An adapter's config that names its base without the folder where it was: that is nobody else's business."""
    config = file.read_bytes()
    read = _config(file.name, config)
    base = read.get(BASE_NAME)
    if not isinstance(base, str) or not (PurePosixPath(base).is_absolute() or PureWindowsPath(base).is_absolute()):
        return config
    return json.dumps({**read, BASE_NAME: PureWindowsPath(base).name}, indent=1).encode() + b"\n"


def file_of(content: Content) -> File:
    """Its size and SHA-256."""
    if isinstance(content, bytes):
        return File(size=len(content), sha256=hashlib.sha256(content).hexdigest())
    return File(size=content.stat().st_size, sha256=sha256(content))


def put(content: Content, to: Path) -> None:
    """Write it, with the permissions that new files have here."""
    if isinstance(content, bytes):
        to.write_bytes(content)
    else:
        shutil.copyfile(content, to)


def digest_of(files: Mapping[str, File]) -> str:
    """What names the folder of these files."""
    lines = (f"{name} {file.size} {file.sha256}\n" for name, file in sorted(files.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:40]


def check(folder: Path) -> None:
    """Read all that is in a folder as the server would. Raises EntryRefused where the server could not."""
    for file in sorted(folder.iterdir()):
        if file.suffix == SUFFIX:
            _check_table(file)
        elif file.name == CONFIG:
            _check_config(file)
        else:
            _check_weights(file)


def _check_table(file: Path) -> None:
    try:
        Table.load(file)
    except TableError as error:
        raise EntryRefused(f"{file.name} {error.problem}") from error


def _check_config(file: Path) -> None:
    read = _config(file.name, file.read_bytes())
    if not isinstance(read.get("peft_type"), str):
        raise EntryRefused(f"{file.name} names no method (peft_type)")
    if read.get("adapters"):
        raise EntryRefused(f"{file.name} names further adapters, which are not shared with it")


def _config(name: str, data: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except UNREADABLE as error:
        raise EntryRefused(f"{name} is no JSON object: {error}") from error


def _check_weights(file: Path) -> None:
    """Whether each tensor lies in the file and has the size of its shape."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > min(size - 8, HEADER_SIZE):
            raise EntryRefused(f"{file.name} is no safetensors file")
        header = stream.read(length)
    try:
        found = msgspec.json.decode(header, type=dict[str, msgspec.Raw])
        tensors = {
            name: msgspec.json.decode(raw, type=_Tensor) for name, raw in found.items() if name != "__metadata__"
        }
    except UNREADABLE as error:
        raise EntryRefused(f"{file.name} is no safetensors file: {error}") from error
    if not tensors:
        raise EntryRefused(f"{file.name} holds no weights")
    for tensor in tensors.values():
        begin, end = tensor.data_offsets
        if tensor.dtype not in WIDTHS:
            raise EntryRefused(f"{file.name} has numbers of a type that is not read: {tensor.dtype[:20]!r}")
        if end > size - 8 - length or end - begin != math.prod(tensor.shape) * WIDTHS[tensor.dtype]:
            raise EntryRefused(f"{file.name} is not whole")
    if not all(np.isfinite(read()).all() for read in safetensors(file).values()):
        raise EntryRefused(f"{file.name} has numbers that are not finite")
