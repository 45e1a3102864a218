"""Ways of using the methods that are kin to LoRA and VeRA, as in `cases.py`."""

from __future__ import annotations

from typing import Any

LINEAR = {"llama": ["q_proj", "down_proj"], "gpt2": ["c_attn", "c_proj"]}
NO_CONV1D = {"llama": ["q_proj", "v_proj", "down_proj"], "gpt2": ["lm_head"]}
EMBEDDING = {"llama": ["embed_tokens"], "gpt2": ["wte"]}

KIN: list[tuple[str, dict[str, Any]]] = [
    ("HiraConfig", {}),
    ("HiraConfig", {"r": 4, "target_modules": LINEAR, "init_weights": "gaussian"}),
    ("HiraConfig", {"r": 4, "target_modules": EMBEDDING}),
    ("RoadConfig", {"target_modules": NO_CONV1D, "group_size": 16}),
    ("RoadConfig", {"target_modules": NO_CONV1D, "group_size": 8, "variant": "road_2"}),
    ("RoadConfig", {"target_modules": NO_CONV1D, "group_size": 8, "variant": "road_4", "init_weights": False}),
    ("ShiraConfig", {"target_modules": NO_CONV1D, "r": 2}),
    ("ShiraConfig", {"target_modules": NO_CONV1D, "r": 3, "random_seed": 5, "init_weights": False}),
    ("C3AConfig", {"target_modules": NO_CONV1D, "block_size": 16}),
    ("C3AConfig", {"target_modules": NO_CONV1D, "block_size": 32, "block_size_pattern": {"v_proj": 8}, "bias": "all"}),
    ("DeloraConfig", {"target_modules": NO_CONV1D}),
    ("DeloraConfig", {"target_modules": NO_CONV1D, "rank_pattern": {"v_proj": 3}, "lambda_pattern": {"q_proj": 5}}),
    ("GraloraConfig", {}),
    ("GraloraConfig", {"target_modules": LINEAR, "r": 8, "gralora_k": 4, "hybrid_r": 3, "alpha": 5}),
    ("WaveFTConfig", {"n_frequency": 100}),
    ("WaveFTConfig", {"target_modules": LINEAR, "n_frequency": 50, "wavelet_family": "sym3", "init_weights": False}),
    ("WaveFTConfig", {"target_modules": LINEAR, "n_frequency": 50, "wavelet_family": "coif1", "random_loc_seed": 3}),
    ("WaveFTConfig", {"target_modules": LINEAR, "n_frequency": 50, "use_idwt": False, "proportional_parameters": True}),
    ("VBLoRAConfig", {"vector_length": 16, "num_vectors": 20}),
    (
        "VBLoRAConfig",
        {"target_modules": LINEAR, "r": 3, "vector_length": 8, "num_vectors": 20, "topk": 3, "bias": "all"},
    ),
    ("UniLoraConfig", {"init_weights": False}),
    ("UniLoraConfig", {"target_modules": LINEAR, "r": 3, "theta_d_length": 50, "proj_seed": 3, "save_indices": True}),
    ("TinyLoraConfig", {}),
    ("TinyLoraConfig", {"target_modules": LINEAR, "r": 4, "u": 5, "weight_tying": 0.5, "init_weights": "uniform"}),
    ("TinyLoraConfig", {"target_modules": EMBEDDING, "u": 5, "save_projection": False, "projection_seed": 3}),
    ("PveraConfig", {}),
    ("PveraConfig", {"target_modules": LINEAR, "r": 4, "d_initial": 0.5, "save_projection": False}),
    ("GloraConfig", {"target_modules": NO_CONV1D}),
    ("GloraConfig", {"target_modules": NO_CONV1D, "config_A_B": "vector", "r": 3}),
    ("GloraConfig", {"target_modules": NO_CONV1D, "config_A_B": "constant", "init_weights": False}),
    ("LilyConfig", {"target_modules": NO_CONV1D}),
    ("LilyConfig", {"target_modules": NO_CONV1D, "r": 3, "stride_A": 2, "num_B": 3, "scaling": 2.0}),
]
