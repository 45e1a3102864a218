"""Ways of using methods that the common cases can't hold: those that start from the base's weights, which PEFT reads in single precision,
that need a base of their own, or that are more than a change of layers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.tuning.cases_mixtures import MIXED, XLORA

CPT = {"cpt_token_ids": [3, 9, 9, 40], "cpt_tokens_type_mask": [1, 2, 3, 4], "opt_projection_epsilon": 2.0}
TASKS = {"num_virtual_tokens": 4, "num_tasks": 2, "num_ranks": 3}
NEEDED_APART: dict[str, dict[str, Any]] = {
    "PSOFT": {"r": 8},
    "SUPERTUNING": {"sparsity": 0.9},
    "CPT": CPT,
    "MULTITASK_PROMPT_TUNING": {"num_tasks": 2},
    "POLY": {"n_tasks": 2},
    "ADAPTION_PROMPT": {"adapter_len": 4, "adapter_layers": 2},
    "XLORA": MIXED,
}

NO_CONV1D = {
    "llama": ["q_proj", "v_proj", "down_proj"],
    "gpt2": ["lm_head"],
}  # for those that PEFT has for nn.Linear alone
LINEAR = {"llama": ["q_proj", "down_proj"], "gpt2": ["c_attn", "c_proj"]}


@dataclass(frozen=True, kw_only=True)
class Apart:
    """`options`: a dict with a base's name is that base's own value. `single`: PEFT wants a base in single precision. `atol`: how far its
    results may be from ours, where it computes in single precision whatever the base's is. `reread`: a checkpoint is the start of another
    adapter (of one without what was added to words).
    """

    config: str
    options: dict[str, Any] = field(default_factory=dict)
    base: str = "llama"
    single: bool = False
    reread: bool = False
    atol: float = 1e-9

    def __str__(self) -> str:
        return "-".join([self.config, *self.options, self.base])

    def chosen(self) -> dict[str, Any]:
        kind = self.base.split()[-1]
        return {
            key: value[kind] if isinstance(value, dict) and kind in value else value
            for key, value in self.options.items()
        }


PSOFT = {"target_modules": NO_CONV1D, "r": 6}
DEFT = {"target_modules": LINEAR, "r": 4}
PEANUT = {"target_modules": NO_CONV1D, "r": 4}
SUPER = {"target_modules": NO_CONV1D, "sparsity": 0.9}

APART: list[Apart] = [
    Apart(config="PsoftConfig", options=PSOFT, single=True),
    Apart(
        config="PsoftConfig", options={**PSOFT, "psoft_alpha": 9, "ab_svd_init": "pissa_init"}, base="gpt2", single=True
    ),
    Apart(config="PsoftConfig", options={**PSOFT, "psoft_orth": False, "psoft_mag_a": False}, single=True),
    Apart(config="PsoftConfig", options={**PSOFT, "psoft_svd": "lowrank", "random_seed": 3}, single=True),
    Apart(config="PsoftConfig", options={**PSOFT, "use_cayley_neumann": True, "cayley_neumann_eps": 0.1}, single=True),
    Apart(
        config="PsoftConfig", options={**PSOFT, "use_cayley_neumann": True, "num_cayley_neumann_terms": 7}, single=True
    ),
    Apart(config="OSFConfig"),
    Apart(config="OSFConfig", options={"target_modules": NO_CONV1D, "effective_rank": 7}, base="gpt2"),
    Apart(
        config="OSFConfig", options={"effective_rank": 0.25, "rank_pattern": {"1.*q_proj": 3}, "init_weights": False}
    ),
    Apart(config="BeftConfig", base="biased llama"),
    Apart(
        config="BeftConfig",
        options={"target_modules": ["q_proj", "o_proj"], "init_weights": False},
        base="biased llama",
    ),
    Apart(config="DeftConfig", options=DEFT, atol=1e-4),
    Apart(
        config="DeftConfig",
        options={**DEFT, "decomposition_method": "qr", "alpha": 7, "bias": "all"},
        base="gpt2",
        atol=1e-4,
    ),
    Apart(config="DeftConfig", options={**DEFT, "para": True}, atol=1e-4),
    Apart(config="DeftConfig", options={**DEFT, "r": 50, "init_weights": False, "init_scale": 2.0}, atol=1e-4),
    Apart(config="PeanutConfig", options=PEANUT),
    Apart(config="PeanutConfig", options={**PEANUT, "depth": 2, "act_fn": "gelu", "scaling": 0.7}, base="gpt2"),
    Apart(config="SupertuningConfig", options=SUPER),
    Apart(config="SupertuningConfig", options={**SUPER, "select_top": False, "r": 3, "lora_alpha": 5}, base="gpt2"),
    Apart(config="SupertuningConfig", options={**SUPER, "r": 3, "save_precomputed_indices": False}),
    Apart(config="FrodConfig", atol=1e-4),
    Apart(
        config="FrodConfig",
        options={"target_modules": LINEAR, "sparse_rate": 0.1, "bias": "all"},
        base="gpt2",
        atol=1e-4,
    ),
    Apart(
        config="FrodConfig",
        options={"target_modules": LINEAR, "save_projection": False, "init_weights": False},
        atol=1e-4,
    ),
    Apart(config="CPTConfig", options=CPT, reread=True, atol=5e-7),
    Apart(
        config="CPTConfig",
        options={
            **CPT,
            "cpt_token_ids": [1, 2, 3, 4, 1, 2, 3, 4],
            "cpt_tokens_type_mask": [1, 2, 3, 4, 5, 6, 7, 8],
            "opt_weighted_loss_type": "decay",
            "opt_loss_decay_factor": 0.9,
        },
        reread=True,
        atol=5e-7,
        base="gpt2",
    ),
    Apart(config="MultitaskPromptTuningConfig", options=TASKS),
    Apart(config="MultitaskPromptTuningConfig", options=TASKS, base="gpt2"),
    Apart(config="CartridgeConfig", options={"num_virtual_tokens": 4}),
    Apart(config="CartridgeConfig", options={"num_virtual_tokens": 3, "num_frozen_tokens": 2}, base="gpt2"),
    Apart(config="PolyConfig", options={"n_tasks": 2, "r": 4}),
    Apart(
        config="PolyConfig",
        options={"n_tasks": 3, "n_splits": 4, "n_skills": 2, "init_weights": False, "target_modules": NO_CONV1D},
        base="gpt2",
    ),
    Apart(config="AdaptionPromptConfig", options={"adapter_len": 4, "adapter_layers": 2}, atol=1e-5),
    Apart(config="AdaptionPromptConfig", options={"adapter_len": 3, "adapter_layers": 1}, base="gpt2", atol=1e-5),
    Apart(config="ShadowConfig", atol=1e-5),
    Apart(
        config="ShadowConfig",
        options={"r": 4, "shadow_hidden_size": 16, "update_hidden_size": 6},
        base="gpt2",
        atol=1e-5,
    ),
    Apart(
        config="ShadowConfig",
        options={
            "target_modules": ["layers.1"],
            "share_embeddings": False,
            "shadow_num_hidden_layers": 2,
            "shadow_alpha": 1.0,
        },
        atol=1e-5,
    ),
    *(Apart(config="XLoraConfig", options={**MIXED, **options}, base="uncached llama") for options in XLORA),
]
