"""Ways of training some tokens' embeddings, as in `cases.py`. GPT-2's head is tied to its embedding."""

from __future__ import annotations

from typing import Any

NAMES = {"llama": {"embed_tokens": [1, 7, 30]}, "gpt2": {"wte": [1, 7, 30]}}
APART = {"llama": {"embed_tokens": [1, 7], "lm_head": [5]}, "gpt2": {"wte": [1, 7], "lm_head": [5]}}
ALIKE = {"llama": {"embed_tokens": [1, 7], "lm_head": [1, 7]}, "gpt2": {"wte": [1, 7], "lm_head": [1, 7]}}

TOKENS: list[tuple[str, dict[str, Any]]] = [
    ("LoraConfig", {"trainable_token_indices": [5, 1, 62]}),
    ("LoraConfig", {"trainable_token_indices": NAMES, "r": 4, "modules_to_save": {"llama": ["lm_head"], "gpt2": None}}),
    ("LoraConfig", {"trainable_token_indices": APART, "use_dora": True}),
    ("LoraConfig", {"trainable_token_indices": ALIKE, "ensure_weight_tying": True}),
    ("TrainableTokensConfig", {"token_indices": [5, 1, 62]}),
    ("TrainableTokensConfig", {"token_indices": [9], "target_modules": {"llama": ["lm_head"], "gpt2": ["wpe"]}}),
    ("TrainableTokensConfig", {"token_indices": [1, 0, 2], "init_weights": False}),
]
