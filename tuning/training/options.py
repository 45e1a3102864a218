"""What can be set of a training run. Loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tuning.config import one_of, positive
from tuning.errors import ConfigError

SCHEDULES = ("constant", "linear", "cosine")


@dataclass(frozen=True, kw_only=True)
class Options:
    """A run, but for its model and data; `HELP` says what each field means.

    A step's batch, and so what is learned, is the same however many processes and parts share it. Raises ConfigError.
    """

    lr: float = 2e-4
    schedule: str = "cosine"
    warmup: int = 0
    epochs: int = 1
    steps: int | None = None
    batch_size: int = 8
    accumulation: int | None = None
    window: int = 512
    packing: bool = True
    clip: float = 1.0
    weight_decay: float = 0.0
    bf16: bool | None = None
    gradient_checkpointing: bool = False
    loss_chunk: int = 128
    seed: int = 0
    eval_every: int | None = None
    patience: int | None = None
    save_every: int = 100
    sharded: bool = False

    def __post_init__(self) -> None:
        one_of("schedule", self.schedule, SCHEDULES)
        counts = ("epochs", "batch_size", "window", "loss_chunk", "save_every")
        positive(lr=self.lr, **{name: getattr(self, name) for name in counts})
        optional = {name: getattr(self, name) for name in ("steps", "accumulation", "eval_every", "patience")}
        positive(**{name: value for name, value in optional.items() if value is not None})
        for name in ("warmup", "weight_decay", "seed", "clip"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it has to be 0 or more")
        if self.window < 2:
            raise ConfigError("window is 1; a token is predicted from those before it, so it has to be 2 or more")


HELP: Mapping[str, str] = {
    "lr": "the highest learning rate",
    "schedule": "constant, linear or cosine: how the learning rate falls after the warm-up",
    "warmup": "steps in which the learning rate rises from 0",
    "epochs": "how often training goes through all data; `steps`, if set, decides instead",
    "steps": "the number of the optimiser's steps, instead of epochs",
    "batch_size": "windows in a step, of all processes and parts together",
    "accumulation": "into how many parts a process splits its share of a batch; if not set: parts of at least 512 tokens on a CPU, one part elsewhere",
    "window": "tokens in a window; a longer document is cut",
    "packing": "whether several documents share a window, without seeing each other",
    "clip": "the largest norm of all gradients together; 0: no limit",
    "weight_decay": "AdamW's weight decay; it applies to matrices only",
    "bf16": "autocast to bfloat16; if not set: where the machine computes in it",
    "gradient_checkpointing": "compute layers again in the backward pass, to save memory",
    "loss_chunk": "for how many tokens the logits are in memory at once",
    "seed": "seed of the data's order and of dropout",
    "eval_every": "steps between evaluations; if not set: one evaluation an epoch",
    "patience": "training stops after so many evaluations without a lower loss",
    "save_every": "steps between checkpoints, from which a run can continue",
    "sharded": "split the frozen base over the processes (FSDP), if it is too large for one",
}
