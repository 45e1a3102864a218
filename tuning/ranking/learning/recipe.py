"""How an adapter is trained to rank. Loads torch where a model comes in, and nothing of the corpus."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

METHODS = ("LORA", "DORA", "ADALORA", "IA3", "PREFIX_TUNING")  # a prefix merges into no weights: judged, not served
VIRTUAL_TOKENS = 32  # of a prefix: 0.37 million numbers in SmolLM2-135M
OF_LORA = {"DORA": {"use_dora": True}, "LORA": {}}
KEPT_OUT = 6  # one repository in so many is judged on


def is_kept_out(repository: str) -> bool:
    """Whether a repository is judged on, and not learned from: by its name alone."""
    return zlib.crc32(repository.partition("@")[0].casefold().encode()) % KEPT_OUT == 0


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A method and its options (docs/your-code.md has what the defaults gave, docs/results.md what the methods did)."""

    method: str = "LORA"
    rank: int = 16
    lr: float = 6e-4
    batch: int = 4  # windows a step
    text: float = 0.1
    beside: float = 0.5
    seed: int = 0

    def config(self, steps: int) -> Any:
        """The adapter's configuration, for a run of so many steps where the method plans by them."""
        import tuning

        options: Mapping[str, Any] = {"target_modules": "all-linear", "lora_alpha": 2 * self.rank}
        if self.method == "ADALORA":
            cut = {"tinit": steps // 10, "tfinal": steps // 3, "deltaT": max(1, steps // 100), "total_step": steps}
            options = {**options, "init_r": self.rank * 3 // 2, "target_r": self.rank, **cut}
        elif self.method == "PREFIX_TUNING":
            options = {"num_virtual_tokens": VIRTUAL_TOKENS, "init_weights": "zero"}
        elif self.method in OF_LORA:
            options = {**options, "r": self.rank, **OF_LORA[self.method]}
        else:
            options = {}
        kind = "LORA" if self.method in OF_LORA else self.method
        return tuning.PeftConfig.from_peft_type(peft_type=kind, task_type="CAUSAL_LM", **options)

    def adapted(self, model: Any, steps: int) -> Any:
        """The base with a fresh adapter. Raises TuningError."""
        import torch

        import tuning

        torch.manual_seed(self.seed)
        return tuning.get_peft_model(model, self.config(steps))

    def objective(self, model: Any, tokenizer: Any) -> Any:
        """The loss, on the device that the adapted model is on."""
        import torch

        from tuning.ranking.learning.listwise import Listwise
        from tuning.ranking.learning.torch_models import tokens_of

        ending = torch.from_numpy(tokens_of(tokenizer).ends_identifier(model.get_base_model().config.vocab_size))
        return Listwise(ending=ending.to(next(model.parameters()).device), text=self.text, beside=self.beside)
