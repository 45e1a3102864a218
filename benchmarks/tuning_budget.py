"""AdaLoRA's promise: as good as LoRA with 40 to 50 % fewer parameters. Trains both on the same windows of text, and compares the held-out loss.

    python -m benchmarks.tuning_budget --out runs/budget            the same command again goes on where it was stopped
    python -m benchmarks.tuning_budget --out runs/tiny --rehearse   a model of random weights, seconds
    python -m benchmarks.tuning_budget --out runs/budget --table    the table of the runs that are over

The base is SmolLM2-135M (`starling install-model`), text is this repository's Python and Markdown: every eighth file is held out. All methods
see the same windows in the same order, on all linear layers. Each has the learning rate of `--lr` that gives it the lowest held-out loss.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parent.parent
RANK = 8
SIDES: Mapping[
    str, tuple[str, dict[str, Any]]
] = {  # name -> PEFT's config, and its options; a budget is a rank on average
    "LoRA": ("LoraConfig", {"r": RANK, "lora_alpha": 2 * RANK}),
    "LoRA, half": ("LoraConfig", {"r": RANK // 2, "lora_alpha": RANK}),
    "AdaLoRA": ("AdaLoraConfig", {"init_r": 12, "target_r": RANK, "lora_alpha": 24}),
    "AdaLoRA, fewer": ("AdaLoraConfig", {"init_r": 8, "target_r": 4, "lora_alpha": 16}),
}


def main() -> int:
    """Returns the exit code."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", type=Path, required=True, help="the folder of the runs")
    arguments.add_argument("--steps", type=int, default=60, help="the optimiser's steps of each run (default 60)")
    arguments.add_argument("--window", type=int, default=256, help="tokens a window (default 256)")
    arguments.add_argument("--batch", type=int, default=4, help="windows a step (default 4)")
    arguments.add_argument("--held-out", type=int, default=40, help="windows that are held out (default 40)")
    arguments.add_argument(
        "--lr", type=float, nargs="+", default=[1e-3, 4e-3], help="learning rates to try (default 1e-3 4e-3)"
    )
    arguments.add_argument("--only", nargs="+", choices=SIDES, default=list(SIDES), help="these alone are trained")
    arguments.add_argument("--rehearse", action="store_true", help="a tiny model with random weights, a few steps")
    arguments.add_argument("--table", action="store_true", help="train nothing")
    asked = arguments.parse_args()
    if asked.rehearse:
        asked.steps, asked.window, asked.held_out, asked.lr = 12, 32, 4, asked.lr[:1]
    if not asked.table:
        parts = windows(asked)
        for name in asked.only:
            for rate in asked.lr:
                run(name, rate, parts, asked)
    show(asked)
    return 0


def windows(asked: argparse.Namespace) -> tuple[list[list[int]], list[list[int]]]:
    """Runs of `window` tokens to train on, as many as are needed, and to hold out; shuffled with a seed."""
    import random

    import transformers

    from tuning.ranking.learning.torch_models import default_folder

    paths = [path for part in ("lsp_server", "corpus", "tuning", "docs") for path in sorted((ROOT / part).rglob("*"))]
    texts = [path.read_text("utf-8") for path in paths if path.suffix in (".py", ".md")]
    if asked.rehearse:
        ids: list[list[int]] = [list(text.encode()) for text in texts]
    else:
        ids = transformers.AutoTokenizer.from_pretrained(default_folder())(texts)["input_ids"]
    parts: tuple[list[list[int]], list[list[int]]] = [], []
    for number, document in enumerate(ids):
        starts = range(0, len(document) - asked.window + 1, asked.window)
        parts[number % 8 == 7].extend(document[start : start + asked.window] for start in starts)
    for part in parts:
        random.Random(0).shuffle(part)
    return parts[0][: asked.steps * asked.batch], parts[1][: asked.held_out]


def model_of(asked: argparse.Namespace) -> Any:
    import torch
    import transformers

    from tuning.ranking.learning.torch_models import default_folder

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    if not asked.rehearse:
        return transformers.AutoModelForCausalLM.from_pretrained(default_folder(), dtype=torch.float32)
    small: dict[str, Any] = {"vocab_size": 256, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(**small, num_attention_heads=2, num_key_value_heads=2)
    )


def run(name: str, rate: float, parts: Sequence[Sequence[Any]], asked: argparse.Namespace) -> None:
    """Train one side to its end, from where it was stopped; leaves `result.json` in its folder."""
    import tuning
    from tuning.training.loop import train
    from tuning.training.options import Options

    folder = folder_of(name, rate, asked)
    if (folder / "result.json").is_file():
        return
    kind, options = SIDES[name]
    if kind == "AdaLoraConfig":
        tenth = max(1, asked.steps // 10)
        options = {**options, "total_step": asked.steps, "tinit": tenth, "tfinal": 3 * tenth, "orth_reg_weight": 0.1}
    config: Any = getattr(tuning, kind)
    model = tuning.get_peft_model(
        model_of(asked), config(task_type="CAUSAL_LM", target_modules="all-linear", **options)
    )
    how = Options(
        lr=rate, warmup=asked.steps // 20, window=asked.window, batch_size=asked.batch, steps=asked.steps,
        save_every=max(1, asked.steps // 10), eval_every=asked.steps,
    )  # fmt: skip
    found = train(model, parts[0], how, evaluation=parts[1], out=folder, show=False)
    kept = sum(tensor.numel() for tensor in tuning.get_peft_model_state_dict(model).values())
    (folder / "result.json").write_text(json.dumps({"held_out": found.best, "parameters": kept}) + "\n")
    print(f"{name}, learning rate {rate:g}: held-out loss {found.best:.4f}, {kept:,} parameters", flush=True)


def folder_of(name: str, rate: float, asked: argparse.Namespace) -> Path:
    return asked.out / f"{name.lower().replace(', ', '-')}@{rate:g}"


def show(asked: argparse.Namespace) -> None:
    table = Table("method", "parameters", "of LoRA's", "learning rate", "held-out loss", "to LoRA's")
    found: dict[str, tuple[float, float, int]] = {}
    for name in SIDES:
        results = {
            float(path.parent.name.rpartition("@")[2]): json.loads(path.read_text("utf-8"))
            for path in asked.out.glob(f"{folder_of(name, 0, asked).name.removesuffix('0')}*/result.json")
        }
        if results:
            best = min(results, key=lambda rate: results[rate]["held_out"])
            found[name] = results[best]["held_out"], best, results[best]["parameters"]
    if "LoRA" not in found:
        print("no run of LoRA is over: run this again without --table", file=sys.stderr)
        return
    lora, _, count = found["LoRA"]
    for name, (loss, rate, parameters) in found.items():
        table.add_row(
            name, f"{parameters:,}", f"{parameters / count:.0%}", f"{rate:g}", f"{loss:.4f}", f"{loss - lora:+.4f}"
        )
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
