"""This engine beside HF peft: the same model, data and seed, turn by turn in one run. `make bench-tuning`

    python -m benchmarks.tuning                        everything (about half an hour on two cores)
    python -m benchmarks.tuning --quick                the same table from short runs (below three minutes)
    python -m benchmarks.tuning --random               random weights in SmolLM2-135M's shape, where the model is not installed
    python -m benchmarks.tuning --tried                what was tried to make a step quick, each against the engine as it is

A step trains LoRA (r = 16, all linear layers) on windows of 512 tokens. "peft" is its plain loop: a document a row, padded to 512, the model's
own loss, AdamW. Tokens are those that are predicted; padding counts for nothing. Each side runs in a process of its own, whose peak is its memory.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.tuning_methods import ADAPTERS, MARKED, config_of, names
from tuning.ranking.learning.torch_models import default_folder
from tuning.ranking.serving.model.model_store import is_installed

WINDOW, RANK, SEED = 512, 16, 0
SHAPE: dict[str, Any] = {  # SmolLM2-135M's
    "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
    "num_key_value_heads": 3, "max_position_embeddings": 8192, "tie_word_embeddings": True, "rope_theta": 100000.0,
}  # fmt: skip
ROOT = Path(__file__).parent.parent
console = Console()


def main() -> int:
    """Returns the exit code."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--quick", action="store_true", help="one short round")
    arguments.add_argument("--random", action="store_true", help="random weights in the model's shape")
    arguments.add_argument("--tried", action="store_true", help="variants of the engine's own step")
    arguments.add_argument("--method", choices=names(), default="LORA", help=argparse.SUPPRESS)
    arguments.add_argument("--batch", type=int, default=4, help="rows a step (default 4; 2 with --quick)")
    arguments.add_argument("--json", type=Path, help="write the figures there too")
    arguments.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    arguments.add_argument("--data", help=argparse.SUPPRESS)
    arguments.add_argument("--steps", type=int, default=4, help=argparse.SUPPRESS)
    arguments.add_argument("--options", default="{}", help=argparse.SUPPRESS)
    asked = arguments.parse_args()
    if not asked.random and not is_installed():
        print(
            "The base model is not installed. Run: starling install-model (or add --random: its shape, random weights)",
            file=sys.stderr,
        )
        return 1
    if asked.side:
        if asked.data == "random":  # a method's step: other programs on the machine are not its time
            time.perf_counter = time.process_time
        print(json.dumps(SIDES[asked.side](asked)))
        return 0
    if asked.quick:
        asked.batch, asked.steps = 2, 2
    figures = tried(asked) if asked.tried else {**training(asked), **operations(asked)}
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0


# what both sides get


def model_of(asked: argparse.Namespace) -> Any:
    import torch
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(SEED)
    if asked.random:
        return transformers.LlamaForCausalLM(transformers.LlamaConfig(**SHAPE))
    return transformers.AutoModelForCausalLM.from_pretrained(default_folder(), dtype=torch.float32)


