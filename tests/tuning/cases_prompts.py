"""Ways of putting virtual tokens before the input. What computes its tokens is not in a checkpoint: see test_prompts.py."""

from __future__ import annotations

from typing import Any

PROMPTS: list[tuple[str, dict[str, Any]]] = [
    ("PromptTuningConfig", {"num_virtual_tokens": 4}),
    ("PromptTuningConfig", {"num_virtual_tokens": 3, "prompt_tuning_init": "SAMPLE_VOCAB"}),
    ("PrefixTuningConfig", {"num_virtual_tokens": 4}),
    ("PrefixTuningConfig", {"num_virtual_tokens": 1, "init_weights": "zero"}),
]
