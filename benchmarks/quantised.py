"""The memory of a frozen base and of one training step on it: float32, bfloat16, 8 bit and 4 bit (NF4, double quantisation).

    python -m benchmarks.quantised            SmolLM2-135M, LoRA r = 16 on all linear layers, one window of 128 tokens
    python -m benchmarks.quantised --random   random weights in its shape, where the model is not installed: as many bytes

Bytes are those of the weights with what dequantises them; embeddings and norms of the quantised bases are bfloat16. Each way runs in a
process of its own. "held" is the resident memory that it has once the base is loaded, "peak" the highest during the step, both without
what an empty process with the same libraries has; bfloat16 is slow on a CPU without its instructions. Linux only. Ends with an error where the linear layers are not 86 % smaller at NF4, or the whole not 72 %.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tuning.ranking.learning.torch_models import default_folder
from tuning.ranking.serving.model.model_store import is_installed

WAYS = ("float32", "bfloat16", "int8", "nf4")
WINDOW, RANK = 128, 16
WANTED = {"linear": 0.86, "whole": 0.72}  # of float32's bytes saved at NF4
SHAPE: dict[str, Any] = {
    "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
    "num_key_value_heads": 3, "max_position_embeddings": 8192, "tie_word_embeddings": True,
}  # fmt: skip
MIB = 1 << 20


def main() -> int:
    """Returns the exit code."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--random", action="store_true", help="random weights in the model's shape")
    arguments.add_argument("--window", type=int, default=WINDOW, help="tokens of the step (default 128)")
    arguments.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    arguments.add_argument("--base", type=Path, help=argparse.SUPPRESS)
    asked = arguments.parse_args()
    if asked.way:
        print(json.dumps(measured(asked.way, asked.base, asked.window)))
        return 0
    if not asked.random and not is_installed():
        message = (
            "The base model is not installed. Run: starling install-model (or add --random: its shape, random weights)"
        )
        print(message, file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        base = written(Path(folder)) if asked.random else default_folder()
        figures = {way: in_its_own_process(way, base, asked.window) for way in WAYS}
    return report(figures, asked.window, "random weights in SmolLM2-135M's shape" if asked.random else "SmolLM2-135M")


def written(folder: Path) -> Path:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    model: Any = LlamaForCausalLM(LlamaConfig(**SHAPE))
    model.to(torch.bfloat16).save_pretrained(folder)
    return folder


def in_its_own_process(way: str, base: Path, window: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.quantised", "--way", way, "--base", str(base)]
    command += ["--window", str(window)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent.parent)
    if done.returncode != 0:
        raise SystemExit(f"{way}: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def measured(way: str, base: Path, window: int) -> dict[str, float]:
    """Bytes of the weights, and resident memory, of one way in this process."""
    import torch

    import tuning

    import_module("bitsandbytes")  # in every process, so that they differ in the model alone
    torch.nn.Linear(8, 8)(torch.ones(1, 8)).sum().backward()
    empty = resident("VmRSS")
    model = loaded(way, base)
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.clone()  # out of the file, all of whose pages would count
    held = resident("VmRSS") - empty
    linear, whole = bytes_of(model)
    adapted = tuning.get_peft_model(model, tuning.LoraConfig(r=RANK, target_modules="all-linear")).train()
    optimiser = torch.optim.AdamW([parameter for parameter in adapted.parameters() if parameter.requires_grad])
    torch.manual_seed(0)
    ids = torch.randint(0, SHAPE["vocab_size"], (1, window))
    Path("/proc/self/clear_refs").write_text("5")  # the highest resident memory counts from here
    loss = adapted(input_ids=ids, labels=ids).loss
    loss.backward()
    optimiser.step()
    return {"linear": linear, "whole": whole, "held": held, "peak": resident("VmHWM") - empty, "loss": float(loss)}


def resident(which: str) -> int:
    """Bytes of resident memory now (VmRSS) or at most (VmHWM); what was freed is given back first."""
    if which == "VmRSS":
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(which))
    return int(line.split()[1]) * 1024


def loaded(way: str, base: Path) -> Any:
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
    from tuning.targets import candidates
    from tuning.tied import tied_paths

    heads = set(tied_paths(model))
    linear = sum(
        sum(tensor.nbytes for tensor in module.state_dict().values())
        for path, module in candidates(model)
        if hasattr(module, "in_features") and path not in heads
    )
    whole = {tensor.data_ptr(): tensor.nbytes for tensor in model.state_dict().values()}
    return linear, sum(whole.values())


def report(figures: dict[str, dict[str, float]], window: int, what: str) -> int:
    table = Table(title=f"{what}: LoRA r = {RANK} on all linear layers, {window} tokens (MiB)")
    for column in ("base", "linear layers", "saved", "whole", "saved", "held", "peak", "loss"):
        table.add_column(column, justify="left" if column == "base" else "right")
    full = figures["float32"]
    for way, row in figures.items():
        cells = [way]
        for kind in ("linear", "whole"):
            cells += [f"{row[kind] / MIB:.1f}", f"{1 - row[kind] / full[kind]:.1%}"]
        table.add_row(*cells, f"{row['held'] / MIB:.0f}", f"{row['peak'] / MIB:.0f}", f"{row['loss']:.3f}")
    Console(width=120).print(table)
    missed = [kind for kind, share in WANTED.items() if 1 - figures["nf4"][kind] / full[kind] < share]
    for kind in missed:
        print(f"{kind}: less than {WANTED[kind]:.0%} saved at NF4", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
