"""Ways of using each method, as PEFT's config and its options. A dict with a base's name is that base's own value."""

from __future__ import annotations

from typing import Any

LINEAR = {"llama": ["q_proj", "down_proj"], "gpt2": ["c_attn", "c_proj"]}
EMBEDDING = {"llama": ["embed_tokens"], "gpt2": ["wte"]}

CASES: list[tuple[str, dict[str, Any]]] = [
    ("LoraConfig", {}),
    ("LoraConfig", {"r": 4, "lora_alpha": 7, "target_modules": LINEAR, "use_rslora": True}),
    ("LoraConfig", {"r": 4, "target_modules": LINEAR, "use_dora": True}),
    ("LoraConfig", {"r": 4, "target_modules": EMBEDDING}),
    ("LoraConfig", {"r": 4, "target_modules": EMBEDDING, "use_dora": True}),
    ("LoraConfig", {"target_modules": "all-linear", "rank_pattern": {"0.*proj": 3}, "alpha_pattern": {"c_attn": 5}}),
    ("LoraConfig", {"target_modules": LINEAR, "layers_to_transform": [1], "bias": "all"}),
    ("LoraConfig", {"target_modules": LINEAR, "bias": "lora_only", "lora_bias": {"llama": False, "gpt2": True}}),
    ("LoraConfig", {"target_modules": LINEAR, "exclude_modules": ["1.*"], "modules_to_save": ["lm_head"]}),
]
