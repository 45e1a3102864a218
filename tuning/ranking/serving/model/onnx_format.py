"""Writes an ONNX model: a graph whose weights lie in a file beside it. Just the messages that a graph of ours needs.

Field numbers are those of onnx.proto (ONNX IR version 10); the wire format is that of protocol buffers: a key of
(field << 3 | wire type), then a varint, four bytes, or a length and as many bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

IR_VERSION, OPSET = 10, 21
MICROSOFT = "com.microsoft"  # the domain of ONNX Runtime's own operators
TYPES: Mapping[str, int] = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6, "int64": 7, "float16": 10}
EXTERNAL = 1  # TensorProto.DataLocation
FLOAT, INT = 1, 2  # AttributeProto.AttributeType

Dimension = int | str  # a size, or the name of one that varies


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1  # negative numbers take ten bytes
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _bytes(number: int, value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _attribute(name: str, value: float) -> bytes:
    if isinstance(value, int):
        return _bytes(1, name) + _number(3, value) + _number(20, INT)
    return _bytes(1, name) + _varint(2 << 3 | 5) + struct.pack("<f", value) + _number(20, FLOAT)


def _value_info(name: str, dtype: str, shape: Sequence[Dimension]) -> bytes:
    dims = b"".join(_bytes(1, _bytes(2, size) if isinstance(size, str) else _number(1, size)) for size in shape)
    return _bytes(1, name) + _bytes(2, _bytes(1, _number(1, TYPES[dtype]) + _bytes(2, dims)))


@dataclass(frozen=True, kw_only=True)
class Weight:
    """A tensor in the file of weights, or in the graph itself where it has `data`: shapes have to be known before files are read."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int = 0
    data: bytes = b""

    @property
    def size(self) -> int:
        """In bytes."""
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize

    def encoded(self, location: str) -> bytes:
        """As a TensorProto."""
        dims = b"".join(_number(1, size) for size in self.shape)
        if self.data:
            return dims + _number(2, TYPES[self.dtype]) + _bytes(8, self.name) + _bytes(9, self.data)
        where = {"location": location, "offset": str(self.offset), "length": str(self.size)}
        entries = b"".join(_bytes(13, _bytes(1, key) + _bytes(2, value)) for key, value in where.items())
        return dims + _number(2, TYPES[self.dtype]) + _bytes(8, self.name) + entries + _number(14, EXTERNAL)


@dataclass(kw_only=True)
class Graph:
    """A graph that is being built: nodes in an order in which they can run."""

    nodes: list[bytes] = field(default_factory=list[bytes])
    inputs: list[bytes] = field(default_factory=list[bytes])
    outputs: list[bytes] = field(default_factory=list[bytes])

    def input(self, name: str, dtype: str, shape: Sequence[Dimension]) -> None:
        self.inputs.append(_value_info(name, dtype, shape))

    def output(self, name: str, dtype: str, shape: Sequence[Dimension]) -> None:
        self.outputs.append(_value_info(name, dtype, shape))

    def node(
        self,
        operator: str,
        inputs: Iterable[str],
        outputs: Sequence[str],
        *,
        domain: str = "",
        attributes: Mapping[str, float] | None = None,
    ) -> str:
        """Add a node; returns the name of its first output. An empty name is an input or output that is left out."""
        parts = [*(_bytes(1, name) for name in inputs), *(_bytes(2, name) for name in outputs)]
        parts += [_bytes(3, outputs[0]), _bytes(4, operator)]
        parts += [_bytes(5, _attribute(name, value)) for name, value in (attributes or {}).items()]
        self.nodes.append(b"".join(parts) + (_bytes(7, domain) if domain else b""))
        return outputs[0]

    def encoded(self, weights: Iterable[Weight], location: str) -> bytes:
        """The whole as a ModelProto, its weights in the file `location` beside it."""
        graph = [
            *(_bytes(1, node) for node in self.nodes),
            _bytes(2, "starling"),
            *(_bytes(5, weight.encoded(location)) for weight in weights),
            *(_bytes(11, one) for one in self.inputs),
            *(_bytes(12, one) for one in self.outputs),
        ]
        opsets = [_bytes(8, _bytes(1, "") + _number(2, OPSET)), _bytes(8, _bytes(1, MICROSOFT) + _number(2, 1))]
        return _number(1, IR_VERSION) + _bytes(2, "starling") + b"".join(opsets) + _bytes(7, b"".join(graph))
