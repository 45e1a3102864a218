"""Loud channels made quieter before weights are quantised: SmoothQuant (Xiao et al. 2022, section 4), for a Llama-like model.

What comes into a linear layer is divided by a number a channel, and the layer's weights are multiplied by it. The division
costs nothing at run time: it goes into the norm, or the projection, that the channel comes from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tuning.ranking.serving.model.llama_graph import rotary
from tuning.ranking.serving.model.llama_weights import EMBEDDING, LlamaWeights

Floats = NDArray[np.float32]

ALPHA = 0.5  # how much of the loudness goes from what comes in to the weights
LEAST = 1e-5


@dataclass(frozen=True, kw_only=True)
class Loudness:
    """The largest absolute value of each channel that comes into a layer's linear parts, float32 [channels] each."""

    qkv: Floats
    o: Floats
    gate_up: Floats
    down: Floats


def _norm(x: Floats, gain: Floats, epsilon: float) -> Floats:
    size = np.sqrt((x * x).mean(axis=-1, keepdims=True) + epsilon)
    return np.asarray(x / size * gain, np.float32)


def _rotated(x: Floats, cosine: Floats, sine: Floats) -> Floats:
    first, second = np.split(x, 2, axis=-1)
    turned = [first * cosine - second * sine, second * cosine + first * sine]
    return np.concatenate(turned, axis=-1, dtype=np.float32)


def loudness(weights: LlamaWeights, tokens: Sequence[int]) -> list[Loudness]:
    """Of each layer, over a text of so many tokens: one forward pass in float32."""
    shape, n = weights.shape, len(tokens)
    cosine, sine = (table[:n] for table in rotary(shape.head_size, shape.theta))
    hidden = np.triu(np.full((n, n), -np.inf, np.float32), 1)
    x = weights[EMBEDDING][np.array(tokens)]
    found: list[Loudness] = []
    for number in range(shape.layers):
        normed = _norm(x, weights.layer(number, "input_layernorm"), shape.epsilon)
        q, k, v = (
            (normed @ weights.layer(number, f"self_attn.{which}_proj").T).reshape(n, -1, shape.head_size).swapaxes(0, 1)
            for which in "qkv"
        )
        q, k = _rotated(q, cosine, sine), _rotated(k, cosine, sine)
        k, v = (np.repeat(one, shape.heads // shape.kv_heads, axis=0) for one in (k, v))
        scores = q @ k.swapaxes(1, 2) * shape.head_size**-0.5 + hidden
        odds = np.exp(scores - scores.max(axis=-1, keepdims=True))
        attended = (odds / odds.sum(axis=-1, keepdims=True) @ v).swapaxes(0, 1).reshape(n, -1)
        x = x + attended @ weights.layer(number, "self_attn.o_proj").T
        second = _norm(x, weights.layer(number, "post_attention_layernorm"), shape.epsilon)
        gate, up = (second @ weights.layer(number, f"mlp.{which}_proj").T for which in ("gate", "up"))
        inner = (gate / (1 + np.exp(-gate)) * up).astype(np.float32)
        x = x + inner @ weights.layer(number, "mlp.down_proj").T
        found.append(Loudness(qkv=_most(normed), o=_most(attended), gate_up=_most(second), down=_most(inner)))
    return found


def _most(x: Floats) -> Floats:
    return np.abs(x).max(axis=0)


def smoothed(weights: LlamaWeights, tokens: Sequence[int], alpha: float = ALPHA) -> LlamaWeights:
    """The same model, with channels that are loud on this text made quieter. tokens: some 500 of text as it will be read."""
    changed = dict(weights.changed)
    for number, heard in enumerate(loudness(weights, tokens)):
        layer = _Layer(weights, number, changed)
        factors = layer.factors(heard.qkv, [f"self_attn.{which}_proj" for which in "qkv"], alpha)
        layer.multiply([f"self_attn.{which}_proj" for which in "qkv"], factors)
        layer.change("input_layernorm", layer["input_layernorm"] / factors)
        factors = layer.factors(heard.gate_up, ["mlp.gate_proj", "mlp.up_proj"], alpha)
        layer.multiply(["mlp.gate_proj", "mlp.up_proj"], factors)
        layer.change("post_attention_layernorm", layer["post_attention_layernorm"] / factors)
        factors = layer.factors(heard.down, ["mlp.down_proj"], alpha)
        layer.multiply(["mlp.down_proj"], factors)
        layer.change("mlp.up_proj", layer["mlp.up_proj"] / factors[:, None])
        factors = layer.factors(heard.o, ["self_attn.o_proj"], alpha)
        factors = _shared(factors, weights)
        layer.multiply(["self_attn.o_proj"], np.repeat(factors, weights.shape.heads // weights.shape.kv_heads, axis=0).ravel())  # fmt: skip
        layer.change("self_attn.v_proj", layer["self_attn.v_proj"] / factors.ravel()[:, None])
    return replace(weights, changed=changed)


def _shared(factors: Floats, weights: LlamaWeights) -> Floats:
    """[kv heads, head size]: query heads that share values share their factors too."""
    shape = weights.shape
    by_head = factors.reshape(shape.kv_heads, -1, shape.head_size)
    return np.exp(np.log(by_head).mean(axis=1))


class _Layer:
    """One layer's weights, and what becomes of them."""

    def __init__(self, weights: LlamaWeights, number: int, changed: dict[str, Floats]) -> None:
        self._weights, self._number, self._changed = weights, number, changed

    def __getitem__(self, name: str) -> Floats:
        found = self._changed.get(self._full(name))
        return self._weights.layer(self._number, name) if found is None else found

    def change(self, name: str, values: Floats) -> None:
        self._changed[self._full(name)] = values.astype(np.float32)

    def multiply(self, names: Sequence[str], factors: Floats) -> None:
        for name in names:
            self.change(name, self[name] * factors)

    def factors(self, heard: Floats, names: Sequence[str], alpha: float) -> Floats:
        """What each channel is divided by before these weights, float32 [channels], about 1."""
        weights = np.max([np.abs(self[name]).max(axis=0) for name in names], axis=0)
        found = np.maximum(heard, LEAST) ** alpha / np.maximum(weights, LEAST) ** (1 - alpha)
        return (found / np.exp(np.log(found).mean())).astype(np.float32)

    def _full(self, name: str) -> str:
        return f"layers.{self._number}.{name}.weight"
