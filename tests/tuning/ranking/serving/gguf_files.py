"""A small GGUF file, written here as llama.cpp's converter writes one."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray

NUMBERS: Mapping[type, tuple[int, str]] = {bool: (7, "<?"), int: (4, "<I"), float: (6, "<f")}
OF_GGUF = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def q8_0(values: NDArray[np.float32]) -> bytes:
    """Blocks of 32: a float16, and 32 int8."""
    blocks = values.reshape(-1, 32)
    scales = (np.abs(blocks).max(axis=1) / 127).astype(np.float16)
    found = np.rint(blocks / np.maximum(scales.astype(np.float32), 1e-12)[:, None]).astype(np.int8)
    return b"".join(scale.tobytes() + row.tobytes() for scale, row in zip(scales, found, strict=True))


def q4_1(values: NDArray[np.float32]) -> bytes:
    """Blocks of 32: two float16 (step and least), and 16 bytes with two values each."""
    blocks = values.reshape(-1, 32)
    least = blocks.min(axis=1).astype(np.float16)
    step = ((blocks.max(axis=1) - least) / 15).astype(np.float16)
    found = np.clip(np.rint((blocks - least[:, None]) / np.maximum(step, 1e-7)[:, None]), 0, 15).astype(np.uint8)
    packed = found[:, :16] | found[:, 16:] << 4
    rows = zip(step, least, packed, strict=True)
    return b"".join(one.tobytes() + low.tobytes() + row.tobytes() for one, low, row in rows)


TYPES: Mapping[int, Callable[[NDArray[np.float32]], bytes]] = {0: lambda values: values.tobytes(), 3: q4_1, 8: q8_0}


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def value_of(value: Any) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", 8) + text(value)
    if isinstance(value, list):
        items = [value_of(item) for item in value]
        return (
            struct.pack("<I", 9) + items[0][:4] + struct.pack("<Q", len(items)) + b"".join(item[4:] for item in items)
        )
    kind, form = NUMBERS[type(value)]
    return struct.pack("<I", kind) + struct.pack(form, value)


def write_gguf(path: Path, metadata: Mapping[str, Any], tensors: Mapping[str, tuple[int, NDArray[np.float32]]]) -> None:
    """`tensors`: ggml's number of a type, and values, by name."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    head += b"".join(text(name) + value_of(value) for name, value in metadata.items())
    data = b""
    for name, (kind, values) in tensors.items():
        sizes = values.shape[::-1]
        head += text(name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, kind, len(data))
        data += TYPES[kind](values)
        data += bytes(-len(data) % 32)
    path.write_bytes(head + bytes(-len(head) % 32) + data)


def llama_gguf(path: Path, model: Any, tokenizer: tokenizers.Tokenizer, kind: int = 0) -> None:
    """A Llama of transformers as GGUF, its linear weights of a type."""
    config, state = model.config, {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
    vocabulary = sorted(tokenizer.get_vocab(), key=lambda token: tokenizer.get_vocab()[token])
    special = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    metadata = {
        "general.architecture": "llama",
        "llama.block_count": config.num_hidden_layers,
        "llama.context_length": 512,
        "llama.embedding_length": config.hidden_size,
        "llama.feed_forward_length": config.intermediate_size,
        "llama.attention.head_count": config.num_attention_heads,
        "llama.attention.head_count_kv": config.num_key_value_heads,
        "llama.attention.layer_norm_rms_epsilon": float(config.rms_norm_eps),
        "llama.rope.freq_base": 10000.0,
        "llama.vocab_size": config.vocab_size,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": vocabulary,
        "tokenizer.ggml.token_type": [3 if token in special else 1 for token in vocabulary],
        "tokenizer.ggml.merges": [" ".join(merge) for merge in merges],
        **{f"tokenizer.ggml.{name}_token_id": 0 for name in ("bos", "eos", "padding", "unknown")},
    }
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    tensors = {"token_embd.weight": (8 if kind else 0, state["model.embed_tokens.weight"])}
    tensors["output_norm.weight"] = (0, state["model.norm.weight"])
    if not config.tie_word_embeddings:
        tensors["output.weight"] = (kind, state["lm_head.weight"])
    for number in range(config.num_hidden_layers):
        for ours, theirs in OF_GGUF.items():
            values = state[f"model.layers.{number}.{ours}.weight"]
            if theirs in heads:  # llama.cpp interleaves the two halves of a head
                values = values.reshape(heads[theirs], 2, -1, values.shape[1]).swapaxes(1, 2).reshape(values.shape)
            tensors[f"blk.{number}.{theirs}.weight"] = (kind if values.ndim > 1 else 0, np.ascontiguousarray(values))
    write_gguf(path, metadata, tensors)
