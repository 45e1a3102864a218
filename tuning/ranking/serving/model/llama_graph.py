"""A Llama-like model as an ONNX graph that reads a prompt, and then a tree of nodes on it.

Fused projections, GroupQueryAttention on a key/value buffer that past and present share, a mask that says which nodes see each
other. A graph without weights and a file of weights that the runtime maps.

    x        float32 [1, n, width]              embeddings of the n tokens
    pos      int64 [1, n]                       their positions
    bias     float32 [1, 1, n, t]               added to the attention's scores; t tokens are in the buffer with these
    seqlens  int32 [1]                          t - 1
    total    int32                              t
    rows     int64 [r]                          whose logits are wanted
    pk0, pv0 … float32 [1, kv heads, room, head size]   keys and values of each layer; ok0, ov0 … are the same buffers
    logits   float32 [1, r, vocabulary]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from tuning.ranking.serving.model.llama_weights import NORM, LlamaWeights
from tuning.ranking.serving.model.onnx_format import MICROSOFT, Graph, Weight
from tuning.ranking.serving.model.quantisation import BLOCK, Scheme, in_blocks, per_channel

Floats = NDArray[np.float32]

POSITIONS = 8192  # that rotary embeddings are there for: of a text and of the nodes behind it
SMALL = 64  # bytes of a tensor that stays in the graph
ALIGNMENT = 4096  # of a tensor in the file of weights: the runtime maps it


@dataclass(kw_only=True)
class _Writer:
    """The graph, and the file that weights go to as they come: none is held longer than it takes to write it."""

    graph: Graph
    file: IO[bytes]
    weights: list[Weight] = field(default_factory=list[Weight])

    def put(self, name: str, values: NDArray[np.generic]) -> str:
        dtype = values.dtype.name
        if values.nbytes <= SMALL:
            self.weights.append(Weight(name=name, dtype=dtype, shape=values.shape, data=values.tobytes()))
            return name
        self.file.seek(-self.file.tell() % ALIGNMENT, 1)
        self.weights.append(Weight(name=name, dtype=dtype, shape=values.shape, offset=self.file.tell()))
        self.file.write(np.ascontiguousarray(values).data)
        return name

    def linear(self, x: str, weight: Floats, name: str, scheme: str) -> str:
        """x · weightᵀ. Shapes: x [1, n, in], weight [out, in], result [1, n, out]."""
        return LINEAR[scheme](self, x, weight, name)


def _float32(out: _Writer, x: str, weight: Floats, name: str) -> str:
    return out.graph.node("MatMul", [x, out.put(f"{name}.weight", weight.T)], [name])


def _dynamic(out: _Writer, x: str, weight: Floats, name: str) -> str:
    """Eight bits for what comes in, by call; seven for the weights, by channel."""
    quantised, scales = per_channel(weight)
    stored = [out.put(f"{name}.weight", quantised.T), out.put(f"{name}.scale", scales)]
    return out.graph.node("DynamicQuantizeMatMul", [x, *stored], [name], domain=MICROSOFT)


def _rows(out: _Writer, x: str, weight: Floats, name: str) -> str:
    """As `dynamic`, with each row of x brought to the same size before and back after, so that one loud token costs no other."""
    node = out.graph.node
    size = node("ReduceL2", [x, "last_axis"], [f"{name}.size"])
    size = node("Max", [size, "least"], [f"{name}.divisor"])
    even = node("Div", [x, size], [f"{name}.even"])
    return node("Mul", [_dynamic(out, even, weight, f"{name}.product"), size], [name])


def _blocks(out: _Writer, x: str, weight: Floats, name: str) -> str:
    """Eight bits in blocks, both for the weights and for what comes in. Widths that are no multiple of a block are stored as `dynamic`."""
    if weight.shape[1] % BLOCK:
        return _dynamic(out, x, weight, name)
    values, scales = in_blocks(weight)
    shifted = (values.astype(np.int16) + 128).astype(np.uint8)  # without zero points 128 stands for zero
    stored = [out.put(f"{name}.weight", shifted), out.put(f"{name}.scale", scales)]
    about = {"K": weight.shape[1], "N": weight.shape[0], "bits": 8, "block_size": BLOCK, "accuracy_level": 4}
    return out.graph.node("MatMulNBits", [x, *stored], [name], domain=MICROSOFT, attributes=about)


LINEAR: Mapping[str, Callable[[_Writer, str, Floats, str], str]] = {
    "float32": _float32,
    "dynamic": _dynamic,
    "rows": _rows,
    "blocks": _blocks,
}


def write_graph(weights: LlamaWeights, scheme: Scheme, graph_file: Path, weights_file: Path) -> None:
    """Write both files. Raises OSError."""
    shape, graph = weights.shape, Graph()
    with weights_file.open("wb") as file:
        out = _Writer(graph=graph, file=file)
        graph.input("x", "float32", [1, "n", shape.width])
        graph.input("pos", "int64", [1, "n"])
        graph.input("bias", "float32", [1, 1, "n", "t"])
        graph.input("seqlens", "int32", [1])
        graph.input("total", "int32", [])
        graph.input("rows", "int64", ["r"])
        graph.output("logits", "float32", [1, "r", shape.vocabulary])
        cosine, sine = rotary(shape.head_size, shape.theta)
        out.put("cos", cosine)
        out.put("sin", sine)
        out.put("halves", np.array([shape.inner, shape.inner], np.int64))
        out.put("last_axis", np.array([-1], np.int64))
        out.put("least", np.array([1e-6], np.float32))
        residual, branch = "x", ""
        for number in range(shape.layers):
            residual, branch = _layer(out, weights, scheme, number, residual, branch)
        last = graph.node("Add", [residual, branch], ["last"])
        asked = graph.node("Gather", [last, "rows"], ["asked"], attributes={"axis": 1})
        norm = {"axis": -1, "epsilon": shape.epsilon}
        final = graph.node("SimplifiedLayerNormalization", [asked, out.put("norm", weights[NORM])], ["final"], attributes=norm)  # fmt: skip
        logits = out.linear(final, weights.head, "head", scheme.head)
        graph.node("Identity", [logits], ["logits"])
    graph_file.write_bytes(graph.encoded(out.weights, weights_file.name))


def _layer(out: _Writer, weights: LlamaWeights, scheme: Scheme, number: int, residual: str, branch: str) -> tuple[str, str]:  # fmt: skip
    """Add a layer; returns the residual stream and the branch that is still to be added to it."""
    shape, node, name = weights.shape, out.graph.node, f"layer{number}"
    own = lambda part: weights.layer(number, part)  # noqa: E731
    norm = out.put(f"{name}.norm", own("input_layernorm"))
    if branch:
        normed, residual = _added(out, residual, branch, norm, f"{name}.in", shape.epsilon)
    else:
        normed = node("SimplifiedLayerNormalization", [residual, norm], [f"{name}.in"], attributes={"axis": -1, "epsilon": shape.epsilon})  # fmt: skip
    fused = np.concatenate([own(f"self_attn.{which}_proj") for which in "qkv"])
    qkv = out.linear(normed, fused, f"{name}.qkv", scheme.of("qkv"))
    for which in "kv":
        cache = [1, shape.kv_heads, "room", shape.head_size]
        out.graph.input(f"p{which}{number}", "float32", cache)
        out.graph.output(f"o{which}{number}", "float32", cache)
    attention = node(
        "GroupQueryAttention",
        [qkv, "", "", f"pk{number}", f"pv{number}", "seqlens", "total", "cos", "sin", "pos", "bias"],
        [f"{name}.attention", f"ok{number}", f"ov{number}"],
        domain=MICROSOFT,
        attributes={
            "num_heads": shape.heads,
            "kv_num_heads": shape.kv_heads,
            "do_rotary": 1,
            "scale": shape.head_size**-0.5,
        },
    )
    attended = out.linear(attention, own("self_attn.o_proj"), f"{name}.o", scheme.of("o"))
    norm = out.put(f"{name}.norm2", own("post_attention_layernorm"))
    normed, residual = _added(out, residual, attended, norm, f"{name}.in2", shape.epsilon)
    fused = np.concatenate([own("mlp.gate_proj"), own("mlp.up_proj")])
    both = out.linear(normed, fused, f"{name}.gate_up", scheme.of("gate_up"))
    node("Split", [both, "halves"], [f"{name}.gate", f"{name}.up"], attributes={"axis": -1})
    active = node("QuickGelu", [f"{name}.gate"], [f"{name}.silu"], domain=MICROSOFT, attributes={"alpha": 1.0})
    inner = node("Mul", [active, f"{name}.up"], [f"{name}.inner"])
    return residual, out.linear(inner, own("mlp.down_proj"), f"{name}.down", scheme.of("down"))


def _added(out: _Writer, residual: str, branch: str, norm: str, name: str, epsilon: float) -> tuple[str, str]:
    """The norm of residual + branch, and the sum itself."""
    out.graph.node(
        "SkipSimplifiedLayerNormalization",
        [residual, branch, norm],
        [name, "", "", f"{name}.sum"],
        domain=MICROSOFT,
        attributes={"epsilon": epsilon},
    )
    return name, f"{name}.sum"


def rotary(head_size: int, theta: float) -> tuple[Floats, Floats]:
    """Cosines and sines of rotary embeddings, float32 [POSITIONS, head_size / 2] each (Su et al. 2021, section 3.4.2)."""
    frequencies = theta ** -(np.arange(0, head_size, 2, dtype=np.float64) / head_size)
    angles = np.outer(np.arange(POSITIONS), frequencies)
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
