"""A Llama-like model's weights as float32, from a GGUF file or a folder with config.json and safetensors. Needs no torch.

Names are those of transformers' LlamaForCausalLM, without the `model.` at their beginning.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuning.ranking.serving.model.errors import ModelFileBroken, ModelUnsupported
from tuning.ranking.serving.model.gguf import Gguf

Floats = NDArray[np.float32]

OF_GGUF = {  # of a layer
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
EMBEDDING, NORM, HEAD = "embed_tokens.weight", "norm.weight", "lm_head.weight"
LINEAR = tuple(name for name in OF_GGUF.values() if name.endswith("_proj"))


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes of a Llama-like model."""

    layers: int
    width: int  # a multiple of 32, as blocks of weights are
    heads: int
    kv_heads: int
    head_size: int
    inner: int
    vocabulary: int
    epsilon: float
    theta: float  # rotary embeddings' base

    def of(self, name: str) -> tuple[int, ...]:
        """The shape of a weight by its name without its layer."""
        heads, kv = self.heads * self.head_size, self.kv_heads * self.head_size
        linear = {
            "q_proj": (heads, self.width),
            "k_proj": (kv, self.width),
            "v_proj": (kv, self.width),
            "o_proj": (self.width, heads),
            "gate_proj": (self.inner, self.width),
            "up_proj": (self.inner, self.width),
            "down_proj": (self.width, self.inner),
        }
        return linear[name.rpartition(".")[2]]


@dataclass(frozen=True, kw_only=True)
class LlamaWeights:
    """Weights that are read when they are asked for. `changed` takes the place of what is in the file."""

    shape: Shape
    read: Callable[[str], Floats]
    tied: bool  # the head is the embedding
    changed: Mapping[str, Floats] = field(default_factory=dict[str, Floats])

    def __getitem__(self, name: str) -> Floats:
        """float32 [out, in], or [n] of a norm."""
        found = self.changed.get(name)
        return self.read(name) if found is None else found

    @property
    def head(self) -> Floats:
        """float32 [vocabulary, width]."""
        return self[EMBEDDING if self.tied else HEAD]

    def layer(self, number: int, name: str) -> Floats:
        return self[f"layers.{number}.{name}.weight"]


HEAD_STEP, WIDTH_STEP = 16, 32


def weights_of(path: Path) -> LlamaWeights:
    """Of a GGUF file or a model folder. Raises ModelUnsupported where the graph does not cover it, ModelFileBroken, OSError."""
    found = _of_gguf(path) if path.is_file() else _of_folder(path)
    shape = found.shape
    if shape.head_size % HEAD_STEP or shape.width % WIDTH_STEP:
        raise ModelUnsupported(
            f"{path}: the graph does not cover heads of {shape.head_size} and a width of {shape.width}"
        )
    return found


