"""Multitask prompt tuning: one prompt for many tasks, times a low-rank matrix of each task (Wang et al. 2023,
https://arxiv.org/abs/2303.02861).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tuning.config import one_of, positive
from tuning.errors import ConfigError
from tuning.methods.prompt_tuning import PromptTuningConfig, PromptTuningInit, started
from tuning.registry import PromptFamily
from tuning.virtual import KEY, Table, table_size

ROWS, COLUMNS = "prefix_task_rows", "prefix_task_cols"


class MultitaskPromptTuningInit(enum.StrEnum):
    """What is at the start: a text's embeddings, anything, or what other tasks learned: their prompt with the mean of their matrices, with
    one task's, or alone.
    """

    TEXT = "TEXT"
    RANDOM = "RANDOM"
    AVERAGE_SOURCE_TASKS = "AVERAGE_SOURCE_TASKS"
    EXACT_SOURCE_TASK = "EXACT_SOURCE_TASK"
    ONLY_SOURCE_SHARED = "ONLY_SOURCE_SHARED"


LEARNED = (
    MultitaskPromptTuningInit.AVERAGE_SOURCE_TASKS,
    MultitaskPromptTuningInit.EXACT_SOURCE_TASK,
    MultitaskPromptTuningInit.ONLY_SOURCE_SHARED,
)


@dataclass(kw_only=True)
class MultitaskPromptTuningConfig(PromptTuningConfig):
    """`prompt_tuning_init_state_dict_path`: a file of an adapter's tensors to start from; `prompt_tuning_init_task`: which of its tasks."""

    METHOD: ClassVar[str] = "MULTITASK_PROMPT_TUNING"
    INITS: ClassVar[type[enum.StrEnum]] = MultitaskPromptTuningInit

    prompt_tuning_init: PromptTuningInit | MultitaskPromptTuningInit | str = MultitaskPromptTuningInit.RANDOM
    prompt_tuning_init_state_dict_path: str | None = None
    prompt_tuning_init_task: int | None = 0
    num_ranks: int | None = 1
    num_tasks: int | None = 1

    def check(self) -> None:
        super().check()
        positive(num_ranks=self.num_ranks or 0, num_tasks=self.num_tasks or 0)


@final
class MultitaskPromptEmbedding(nn.Module):
    """embedding: (tokens, dimensions), for all tasks; prefix_task_cols: (tasks, tokens, ranks); prefix_task_rows: (tasks, ranks,
    dimensions).
    """

    def __init__(self, config: MultitaskPromptTuningConfig, words: Any = None) -> None:
        super().__init__()
        tokens, dimensions = table_size(config, as_keys=False)
        tasks, ranks = config.num_tasks or 0, config.num_ranks or 0
        random = words is None or config.prompt_tuning_init in LEARNED
        self.embedding = (Table(tokens, dimensions) if random else started(config, words)).embedding
        self.prefix_task_cols = nn.Parameter(0.02 * torch.randn(tasks, tokens, ranks))
        self.prefix_task_rows = nn.Parameter(0.02 * torch.randn(tasks, ranks, dimensions))

    def forward(self, task_ids: Tensor) -> Tensor:
        """The prompt of each row's task: (rows, tokens, dimensions)."""
        tasks = task_ids.to(self.prefix_task_cols.device)
        return self.embedding.weight * (self.prefix_task_cols[tasks] @ self.prefix_task_rows[tasks])

    def tensors(self) -> dict[str, Tensor]:
        """By a checkpoint's keys."""
        return {COLUMNS: self.prefix_task_cols, ROWS: self.prefix_task_rows, KEY: self.embedding.weight}

    @torch.no_grad()
    def read(self, tensors: Mapping[str, Tensor]) -> None:
        """Raises ConfigError where a tensor has another shape."""
        for key, own in self.tensors().items():
            if key in tensors and tensors[key].shape != own.shape:
                raise ConfigError(
                    f"{key} is {tuple(tensors[key].shape)} in what the prompt starts from and {tuple(own.shape)} here: another base, or "
                    "other num_virtual_tokens, num_ranks or num_tasks (1, to start from other tasks' matrices)"
                )
            if key in tensors:
                own.copy_(tensors[key])


def _learned(config: MultitaskPromptTuningConfig) -> dict[str, Tensor]:
    """What the config's file gives to start from. Raises ConfigError."""
    how, path = config.prompt_tuning_init, config.prompt_tuning_init_state_dict_path
    if path is None:
        raise ConfigError(f"prompt_tuning_init_state_dict_path needs to be specified with {how} init method")
    try:
        found = load_file(path) if path.endswith(".safetensors") else torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # whatever the reader comes upon in a file that is missing, broken or hostile
        raise ConfigError(f"prompt_tuning_init_state_dict_path: {path} can't be read: {error}") from error
    if how == MultitaskPromptTuningInit.ONLY_SOURCE_SHARED:
        return {KEY: found[KEY]}
    if how == MultitaskPromptTuningInit.AVERAGE_SOURCE_TASKS:
        return {KEY: found[KEY]} | {key: found[key].mean(0, keepdim=True) for key in (ROWS, COLUMNS)}
    task = config.prompt_tuning_init_task or 0
    return {KEY: found[KEY]} | {key: found[key][task : task + 1] for key in (ROWS, COLUMNS)}


@final
class MultitaskPromptTuningFamily(PromptFamily):
    name = "MULTITASK_PROMPT_TUNING"
    config = MultitaskPromptTuningConfig
    knows_tasks = True

    def encoder(self, config: Any, words: nn.Module) -> nn.Module:
        one_of("prompt_tuning_init", config.prompt_tuning_init, [*MultitaskPromptTuningInit, "SAMPLE_VOCAB"])
        made = MultitaskPromptEmbedding(config, words)
        if config.prompt_tuning_init in LEARNED:
            made.read(_learned(config))
        return made

    def table(self, config: Any) -> nn.Module:
        return MultitaskPromptEmbedding(config)

    def tokens(self, encoder: nn.Module, task_ids: Tensor | None) -> Tensor:
        if task_ids is None:
            raise ConfigError("task_ids cannot be None: give the task of each row, (rows,)")
        return encoder(task_ids)

    def saved(self, encoder: Any) -> Mapping[str, Tensor]:
        return encoder.tensors()

    def read(self, encoder: Any, tensors: Mapping[str, Tensor]) -> None:
        encoder.read(tensors)


METHOD = MultitaskPromptTuningFamily()
