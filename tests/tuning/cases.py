"""Ways of using each method, as PEFT's config and its options. A dict with a base's name is that base's own value."""

from __future__ import annotations

from typing import Any

from tests.tuning.cases_kin import KIN
from tests.tuning.cases_more import MORE
from tests.tuning.cases_prompts import PROMPTS
from tests.tuning.cases_tokens import TOKENS

LINEAR = {"llama": ["q_proj", "down_proj"], "gpt2": ["c_attn", "c_proj"]}
NO_CONV1D = {"llama": None, "gpt2": ["lm_head"]}  # for methods that PEFT has for nn.Linear alone
NO_CONV1D_WIDE = {"llama": ["v_proj", "down_proj"], "gpt2": ["lm_head"]}
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
    ("IA3Config", {}),
    ("IA3Config", {"target_modules": LINEAR, "feedforward_modules": []}),
    ("IA3Config", {"target_modules": LINEAR, "feedforward_modules": LINEAR, "modules_to_save": ["lm_head"]}),
    ("IA3Config", {"target_modules": r".*(_proj|c_attn|c_fc)", "feedforward_modules": r".*mlp\..*"}),
    ("LNTuningConfig", {}),
    ("LNTuningConfig", {"target_modules": {"llama": r".*\.1\..*norm", "gpt2": r".*\.1\.ln_."}}),
    ("LoHaConfig", {"target_modules": NO_CONV1D}),
    (
        "LoHaConfig",
        {
            "r": 4,
            "alpha": 7,
            "target_modules": NO_CONV1D_WIDE,
            "rank_pattern": {"v_proj|lm_head": 2},
            "init_weights": False,
        },
    ),
    ("LoHaConfig", {"r": 4, "target_modules": NO_CONV1D_WIDE, "alpha_pattern": {"down_proj": 3}}),
    ("LoKrConfig", {"target_modules": NO_CONV1D}),
    ("LoKrConfig", {"r": 2, "alpha": 3, "target_modules": NO_CONV1D_WIDE, "decompose_both": True}),
    ("LoKrConfig", {"r": 2, "target_modules": NO_CONV1D_WIDE, "decompose_factor": 4, "rank_dropout_scale": True}),
    ("LoKrConfig", {"r": 1, "target_modules": NO_CONV1D_WIDE, "decompose_both": True, "init_weights": "lycoris"}),
    ("VeraConfig", {}),
    ("VeraConfig", {"r": 4, "target_modules": LINEAR, "d_initial": 0.5, "bias": "vera_only"}),
    ("VeraConfig", {"r": 5, "target_modules": "all-linear", "save_projection": False, "projection_prng_key": 3}),
    ("RandLoraConfig", {}),
    ("RandLoraConfig", {"r": 5, "randlora_alpha": 9, "target_modules": LINEAR, "bias": "all"}),
    ("RandLoraConfig", {"r": 4, "target_modules": "all-linear", "save_projection": False, "projection_prng_key": 3}),
    ("RandLoraConfig", {"r": 4, "target_modules": LINEAR, "save_projection": False, "sparse": True}),
    ("RandLoraConfig", {"r": 4, "target_modules": LINEAR, "save_projection": False, "very_sparse": True}),
]

CASES += MORE + PROMPTS + TOKENS + KIN
