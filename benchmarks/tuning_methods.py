"""Every method's training step beside HF peft's, and the page of what each costs (docs/tuning-methods.md).

    python -m benchmarks.tuning_methods --out runs/methods.json              all methods, turn by turn (an hour on two cores)
    python -m benchmarks.tuning_methods --out runs/methods.json --only OFT   this one; the same command goes on where it was stopped
    python -m benchmarks.tuning_methods --page                               write the page from docs/tuning-methods.json

A step is that of `benchmarks.tuning`: rows of 512 tokens (random ones), on SmolLM2-135M, in a process of its own with one thread, whose
processor time counts. So other programs disturb it little. The methods are those of the registry, on all linear layers unless they have
others of their own. PEFT's side of ADAMSS needs scikit-learn.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tuning.peft_types import homes
from tuning.registry import LayerFamily, methods

WINDOW = 512
ENGINES = ("ours", "peft")
DOCS = Path(__file__).parent.parent / "docs"
FIGURES, PAGE = DOCS / "tuning-methods.json", DOCS / "tuning-methods.md"
START, END = "<!-- figures -->\n", "<!-- end of figures -->"
VIRTUAL = {"num_virtual_tokens": 16}
OPTIONS: Mapping[
    str, Mapping[str, Any]
] = {  # what a method needs here beside or in place of all-linear; widths are multiples of 192
    "LORA": {"r": 16},
    "ADALORA": {"total_step": 1000},
    "C3A": {"block_size": 192},
    "VBLORA": {"vector_length": 192},
    "TRAINABLE_TOKENS": {"target_modules": None, "token_indices": list(range(100))},
    "ADAPTION_PROMPT": {"target_modules": None, "adapter_len": 10, "adapter_layers": 30},
    "CPT": {
        "num_virtual_tokens": None,
        "cpt_token_ids": list(range(100, 116)),
        "cpt_mask": [1] * 16,
        "cpt_tokens_type_mask": [1, 1, 1, 1, 2, 2, 3, 4] * 2,
    },
    "POLY": {"r": 8, "n_tasks": 2, "n_skills": 4},
    "MULTITASK_PROMPT_TUNING": {**VIRTUAL, "num_tasks": 2},
    "XLORA": {"hidden_size": 576},  # over adapters that benchmarks.tuning makes
    **{name: {"target_modules": None} for name in ("BEFT", "IA3", "LN_TUNING", "SHADOW")},
}
MARKED: Mapping[str, str] = {  # the tensor that the rows of some methods have beside their tokens
    "CPT": "input_type_mask",
    "MULTITASK_PROMPT_TUNING": "task_ids",
    "POLY": "task_ids",
}
ADAPTERS = 2  # XLORA's
SUITS: Mapping[str, str] = {  # what a method is for
    "ADALORA": "a fixed budget of parameters, given to the layers that need it",
    "ADAMSS": "few parameters, by clusters of outputs",
    "ADAPTION_PROMPT": "instructions, with the base kept whole",
    "BEFT": "the smallest change: a bias",
    "BOFT": "keeping what the base knows; images",
    "C3A": "changes of high rank",
    "CARTRIDGE": "one long text that is asked about often",
    "CPT": "few examples, refined as a prompt",
    "DEFT": "replacing or removing directions; images",
    "DELORA": "long training and high learning rates",
    "DoRA": "LoRA at low ranks",
    "FOURIERFT": "very small files",
    "FROD": "full rank from few parameters",
    "GLORA": "weights, inputs and biases at once",
    "GRALORA": "high ranks",
    "HIRA": "changes of high rank at LoRA's size",
    "HRA": "keeping what the base knows, at LoRA's size",
    "IA3": "few examples; very small files",
    "LILY": "factors that layers share",
    "LN_TUNING": "the smallest change: norms",
    "LOHA": "images; changes of high rank",
    "LOKR": "images; small files",
    "LORA": "most cases",
    "MISS": "as LoRA, with one matrix a layer",
    "MULTITASK_PROMPT_TUNING": "a prompt that many tasks share",
    "OFT": "keeping what the base knows; images",
    "OSF": "tasks learned one after another",
    "PEANUT": "changes that depend on the weight",
    "POLY": "many tasks that share skills",
    "PREFIX_TUNING": "a base that must stay as it is",
    "PROMPT_TUNING": "a base that must stay as it is; the smallest files",
    "PSOFT": "keeping what the base knows, at LoRA's size",
    "PVERA": "VeRA, with an estimate of uncertainty",
    "P_TUNING": "short prompts that a network computes",
    "RANDLORA": "full rank from few parameters",
    "ROAD": "batches of rows with different adapters",
    "SHADOW": "a small model that also runs alone",
    "SHIRA": "adapters that are switched often",
    "SUPERTUNING": "the largest weights alone",
    "TINYLORA": "a handful of values, with reinforcement learning",
    "TRAINABLE_TOKENS": "new words",
    "UNILORA": "very small files",
    "VBLORA": "very small files",
    "VERA": "thousands of adapters of one base",
    "WAVEFT": "very small files; images",
    "XLORA": "adapters that are there, mixed for each token",
}
VARIANTS: Mapping[str, tuple[str, Mapping[str, Any]]] = {"DoRA": ("LORA", {"r": 16, "use_dora": True})}


def names() -> list[str]:
    """The methods that are measured, by PEFT's names, and variants."""
    return sorted([*methods(), *VARIANTS], key=str.lower)