def documents(asked: argparse.Namespace) -> list[list[int]]:
    """This repository's Python and Markdown, a paragraph block a document ("blocks") or runs of 512 tokens ("full"), seeded."""
    import random

    if asked.data == "random":
        chance = random.Random(SEED)
        return [
            [chance.randrange(SHAPE["vocab_size"]) for _ in range(WINDOW)] for _ in range(asked.steps * asked.batch)
        ]
    texts = [
        path.read_text()
        for part in ("lsp_server", "corpus", "tuning", "docs")
        for path in sorted((ROOT / part).rglob("*"))
        if path.suffix in (".py", ".md")
    ]
    if asked.data == "blocks":
        texts = [block for text in texts for block in text.split("\n\n\n") if block.strip()]
    if asked.random:
        chance = random.Random(SEED)
        found = [[chance.randrange(SHAPE["vocab_size"]) for _ in range(len(text) // 4)] for text in texts]
    else:
        import transformers

        found = transformers.AutoTokenizer.from_pretrained(default_folder())(texts)["input_ids"]
    if asked.data == "full":
        found = [ids[start : start + WINDOW] for ids in found for start in range(0, len(ids) - WINDOW + 1, WINDOW)]
    else:
        found = [ids[:WINDOW] for ids in found if len(ids) > 1]
    random.Random(SEED).shuffle(found)
    return found[: 40 * asked.batch] if asked.data == "full" else found


def of_methods(method: str) -> argparse.Namespace:
    """What `side` is asked for a step of a method: two rows, and one step to warm up."""
    return argparse.Namespace(random=False, batch=2, steps=2, method=method)


# each side's loop, in a process of its own


def ours(asked: argparse.Namespace) -> dict[str, Any]:
    import tuning
    from tuning.training import report
    from tuning.training.loop import train
    from tuning.training.options import Options

    if asked.method in (*MARKED, "XLORA"):  # the engine's own loop trains plain rows, and not a mixture of adapters
        return _plain_loop(tuning, asked)
    given: dict[str, Any] = {"window": WINDOW, "batch_size": asked.batch, "steps": asked.steps, "seed": SEED}
    model = tuning.get_peft_model(model_of(asked), config_of(tuning, asked.method))
    options = Options(**given | json.loads(asked.options))
    with tempfile.TemporaryDirectory() as folder:
        train(model, documents(asked), options, out=Path(folder), show=False)
        lines = report.read(Path(folder) / report.METRICS)
    return _figures(model, [(line["tokens"], line["tokens"] / line["tokens_per_second"]) for line in lines])


def peft(asked: argparse.Namespace) -> dict[str, Any]:
    import peft as library

    return _plain_loop(library, asked)


def _plain_loop(engine: Any, asked: argparse.Namespace) -> dict[str, Any]:
    """What PEFT's own examples do."""
    import torch

    model = _adapted(engine, asked)
    optimiser = torch.optim.AdamW((entry for entry in model.parameters() if entry.requires_grad), lr=2e-4)
    data, steps = documents(asked), []
    model.train()
    for step in range(asked.steps):
        began = time.perf_counter()
        rows = data[step * asked.batch : (step + 1) * asked.batch]
        ids = torch.zeros(len(rows), WINDOW, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = torch.tensor(row)
            mask[number, : len(row)] = 1
        labels = ids.masked_fill(mask == 0, -100)
        marked = {
            "input_type_mask": torch.full_like(ids, 4),  # all of the row is a label
            "task_ids": torch.arange(len(rows)) % 2,
        }
        mark = MARKED.get(asked.method)
        extra = {mark: marked[mark]} if mark else {}
        loss = model(input_ids=ids, attention_mask=mask, labels=labels, **extra).loss
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        loss.item()
        steps.append((int((labels[:, 1:] != -100).sum()), time.perf_counter() - began))
    return _figures(model, steps)


def _adapted(engine: Any, asked: argparse.Namespace) -> Any:
    """The base with the method's adapter; X-LoRA's is over LoRA adapters made for it."""
    base, config = model_of(asked), config_of(engine, asked.method)
    if asked.method != "XLORA":
        return engine.get_peft_model(base, config)
    base.config.use_cache = False  # PEFT's demands it
    with tempfile.TemporaryDirectory() as folder:
        engine.get_peft_model(model_of(asked), config_of(engine, "LORA")).save_pretrained(folder)
        config.adapters = {str(number): folder for number in range(ADAPTERS)}  # the names that PEFT gives them
        return engine.get_peft_model(base, config)


def _figures(model: Any, steps: Sequence[tuple[int, float]]) -> dict[str, Any]:
    """Of all steps but the first, which warms up."""
    scale = 1 if sys.platform == "darwin" else 1024
    return {
        "tokens": sum(tokens for tokens, _ in steps[1:]),
        "seconds": sum(seconds for _, seconds in steps[1:]),
        "steps": len(steps) - 1,
        "parameters": sum(entry.numel() for entry in model.parameters() if entry.requires_grad),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale,
    }


SIDES: Mapping[str, Callable[[argparse.Namespace], dict[str, Any]]] = {"ours": ours, "peft": peft}


def side(asked: argparse.Namespace, which: str, data: str, **options: Any) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.tuning", "--side", which, "--data", data, "--batch", str(asked.batch)]
    command += [
        "--method",
        asked.method,
        "--steps",
        str(asked.steps),
        "--options",
        json.dumps(options),
        *(["--random"] if asked.random else []),
    ]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", **({"OMP_NUM_THREADS": "1"} if data == "random" else {})}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


# tables


def training(asked: argparse.Namespace) -> dict[str, Any]:
    table = Table(
        "data", "engine", "tokens/s", "peak memory", title=f"training step: {asked.batch} rows of {WINDOW} tokens"
    )
    figures: dict[str, Any] = {}
    for data in ("blocks", "full"):
        rounds = [{which: side(asked, which, data) for which in SIDES} for _ in range(1 if asked.quick else 3)]
        speed = {which: [turn[which]["tokens"] / turn[which]["seconds"] for turn in rounds] for which in SIDES}
        peak = {which: max(turn[which]["peak"] for turn in rounds) for which in SIDES}
        for which in SIDES:
            spread = f" ({min(speed[which]):.0f} to {max(speed[which]):.0f})" if len(rounds) > 1 else ""
            table.add_row(data, which, f"{statistics.median(speed[which]):.0f}{spread}", f"{peak[which] / 1e9:.2f} GB")
        ratio = statistics.median(a / b for a, b in zip(speed["ours"], speed["peft"], strict=True))
        table.add_row("", "ours / peft", f"{ratio:.2f}", f"{peak['ours'] / peak['peft']:.2f}", end_section=True)
        figures[data] = {
            "tokens_per_second": speed,
            "peak": peak,
            "speed_ratio": ratio,
            "memory_ratio": peak["ours"] / peak["peft"],
        }
    console.print(table)
    return figures


def operations(asked: argparse.Namespace) -> dict[str, Any]:
    """Building, switching and running adapters: both engines in this process, turn by turn."""
    import peft as library
    import torch
    import transformers

    import tuning

    engines: dict[str, Any] = {"ours": tuning, "peft": library}
    many = transformers.LlamaConfig(
        vocab_size=256,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=72,
        num_attention_heads=4,
        num_key_value_heads=4,
    )

    def config(engine: Any) -> Any:
        return engine.LoraConfig(r=RANK, target_modules="all-linear", task_type="CAUSAL_LM")

    def build(engine: Any) -> float:
        model = transformers.LlamaForCausalLM(many)
        gc.collect()  # what is left of the other engine's model is not this one's time
        began = time.perf_counter()
        engine.get_peft_model(model, config(engine))
        return time.perf_counter() - began

    models = {name: engine.get_peft_model(model_of(asked), config(engine)).eval() for name, engine in engines.items()}
    for name, engine in engines.items():
        models[name].add_adapter("other", config(engine))
    base, merged = (
        model_of(asked).eval(),
        tuning.get_peft_model(model_of(asked), config(tuning)).merge_and_unload().eval(),
    )
    ids = torch.randint(0, 49152, (1, WINDOW))

    def switch(name: str) -> float:
        began = time.perf_counter()
        models[name].set_adapter("other")
        models[name].set_adapter("default")
        return (time.perf_counter() - began) / 2

    @torch.no_grad()
    def forward(model: Any) -> float:
        began = time.perf_counter()
        model(input_ids=ids)
        return time.perf_counter() - began

    adapter = [entry for entry in models["ours"].parameters() if entry.requires_grad]
    for entry in adapter:
        entry.grad = torch.randn_like(entry)

    def stepping(**how: Any) -> Callable[[], float]:
        make: Any = torch.optim.AdamW  # what is given differs: foreach, fused
        optimiser = make(adapter, lr=0.0, **how)

        def step() -> float:
            began = time.perf_counter()
            optimiser.step()
            return time.perf_counter() - began

        return step

    turns = 5 if asked.quick else 21
    rows: dict[str, dict[str, Callable[[], float]]] = {
        "get_peft_model on 504 layers": {name: lambda engine=engine: build(engine) for name, engine in engines.items()},
        "switch of adapters on 210 layers": {name: lambda name=name: switch(name) for name in engines},
        "forward of 512 tokens, one LoRA": {name: lambda name=name: forward(models[name]) for name in engines},
        "forward of 512 tokens, merged": {"ours": lambda: forward(merged), "base": lambda: forward(base)},
        "AdamW's step": {"ours": stepping(fused=True), "plain": stepping()},
    }
    table = Table("operation", "ours", "beside", "ours / beside", title=f"median of {turns} turns, in ms")
    figures: dict[str, Any] = {}
    for what, sides in rows.items():
        taken: dict[str, list[float]] = {name: [] for name in sides}
        for turn in range(turns + 1):
            for name, run in sides.items():
                seconds = run()
                if turn:  # the first warms up
                    taken[name].append(seconds)
        first, second = (statistics.median(values) * 1000 for values in taken.values())
        beside = next(name for name in sides if name != "ours")
        table.add_row(what, f"{first:.2f}", f"{second:.2f} ({beside})", f"{first / second:.2f}")
        figures[what] = {"ours": first, beside: second}
    console.print(table)
    return figures


VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "as it is": {},
    "logits held whole": {"loss_chunk": 1 << 20},
    "chunks of 32 tokens": {"loss_chunk": 32},
    "chunks of 512 tokens": {"loss_chunk": 512},
    "padded, not packed": {"packing": False},
    "all rows at once": {"accumulation": 1},
    "gradient checkpointing": {"gradient_checkpointing": True},
    "bfloat16 autocast": {"bf16": True},
}


def tried(asked: argparse.Namespace) -> dict[str, Any]:
    """Each variant right after the engine as it is, and compared with that."""
    table = Table(
        "variant",
        "tokens/s",
        "of as it is",
        "peak memory",
        title=f"training step: {asked.batch} rows of {WINDOW} tokens, blocks",
    )
    figures: dict[str, Any] = {}
    for name, options in VARIANTS.items():
        plain = side(asked, "ours", "blocks")
        found = side(asked, "ours", "blocks", **options)
        speeds = [turn["tokens"] / turn["seconds"] for turn in (found, plain)]
        table.add_row(name, f"{speeds[0]:.0f}", f"{speeds[0] / speeds[1]:.2f}", f"{found['peak'] / 1e9:.2f} GB")
        figures[name] = {"tokens_per_second": speeds[0], "ratio": speeds[0] / speeds[1], "peak": found["peak"]}
    console.print(table)
    return figures


if __name__ == "__main__":
    sys.exit(main())