def _of_gguf(path: Path) -> LlamaWeights:
    file = Gguf(path)
    about = file.metadata
    if about.get("general.architecture") != "llama":
        raise ModelUnsupported(f"{path} is of architecture {about.get('general.architecture')}; read is llama")
    try:
        heads, width = about["llama.attention.head_count"], about["llama.embedding_length"]
        shape = Shape(
            layers=about["llama.block_count"],
            width=width,
            heads=heads,
            kv_heads=about.get("llama.attention.head_count_kv", heads),
            head_size=about.get("llama.rope.dimension_count", width // heads),
            inner=about["llama.feed_forward_length"],
            vocabulary=about.get("llama.vocab_size", len(about["tokenizer.ggml.tokens"])),
            epsilon=about["llama.attention.layer_norm_rms_epsilon"],
            theta=about.get("llama.rope.freq_base", 10000.0),
        )
    except KeyError as error:
        raise ModelFileBroken(f"{path} does not say its {error}") from error
    names = {EMBEDDING: "token_embd.weight", NORM: "output_norm.weight", HEAD: "output.weight"}
    names |= {f"layers.{n}.{ours}.weight": f"blk.{n}.{theirs}.weight" for n in range(shape.layers) for theirs, ours in OF_GGUF.items()}  # fmt: skip

    def read(name: str) -> Floats:
        found = file.tensor(names[name])
        kind = name.split(".")[-2]
        heads = {"q_proj": shape.heads, "k_proj": shape.kv_heads}.get(kind)
        return found if heads is None else _unrotated(found, heads)

    return LlamaWeights(shape=shape, read=read, tied="output.weight" not in file.names)


def _unrotated(weight: Floats, heads: int) -> Floats:
    """Rows of queries' and keys' weights as transformers orders them: GGUF has the two halves of a head interleaved."""
    half = weight.shape[0] // heads // 2
    return weight.reshape(heads, half, 2, -1).swapaxes(1, 2).reshape(weight.shape)


def _of_folder(folder: Path) -> LlamaWeights:
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text("utf-8"))
    except ValueError as error:
        raise ModelFileBroken(f"{folder / 'config.json'}: {error}") from error
    shape = shape_of(config, folder)
    files = sorted(folder.glob("*.safetensors"))
    places: dict[str, Callable[[], Floats]] = {}
    for file in files:
        places |= safetensors(file)
    tied = bool(config.get("tie_word_embeddings", "lm_head.weight" not in places))

    def read(name: str) -> Floats:
        found = places.get(name if name == HEAD else f"model.{name}")
        if found is None:
            raise ModelFileBroken(f"{folder} has no {name}")
        return found()

    return LlamaWeights(shape=shape, read=read, tied=tied)


def shape_of(config: Mapping[str, Any], folder: Path) -> Shape:
    """Of transformers' config.json. Raises ModelUnsupported where something in it is not what the graph computes."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    unlike = {
        "model_type": config.get("model_type") != "llama",
        "hidden_act": config.get("hidden_act", "silu") != "silu",
        "attention_bias": bool(config.get("attention_bias")),
        "mlp_bias": bool(config.get("mlp_bias")),
        "rope_type": rope.get("rope_type", rope.get("type", "default")) != "default",
    }
    if any(unlike.values()):
        odd = ", ".join(name for name, wrong in unlike.items() if wrong)
        raise ModelUnsupported(f"{folder}: the graph does not cover this model ({odd})")
    heads, width = int(config["num_attention_heads"]), int(config["hidden_size"])
    return Shape(
        layers=int(config["num_hidden_layers"]),
        width=width,
        heads=heads,
        kv_heads=int(config.get("num_key_value_heads") or heads),
        head_size=int(config.get("head_dim") or width // heads),
        inner=int(config["intermediate_size"]),
        vocabulary=int(config["vocab_size"]),
        epsilon=float(config.get("rms_norm_eps", 1e-6)),
        theta=float(rope.get("rope_theta", config.get("rope_theta", 10000.0))),
    )


def safetensors(path: Path) -> dict[str, Callable[[], Floats]]:
    """What a safetensors file holds, by name: each gives float32. Raises ModelFileBroken, OSError."""
    with path.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    length = int.from_bytes(data[:8], "little")
    try:
        header: dict[str, Any] = json.loads(data[8 : 8 + length])
    except ValueError as error:
        raise ModelFileBroken(f"{path} is not whole: {error}") from error
    start = 8 + length
    found: dict[str, Callable[[], Floats]] = {}
    for name, about in header.items():
        if name == "__metadata__":
            continue
        begin, end = about["data_offsets"]
        if start + end > len(data) or about["dtype"] not in SAFE:
            raise ModelFileBroken(f"{path}: {name} is not whole, or of a type that is not read ({about['dtype']})")
        found[name] = lambda begin=begin, end=end, about=about: SAFE[about["dtype"]](
            data[start + begin : start + end]
        ).reshape(about["shape"])
    return found


def _bfloat16(data: bytes) -> Floats:
    return (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32)


SAFE: Mapping[str, Callable[[bytes], Floats]] = {
    "F32": lambda data: np.frombuffer(data, np.float32),
    "F16": lambda data: np.frombuffer(data, np.float16).astype(np.float32),
    "BF16": _bfloat16,
}