def config_of(engine: Any, name: str) -> Any:
    """The method's config of one engine."""
    method, options = VARIANTS.get(name, (name, OPTIONS.get(name, {})))
    family = methods()[method]
    usual: Mapping[str, Any] = {"target_modules": "all-linear"} if isinstance(family, LayerFamily) else VIRTUAL
    if method == "XLORA":
        usual = {}
    return getattr(engine, family.config.__name__)(task_type="CAUSAL_LM", **{**usual, **options})


def main() -> int:
    """Returns the exit code."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument(
        "--out", type=Path, default=FIGURES, help="the figures; methods that are there are not run again"
    )
    arguments.add_argument("--only", nargs="+", choices=names(), metavar="METHOD", help="these alone, in this order")
    arguments.add_argument("--rounds", type=int, default=1, help="runs of each engine (default 1)")
    arguments.add_argument(
        "--page", action="store_true", help="run nothing: write the page from docs/tuning-methods.json"
    )
    asked = arguments.parse_args()
    if asked.page:
        PAGE.write_text(with_table(PAGE.read_text("utf-8")), encoding="utf-8")
        return 0
    from benchmarks.tuning import of_methods, side

    found: dict[str, Any] = json.loads(asked.out.read_text("utf-8")) if asked.out.is_file() else {}
    for name in (name for name in asked.only or names() if name not in found):
        found[name] = measured(
            [{which: side(of_methods(name), which, "random") for which in ENGINES} for _ in range(asked.rounds)]
        )
        asked.out.write_text(json.dumps(dict(sorted(found.items())), indent=1) + "\n", encoding="utf-8")
        show({name: found[name]})
    show(found)
    return 0


def measured(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Of turns of both engines: the adapter's parameters; tokens a second, seconds a step, bytes at the peak; and ours over PEFT's."""
    speed = {
        which: statistics.median(turn[which]["tokens"] / turn[which]["seconds"] for turn in rounds) for which in ENGINES
    }
    peak = {which: max(turn[which]["peak"] for turn in rounds) for which in ENGINES}
    return {
        "parameters": rounds[0]["ours"]["parameters"],
        "step": round(statistics.median(turn["ours"]["seconds"] / turn["ours"]["steps"] for turn in rounds), 3),
        "tokens_per_second": {which: round(value) for which, value in speed.items()},
        "peak": peak,
        "speed": round(speed["ours"] / speed["peft"], 3),
        "memory": round(peak["ours"] / peak["peft"], 3),
    }


def show(found: Mapping[str, Any]) -> None:
    table = Table(
        "method",
        "parameters",
        "step",
        "tokens/s, ours / peft",
        "",
        "peak memory, ours / peft",
        "",
        title="training step on full windows",
    )
    for name, row in found.items():
        speed, peak = row["tokens_per_second"], row["peak"]
        table.add_row(
            name, f"{row['parameters']:,}", f"{row['step']:.2f} s", f"{speed['ours']} / {speed['peft']}", f"{row['speed']:.2f}",
            f"{peak['ours'] / 1e9:.2f} / {peak['peft'] / 1e9:.2f} GB", f"{row['memory']:.2f}",
        )  # fmt: skip
    Console().print(table)


def with_table(text: str) -> str:
    """The page with the table of its figures."""
    before, _, rest = text.partition(START)
    return f"{before}{START}{_table()}{END}{rest.partition(END)[2]}"


def _table() -> str:
    found: Mapping[str, Any] = json.loads(FIGURES.read_text("utf-8"))
    rows = [
        "| method | parameters | a step | of PEFT's tokens/s | peak | of PEFT's | what for | paper |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    for name in names():
        rows.append(
            f"| {name} | {_figures(name, found)} | {SUITS.get(name, '')} | {_paper(VARIANTS.get(name, (name,))[0])} |"
        )
    return "\n".join(rows) + "\n"


def _figures(name: str, found: Mapping[str, Any]) -> str:
    if name not in found:
        return "not measured | | | | "
    row = found[name]
    cells = (
        f"{row['parameters']:,}",
        f"{row['step']:.2f} s",
        f"{row['speed']:.2f}",
        f"{row['peak']['ours'] / 1e9:.2f} GB",
        f"{row['memory']:.2f}",
    )
    return " | ".join(cells)


def _paper(method: str) -> str:
    """The first link of the method's file."""
    said = import_module(homes()[method]).__doc__ or ""
    link = re.search(r"https://[^\s,;)]+", said)
    return f"[paper]({link[0].rstrip('.')})" if link else "PEFT's"


if __name__ == "__main__":
    sys.exit(main())
