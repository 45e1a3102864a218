"""More ways of using methods, as in `cases.py`. Where PEFT's method has no Conv1D, GPT-2's own linear layer, its head, stands in."""

from __future__ import annotations

from typing import Any

LINEAR = {"llama": ["q_proj", "down_proj"], "gpt2": ["c_attn", "c_proj"]}
NO_CONV1D = {"llama": ["q_proj", "v_proj", "down_proj"], "gpt2": ["lm_head"]}
EMBEDDING = {"llama": ["embed_tokens"], "gpt2": ["wte"]}

BLOCKS = {"target_modules_bd_a": ["down_proj"], "target_modules_bd_b": ["q_proj", "v_proj", "lm_head"], "nblocks": 2}

MORE: list[tuple[str, dict[str, Any]]] = [
    ("LoraConfig", {"r": 4, "target_modules": NO_CONV1D, "use_bdlora": BLOCKS}),
    ("LoraConfig", {"r": 4, "target_modules": NO_CONV1D, "velora_config": {"num_groups": 3}}),
    ("LoraConfig", {"r": 4, "target_modules": NO_CONV1D, "monteclora_config": {"num_samples": 2, "buffer_size": 1}}),
    ("AdaLoraConfig", {"total_step": 10}),
    ("AdaLoraConfig", {"total_step": 10, "init_r": 5, "target_r": 3, "lora_alpha": 7, "target_modules": LINEAR}),
    ("AdaLoraConfig", {"total_step": 10, "target_modules": LINEAR, "bias": "all", "orth_reg_weight": 0.0}),
    ("OFTConfig", {"target_modules": NO_CONV1D}),
    ("OFTConfig", {"target_modules": NO_CONV1D, "oft_block_size": 6, "num_cayley_neumann_terms": 7}),
    ("OFTConfig", {"target_modules": NO_CONV1D, "oft_block_size": 8, "num_cayley_neumann_terms": 2}),
    ("OFTConfig", {"target_modules": NO_CONV1D, "r": 4, "oft_block_size": 0, "use_cayley_neumann": False}),
    ("OFTConfig", {"target_modules": NO_CONV1D, "oft_block_size": 8, "coft": True, "eps": 0.01}),
    ("OFTConfig", {"target_modules": NO_CONV1D, "oft_block_size": 8, "block_share": True, "coft": True}),
    ("OFTConfig", {"target_modules": EMBEDDING, "oft_block_size": 8}),
    ("BOFTConfig", {"target_modules": NO_CONV1D}),
    ("BOFTConfig", {"target_modules": NO_CONV1D, "boft_block_size": 0, "boft_block_num": 2, "bias": "boft_only"}),
    ("BOFTConfig", {"target_modules": NO_CONV1D, "boft_block_size": 8, "init_weights": False}),
    ("HRAConfig", {"target_modules": NO_CONV1D}),
    ("HRAConfig", {"target_modules": NO_CONV1D, "r": 3, "init_weights": False}),
    ("HRAConfig", {"target_modules": NO_CONV1D, "r": 4, "apply_GS": True}),
    ("MissConfig", {"target_modules": NO_CONV1D, "r": 8}),
    ("MissConfig", {"target_modules": NO_CONV1D, "r": 7, "init_weights": False}),
    ("MissConfig", {"target_modules": NO_CONV1D, "r": 5, "mini_r": 4, "init_weights": "mini"}),
    ("MissConfig", {"target_modules": NO_CONV1D, "r": 8, "init_weights": "bat"}),
    ("FourierFTConfig", {"n_frequency": 100}),
    ("FourierFTConfig", {"target_modules": LINEAR, "n_frequency": 50, "init_weights": True, "random_loc_seed": 3}),
    ("FourierFTConfig", {"target_modules": LINEAR, "n_frequency": 50, "n_frequency_pattern": {"(0|h.0).*proj": 30}}),
]
