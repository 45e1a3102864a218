"""Reads a GGUF file: its metadata, and its tensors as float32. Maps the file; runs nothing of it.

Format: ggml's docs/gguf.md, versions 2 and 3, little-endian. Of tensor types those that published small models use: F32, F16,
Q4_0, Q4_1, Q8_0.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuning.ranking.serving.model.errors import ModelFileBroken

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

MAGIC = b"GGUF"
BLOCK = 32  # weights of a quantised block
ALIGNMENT = "general.alignment"
SCALARS = ("<B", "<b", "<H", "<h", "<I", "<i", "<f", "<?", "", "", "<Q", "<q", "<d")  # by the number of a value's type
STRING, ARRAY = 8, 9
LONGEST = 1 << 31  # elements of an array or bytes of a text: more is no model of ours


@dataclass(frozen=True, kw_only=True)
class _Type:
    """How a tensor's values are stored."""

    bytes: int  # of a block
    values: int  # in a block
    read: Callable[[Bytes], Floats]  # uint8[blocks, bytes] -> float32[blocks, values]


def _halves(blocks: Bytes, at: int) -> Floats:
    """The float16 at a byte of each block, float32[blocks, 1]."""
    return np.ascontiguousarray(blocks[:, at : at + 2]).view(np.float16).astype(np.float32)


def _nibbles(blocks: Bytes) -> Floats:
    """float32[blocks, 32] of 16 bytes each: first the low halves, then the high ones."""
    return np.concatenate([blocks & 0x0F, blocks >> 4], axis=1).astype(np.float32)


TYPES: Mapping[int, _Type] = {
    0: _Type(bytes=4, values=1, read=lambda blocks: np.ascontiguousarray(blocks).view(np.float32)),
    1: _Type(bytes=2, values=1, read=lambda blocks: _halves(blocks, 0)),
    2: _Type(bytes=18, values=BLOCK, read=lambda blocks: _halves(blocks, 0) * (_nibbles(blocks[:, 2:]) - 8)),
    3: _Type(
        bytes=20,
        values=BLOCK,
        read=lambda blocks: _halves(blocks, 0) * _nibbles(blocks[:, 4:]) + _halves(blocks, 2),
    ),
    8: _Type(
        bytes=34,
        values=BLOCK,
        read=lambda blocks: _halves(blocks, 0) * np.ascontiguousarray(blocks[:, 2:]).view(np.int8),
    ),
}


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where a tensor lies. `shape` is as numpy has it: the dimension that runs fastest comes last."""

    shape: tuple[int, ...]
    type: int
    start: int


class Gguf:
    """An open file. `metadata` has its key-value pairs, arrays as lists."""

    def __init__(self, path: Path) -> None:
        """Raises ModelFileBroken where the file is no GGUF that can be read, OSError."""
        self.path = path
        if not path.stat().st_size:  # nothing to map
            raise ModelFileBroken(f"{path} is empty")
        with path.open("rb") as file:
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            self._at = 0
            self.metadata, self._tensors = self._header()
        except (struct.error, IndexError, UnicodeDecodeError, OverflowError, MemoryError) as error:
            raise ModelFileBroken(f"{path} is not whole: {error}") from error

    @property
    def names(self) -> list[str]:
        return list(self._tensors)

    def tensor(self, name: str) -> Floats:
        """A tensor's values, float32. Raises KeyError where there is none, ModelFileBroken where it is cut off or of another type."""
        place = self._tensors[name]
        kind = TYPES.get(place.type)
        if kind is None:
            raise ModelFileBroken(f"{self.path}: {name} is of ggml's type {place.type}; read are {sorted(TYPES)}")
        count = int(np.prod(place.shape))
        size = count // kind.values * kind.bytes
        if count % kind.values or place.start + size > len(self._data):
            raise ModelFileBroken(f"{self.path}: {name} is not whole")
        blocks = np.frombuffer(self._data, np.uint8, size, place.start).reshape(-1, kind.bytes)
        return kind.read(blocks).reshape(place.shape)

    def _header(self) -> tuple[dict[str, Any], dict[str, _Place]]:
        if self._data[: len(MAGIC)] != MAGIC:
            raise ModelFileBroken(f"{self.path} is no GGUF file")
        self._at = len(MAGIC)
        version = self._number("<I")
        if version not in (2, 3):
            raise ModelFileBroken(f"{self.path}: version {version} of GGUF; read are 2 and 3")
        tensors, pairs = self._number("<Q"), self._number("<Q")
        metadata: dict[str, Any] = {}
        for _ in range(pairs):
            name = self._text()
            metadata[name] = self._value(self._number("<I"))
        infos: list[tuple[str, tuple[int, ...], int, int]] = []
        for _ in range(tensors):
            name = self._text()
            shape = tuple(self._number("<Q") for _ in range(self._number("<I")))
            infos.append((name, shape[::-1], self._number("<I"), self._number("<Q")))
        step = int(metadata.get(ALIGNMENT, BLOCK))
        start = -(-self._at // step) * step
        return metadata, {name: _Place(shape=shape, type=kind, start=start + at) for name, shape, kind, at in infos}

    def _number(self, form: str) -> Any:
        value = struct.unpack_from(form, self._data, self._at)[0]
        self._at += struct.calcsize(form)
        return value

    def _text(self) -> str:
        size = self._number("<Q")
        if size > len(self._data) - self._at:
            raise IndexError("a text runs past the end")
        self._at += size
        return self._data[self._at - size : self._at].decode("utf-8")

    def _value(self, kind: int) -> Any:
        if kind == STRING:
            return self._text()
        if kind != ARRAY:
            return self._number(SCALARS[kind])
        inner, count = self._number("<I"), self._number("<Q")
        if count > min(LONGEST, len(self._data) - self._at):
            raise IndexError("an array runs past the end")
        return [self._value(inner) for _ in range(count)]
