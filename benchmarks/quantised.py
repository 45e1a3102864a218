"""The memory of a frozen base and of one training step on it: float32, bfloat16, 8 bit and 4 bit (NF4, double quantisation).

    python -m benchmarks.quantised            SmolLM2-135M, LoRA r = 16 on all linear layers, one window of 512 tokens
    python -m benchmarks.quantised --random   random weights in its shape, where the model is not installed: as many bytes

Bytes are those of the weights with what dequantises them; embeddings and norms of the quantised bases are bfloat16. Each way runs in a
process of its own: "base" is what it holds more than an empty one with the same libraries, "peak" its highest resident memory, which
counts pages of the model's file as well. Ends with an error where the linear layers are not 86 % smaller at NF4, or the whole not 72 %.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from tuning.ranking.base import default_base_dir, is_installed

WAYS = ("float32", "bfloat16", "int8", "nf4")
WINDOW, RANK = 512, 16
WANTED = {"linear": 0.86, "whole": 0.72}  # of float32's bytes saved at NF4
SHAPE = {
    "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
    "num_key_value_heads": 3, "max_position_embeddings": 8192, "tie_word_embeddings": True,
}  # fmt: skip
MIB = 1 << 20


def main() -> int:
    """Returns the exit code."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--random", action="store_true", help="random weights in the model's shape")
    arguments.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    arguments.add_argument("--base", type=Path, help=argparse.SUPPRESS)
    asked = arguments.parse_args()
    if asked.way:
        print(json.dumps(measured(asked.way, asked.base)))
        return 0
    if not asked.random and not is_installed():
        message = (
            "The base model is not installed. Run: starling install-model (or add --random: its shape, random weights)"
        )
        print(message, file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        base = written(Path(folder)) if asked.random else default_base_dir()
        figures = {way: in_its_own_process(way, base) for way in WAYS}
    return report(figures, "random weights in SmolLM2-135M's shape" if asked.random else "SmolLM2-135M")


def written(folder: Path) -> Path:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**SHAPE)).to(torch.bfloat16).save_pretrained(folder)
    return folder


def in_its_own_process(way: str, base: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.quantised", "--way", way, "--base", str(base)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent.parent)
    if done.returncode != 0:
        raise SystemExit(f"{way}: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def measured(way: str, base: Path) -> dict[str, float]:
    """Bytes of the weights, and resident memory, of one way in this process."""
    import torch

    import tuning

    empty = psutil.Process().memory_info().rss
    model = loaded(way, base)
    held = psutil.Process().memory_info().rss - empty
    linear, whole = bytes_of(model)
    adapted = tuning.get_peft_model(model, tuning.LoraConfig(r=RANK, target_modules="all-linear")).train()
    optimiser = torch.optim.AdamW([parameter for parameter in adapted.parameters() if parameter.requires_grad])
    torch.manual_seed(0)
    ids = torch.randint(0, SHAPE["vocab_size"], (1, WINDOW))
    loss = adapted(input_ids=ids, labels=ids).loss
    loss.backward()
    optimiser.step()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"linear": linear, "whole": whole, "base": held, "peak": peak, "loss": float(loss)}


def loaded(way: str, base: Path) -> Any:
    import bitsandbytes  # noqa: F401  # in every process, so that they differ in the model alone
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    if way in ("float32", "bfloat16"):
        return AutoModelForCausalLM.from_pretrained(base, dtype=getattr(torch, way))
    if way == "int8":
        options = BitsAndBytesConfig(load_in_8bit=True)
    else:
        options = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )  # fmt: skip
    return AutoModelForCausalLM.from_pretrained(
        base, quantization_config=options, dtype=torch.bfloat16, device_map="cpu"
    )


def bytes_of(model: Any) -> tuple[int, int]:
    """(of linear layers but the tied head, of all weights); what is shared counts once."""
    from tuning.targets import candidates, tied_paths

    heads = set(tied_paths(model))
    linear = sum(
        sum(tensor.nbytes for tensor in module.state_dict().values())
        for path, module in candidates(model)
        if hasattr(module, "in_features") and path not in heads
    )
    whole = {tensor.data_ptr(): tensor.nbytes for tensor in model.state_dict().values()}
    return linear, sum(whole.values())


def report(figures: dict[str, dict[str, float]], what: str) -> int:
    table = Table(title=f"{what}: LoRA r = {RANK} on all linear layers, {WINDOW} tokens (MiB)")
    for column in ("base", "linear layers", "saved", "whole", "saved", "held by the base", "peak of a step", "loss"):
        table.add_column(column, justify="left" if column == "base" else "right")
    full = figures["float32"]
    for way, row in figures.items():
        cells = [way]
        for kind in ("linear", "whole"):
            cells += [f"{row[kind] / MIB:.1f}", f"{1 - row[kind] / full[kind]:.1%}"]
        table.add_row(*cells, f"{row['base'] / MIB:.0f}", f"{row['peak'] / MIB:.0f}", f"{row['loss']:.3f}")
    Console(width=120).print(table)
    missed = [kind for kind, share in WANTED.items() if 1 - figures["nf4"][kind] / full[kind] < share]
    for kind in missed:
        print(f"{kind}: less than {WANTED[kind]:.0%} saved at NF4", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
