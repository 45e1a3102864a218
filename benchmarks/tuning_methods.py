"""The methods that `benchmarks.tuning --methods` sets beside HF peft's."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

RANK, WINDOW = 16, 512
ENGINES = ("ours", "peft")
METHODS: Mapping[str, tuple[str, dict[str, Any]]] = {  # a name here -> PEFT's config, and its options
    "LoRA": ("LoraConfig", {"r": RANK, "target_modules": "all-linear"}),
    "DoRA": ("LoraConfig", {"r": RANK, "target_modules": "all-linear", "use_dora": True}),
    "IA3": ("IA3Config", {}),
    "VeRA": ("VeraConfig", {"target_modules": "all-linear"}),
    "OFT": ("OFTConfig", {"target_modules": "all-linear", "oft_block_size": 32}),
    "prompt tuning": ("PromptTuningConfig", {"num_virtual_tokens": 16}),
}


def config_of(engine: Any, method: str) -> Any:
    kind, options = METHODS[method]
    return getattr(engine, kind)(task_type="CAUSAL_LM", **options)


def methods(asked: argparse.Namespace, side: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """The training step of each method, beside PEFT's; `side`: a run of one engine."""
    table = Table(
        "method",
        "tokens/s, ours / peft",
        "",
        "peak memory",
        "",
        title=f"training step: {asked.batch} rows of {WINDOW} tokens, full",
    )
    figures: dict[str, Any] = {}
    for method in METHODS:
        asked.method = method
        rounds = [{which: side(which) for which in ENGINES} for _ in range(1 if asked.quick else 3)]
        speed = {
            which: statistics.median(turn[which]["tokens"] / turn[which]["seconds"] for turn in rounds)
            for which in ENGINES
        }
        peak = {which: max(turn[which]["peak"] for turn in rounds) for which in ENGINES}
        ratios = {name: value["ours"] / value["peft"] for name, value in (("speed", speed), ("memory", peak))}
        table.add_row(
            method,
            f"{speed['ours']:.0f} / {speed['peft']:.0f}",
            f"{ratios['speed']:.2f}",
            f"{peak['ours'] / 1e9:.2f} / {peak['peft'] / 1e9:.2f} GB",
            f"{ratios['memory']:.2f}",
        )
        figures[method] = {"tokens_per_second": speed, "peak": peak, **ratios}
    Console().print(table)
    return figures
