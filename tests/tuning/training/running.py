"""A tiny run, also in processes that are killed: `python -m tests.tuning.training.running OUT EVENTS...`."""

from __future__ import annotations

import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from torch.optim import AdamW

import tuning
from tests.tuning.oracle import VOCABULARY, tiny_llama
from tuning.training import resuming
from tuning.training.loop import Outcome, train
from tuning.training.options import Options

SMALL = {"window": 16, "batch_size": 4, "epochs": 2, "lr": 1e-2, "save_every": 3, "bf16": False}


def documents(count: int = 16, seed: int = 1) -> list[list[int]]:
    """Short runs of rising numbers: something to learn."""
    chance = random.Random(seed)
    starts = [chance.randrange(VOCABULARY) for _ in range(count)]
    return [[(start + place) % VOCABULARY for place in range(chance.randrange(2, 30))] for start in starts]


def adapted(dropout: float = 0.0, **options: Any) -> tuning.PeftModel:
    torch.manual_seed(5)
    config = tuning.LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear", lora_dropout=dropout, **options)
    return tuning.get_peft_model(tiny_llama(), config)


def run(
    out: Path | None, model: Any = None, evaluation: bool = True, **options: Any
) -> tuple[Outcome, dict[str, torch.Tensor]]:
    model = model or adapted(dropout=0.2)
    held = documents(6, seed=9) if evaluation else None
    found = train(model, documents(), Options(**SMALL | options), evaluation=held, out=out, show=False)
    return found, {name: entry.detach().clone() for name, entry in model.named_parameters() if entry.requires_grad}


def killed_after(events: int) -> None:
    """Kill this process, as `kill -9` does, when files or folders were about to be put in place or steps to be made so often."""
    left = events

    def wrap(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def counted(*arguments: Any, **named: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **named)

        setattr(owner, name, counted)

    for owner, name in (
        (Path, "replace"),
        (Path, "mkdir"),
        (Path, "write_text"),
        (resuming, "save_file"),
        (AdamW, "step"),
    ):
        wrap(owner, name)


def main(out: str, *kill_after: str) -> None:
    """Run in a process of its own that is killed, again and again in one folder, and then to the end. Prints how each ended."""
    for events in (*map(int, kill_after), 0):
        child = os.fork()  # nothing was computed yet: no threads are there to be lost
        if not child:
            torch.set_num_threads(1)
            killed_after(events)
            run(Path(out), eval_every=4)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
