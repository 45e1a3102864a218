"""A base with adapters in its weights, in few bits beside a graph: made once, used by every process of this machine.

One folder a (base, adapters) pair in `model_store`, written whole or not at all; a folder whose files are cut off is made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from tuning.files import replacing_folder
from tuning.ranking.serving.model import model_store
from tuning.ranking.serving.model.adapter_merging import CONFIG, FILE, with_adapters
from tuning.ranking.serving.model.adapter_spec import Wanted
from tuning.ranking.serving.model.errors import ScorerMissing
from tuning.ranking.serving.model.file_lock import alone
from tuning.ranking.serving.model.gguf import Gguf
from tuning.ranking.serving.model.llama_graph import write_graph
from tuning.ranking.serving.model.llama_weights import EMBEDDING, LlamaWeights, Shape, weights_of
from tuning.ranking.serving.model.model_store import About, File
from tuning.ranking.serving.model.onnx_runtime import OnnxRuntime
from tuning.ranking.serving.model.prepacking import machine, prepack
from tuning.ranking.serving.model.quantisation import BLOCK, SERVED, Scheme, block_values, in_blocks
from tuning.ranking.serving.model.smoothing import smoothed
from tuning.ranking.serving.model.tokenizer import ModelTokenizer, from_gguf

VERSION = 2  # of what is written here: another one is compiled anew
GRAPH, WEIGHTS, VALUES, SCALES, TOKENIZER = "graph.onnx", "weights.bin", "embedding.bin", "scales.bin", "tokenizer.json"

HEARD, HEARD_TOKENS = (
    Path(__file__).with_name("heard.txt"),
    512,
)  # code that channels' loudness is measured on; never changes

Merge = Callable[[LlamaWeights, Sequence[Wanted]], LlamaWeights]
Say = Callable[[str], object]


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """A compiled model on disk."""

    folder: Path
    about: About

    @property
    def shape(self) -> Shape:
        return msgspec.convert(self.about.shape, Shape, strict=False)

    def embedding(self) -> Callable[[Sequence[int]], NDArray[np.float32]]:
        """Gives the embeddings of tokens, float32 [n, width]; the file is mapped."""
        shape = self.shape
        if not self.about.is_quantised:
            table = np.memmap(self.folder / VALUES, np.float32, "r", shape=(shape.vocabulary, shape.width))
            return lambda tokens: np.array(table[list(tokens)])
        blocks = (shape.vocabulary, shape.width // BLOCK)
        values = np.memmap(self.folder / VALUES, np.int8, "r", shape=(*blocks, BLOCK))
        scales = np.memmap(self.folder / SCALES, np.float16, "r", shape=blocks)
        return lambda tokens: block_values(values[list(tokens)], scales[list(tokens)])

    def runtime(self, *, threads: int, graph: Path | None = None) -> OnnxRuntime:
        """The model, ready to read; `graph` in place of its own. Raises ScorerMissing where it can't be loaded."""
        return OnnxRuntime(graph or self.folder / GRAPH, self.shape, self.embedding(), threads=threads)


def compiled(
    base: Path,
    wanted: Sequence[Wanted],
    *,
    scheme: Scheme = SERVED,
    merge: Merge = with_adapters,
    say: Say = lambda step: None,
    anew: bool = False,
) -> Compiled:
    """The compiled model of a base with these adapters, made where it is not there, or `anew`.

    Raises ScorerMissing, ModelUnsupported, ModelFileBroken, NeedsEngine, AdapterError, OSError.
    """
    serving = model_store.models_dir() / "serving"
    folder = serving / _digest(base, wanted, scheme)
    if not anew and (found := _used(folder)) is not None:
        return found
    with alone(serving / "lock", lambda: say("waiting for another process that prepares a model")):
        if not anew and (found := _used(folder)) is not None:
            return found
        with replacing_folder(folder) as fresh:
            _write(base, wanted, scheme, merge, fresh, say)
        model_store.forget_old(serving, folder)
    found = _used(folder)
    if found is None:
        raise ScorerMissing(f"{folder} is not what was just written there")
    return found


def _used(folder: Path) -> Compiled | None:
    about = model_store.about(folder)
    if about is None:
        return None
    with contextlib.suppress(OSError):  # a cache folder that is read-only serves all the same
        os.utime(folder / model_store.ABOUT)  # those that were used last are kept
    return Compiled(folder=folder, about=about)


def _digest(base: Path, wanted: Sequence[Wanted], scheme: Scheme) -> str:
    state = hashlib.sha256(repr((VERSION, machine(), model_store.identity(base), scheme)).encode())
    for one in wanted:
        state.update(repr(one.weight).encode())
        for name in (CONFIG, FILE):
            file = one.folder / name
            state.update((model_store.sha256(file) if file.is_file() else "").encode())
    return state.hexdigest()[:24]


def _write(base: Path, wanted: Sequence[Wanted], scheme: Scheme, merge: Merge, folder: Path, say: Say) -> None:
    say("reading the base")
    weights = weights_of(base)
    if wanted:
        say("merging adapters")
        weights = merge(weights, wanted)
    say("quantising" if scheme.is_quantised else "writing")
    text, end_of_text = tokenizer_of(base)
    (folder / TOKENIZER).write_text(text, "utf-8")
    if scheme.is_quantised:
        tokenizer = ModelTokenizer.load(folder / TOKENIZER, end_of_text=end_of_text)
        weights = smoothed(weights, tokenizer.encode(HEARD.read_text("utf-8"))[:HEARD_TOKENS])
    plain = folder / "plain"
    plain.mkdir()
    write_graph(weights, scheme, plain / GRAPH, plain / WEIGHTS)
    table = weights[EMBEDDING]
    if scheme.is_quantised:
        values, scales = in_blocks(table)
        values.tofile(folder / VALUES)
        scales.astype(np.float16).tofile(folder / SCALES)
    else:
        table.tofile(folder / VALUES)
    about = About(
        base=str(base),
        adapters=[str(one.folder) for one in wanted],
        shape=asdict(weights.shape),
        end_of_text=end_of_text,
        is_quantised=scheme.is_quantised,
    )
    del weights, table  # a float32 copy of the model: what comes now takes much memory itself
    say("arranging for this processor")
    made = Compiled(folder=folder, about=about)
    sample = made.runtime(threads=1, graph=plain / GRAPH).sample()
    prepack(plain / GRAPH, folder / GRAPH, folder / WEIGHTS)
    shutil.rmtree(plain)
    say("checking")
    files = {file.name: File(size=file.stat().st_size, sha256=model_store.sha256(file)) for file in folder.iterdir()}
    about = msgspec.structs.replace(about, sample=sample, files=files)
    (folder / model_store.ABOUT).write_bytes(msgspec.json.encode(about))


def tokenizer_of(base: Path) -> tuple[str, int]:
    """A base's tokenizer.json, and the token that ends a text. Raises ScorerMissing, ModelUnsupported, ModelFileBroken, OSError."""
    if base.is_file():
        metadata = Gguf(base).metadata
        return from_gguf(metadata, base), int(metadata.get("tokenizer.ggml.eos_token_id", 0))
    try:
        text = (base / TOKENIZER).read_text("utf-8")
    except FileNotFoundError as error:
        raise ScorerMissing(f"{base} has no {TOKENIZER}") from error
    config = msgspec.json.decode((base / "config.json").read_bytes())
    ends = config.get("eos_token_id")
    return text, int(ends[0] if isinstance(ends, list) else ends or 0)
