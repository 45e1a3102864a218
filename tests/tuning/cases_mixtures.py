"""Ways of mixing LoRA adapters (X-LoRA), as in `cases_apart.py`, and the adapters that are mixed."""

from __future__ import annotations

import tempfile
from functools import cache
from typing import Any

import peft
import torch
from transformers import LlamaConfig, LlamaForCausalLM

FOLDER = tempfile.TemporaryDirectory(prefix="experts-")


@cache
def mixed(hidden: int) -> dict[str, Any]:
    """X-LoRA's options on the tests' Llama of a width, with the folders of trained adapters, which sit on one layer in common."""
    adapters: dict[str, str] = {}
    for seed, targets in enumerate((["q_proj", "v_proj"], ["q_proj", "down_proj", "embed_tokens"])):
        torch.manual_seed(seed)
        sizes: dict[str, Any] = {
            "vocab_size": 64,
            "hidden_size": hidden,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
        }
        base = LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=4, num_key_value_heads=2))
        config = peft.LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=targets, init_lora_weights=False)
        adapters[str(seed)] = f"{FOLDER.name}/{hidden}-{seed}"
        peft.get_peft_model(base, config).save_pretrained(adapters[str(seed)], save_embedding_layers=False)
    return {"hidden_size": hidden, "adapters": adapters}


MIXED: dict[str, Any] = mixed(32)
XLORA: list[dict[str, Any]] = [
    {},
    {"layerwise_scalings": True, "xlora_depth": 3, "xlora_size": 16, "softmax_temperature": 0.5},
    {"top_k_lora": 1, "enable_softmax": False, "enable_softmax_topk": True, "scaling_pass_value": 0.5},
    {"enable_softmax": False, "global_scaling_weight": 0.7},
]
