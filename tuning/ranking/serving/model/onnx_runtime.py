"""The model on ONNX Runtime: the graph of `llama_graph`, with a key/value buffer of its own for each context."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuning.ranking.serving.model.errors import ScorerMissing
from tuning.ranking.serving.model.llama_graph import POSITIONS
from tuning.ranking.serving.model.llama_weights import Shape
from tuning.ranking.serving.model.runtime import Logits

Floats = NDArray[np.float32]

HIDDEN = -1e9  # added to a score, it leaves nothing of it
ROOM = 256  # tokens by which a buffer grows
SAMPLED = 8  # tokens
CHUNK = 96  # tokens read at once: 53 ms on one core with VNNI
NODES = 12  # a pass over twelve takes 18 ms there, over eight 17, over sixteen 21 (docs/decisions)


class OnnxContext:
    """A buffer a layer for keys and one for values, float32 [1, kv heads, room, head size]."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._length = self._room = 0
        self.buffers: dict[str, Any] = {}

    @property
    def length(self) -> int:
        return self._length

    def crop(self, length: int) -> None:
        self._length = min(length, self._length)

    def grow(self, tokens: int) -> None:
        """Make room for so many more tokens, and count them in."""
        import onnxruntime

        self._length += tokens
        if self._length <= self._room:
            return
        self._room = -(-self._length // ROOM) * ROOM
        shape = (1, self._shape.kv_heads, self._room, self._shape.head_size)
        for name in (f"{which}{layer}" for layer in range(self._shape.layers) for which in "kv"):
            fresh = np.zeros(shape, np.float32)
            if (old := self.buffers.get(name)) is not None:
                known = old.numpy()
                fresh[:, :, : known.shape[2]] = known
            self.buffers[name] = onnxruntime.OrtValue.ortvalue_from_numpy(fresh)


class OnnxRuntime:
    """A graph and its weights. `embedding` gives float32 [n, width] of n tokens."""

    def __init__(
        self, graph: Path, shape: Shape, embedding: Any, *, threads: int, chunk: int = CHUNK, nodes: int = NODES
    ) -> None:
        """Raises ScorerMissing where the graph can't be loaded."""
        import onnxruntime

        self._shape, self._embedding = shape, embedding
        self.chunk, self.nodes = chunk, nodes
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.enable_mem_pattern = False  # it plans buffers ahead, for sizes that seldom come again: 6 MB
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the library's own errors share no class
            raise ScorerMissing(f"{graph} can't be loaded: {error}") from error

    @property
    def vocabulary(self) -> int:
        return self._shape.vocabulary

    @property
    def positions(self) -> int:
        return POSITIONS // 2  # the rest is for nodes

    def context(self) -> OnnxContext:
        return OnnxContext(self._shape)

    def bytes_of(self, tokens: int) -> int:
        return tokens * self._shape.layers * 2 * self._shape.kv_heads * self._shape.head_size * 4

    def read(self, context: OnnxContext, tokens: Sequence[int]) -> Logits:
        first, n = context.length, len(tokens)
        bias = np.zeros((n, first + n), np.float32)
        return self._run(context, tokens, range(first, first + n), bias, [n - 1])[0]

    def expand(
        self, context: OnnxContext, tokens: Sequence[int], depths: Sequence[int], ancestors: Sequence[Sequence[int]], prompt: int
    ) -> Logits:  # fmt: skip
        first, n = context.length, len(tokens)
        bias = np.full((n, first + n), HIDDEN, np.float32)
        bias[:, :prompt] = 0.0
        for row, seen in enumerate(ancestors):
            bias[row, [prompt + place for place in seen]] = 0.0
            bias[row, first + row] = 0.0
        return self._run(context, tokens, [prompt + depth for depth in depths], bias, range(n))

    def sample(self) -> list[float]:
        """Some logits after a fixed text. They differ where the weights were rearranged for another processor."""
        tokens = range(min(SAMPLED, self.vocabulary))
        return self.read(self.context(), tokens)[: len(tokens)].tolist()

    def _run(
        self, context: OnnxContext, tokens: Sequence[int], positions: Sequence[int], bias: Floats, rows: Sequence[int]
    ) -> Logits:
        context.grow(len(tokens))
        binding = self._session.io_binding()
        for name, buffer in context.buffers.items():
            binding.bind_ortvalue_input(f"p{name}", buffer)
            binding.bind_ortvalue_output(f"o{name}", buffer)
        total = context.length
        for name, values in (
            ("x", self._embedding(tokens)[None]),
            ("pos", np.array([positions], np.int64)),
            ("bias", bias[None, None]),
            ("seqlens", np.array([total - 1], np.int32)),
            ("total", np.array(total, np.int32)),
            ("rows", np.array(rows, np.int64)),
        ):
            binding.bind_cpu_input(name, values)
        binding.bind_output("logits")
        self._session.run_with_iobinding(binding)
        return binding.get_outputs()[-1].numpy()[0]
