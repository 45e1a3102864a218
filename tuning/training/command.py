"""`python -P -m tuning train`: settings to an adapter in a folder."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from rich.console import Console

from tuning.errors import LibraryMissing
from tuning.loading import base_model, tokenizer
from tuning.mapping import get_peft_model
from tuning.tasks import PeftModel
from tuning.training import distributed, report
from tuning.training.loop import Outcome
from tuning.training.loop import train as run
from tuning.training.precision import computes_bf16
from tuning.training.reading import texts, tokenised
from tuning.training.resuming import seed_all
from tuning.training.settings import Base, Settings, method_config


def train(settings: Settings, *, show: bool = True) -> Outcome:
    """Train, and write adapter, metrics and plot into the settings' folder. Raises TuningError, OSError."""
    with distributed.joined() as group:
        console = Console(stderr=True, quiet=not (show and group.writes))
        out = settings.folder / settings.out
        config = method_config(settings.method)
        where = _where(settings)
        encoder = tokenizer(where, online=settings.base.online)
        documents = tokenised(encoder, texts(settings.data.train, settings.data.column, settings.folder))
        held = settings.data.evaluation
        evaluation = tokenised(encoder, texts(held, settings.data.column, settings.folder)) if held else None
        seed_all(settings.training.seed)
        model = get_peft_model(_base(where, settings.base), config)
        trainable, total = model.get_nb_trainable_parameters()
        console.print(
            f"{config.METHOD} on {where}: {trainable:,} of {total:,} parameters ({trainable / total:.2%}), "
            f"{len(documents):,} documents, {sum(map(len, documents)):,} tokens",
            soft_wrap=True,
        )
        outcome = run(model, documents, settings.training, evaluation=evaluation, out=out, show=show)
        if group.writes:
            _finish(model, out, outcome, console)
        group.wait()
        return outcome


def _where(settings: Settings) -> str:
    beside = settings.folder / Path(settings.base.path).expanduser()
    return str(beside) if beside.is_dir() or not settings.base.online else settings.base.path


def _base(where: str, base: Base) -> torch.nn.Module:
    device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
    dtype = ("bfloat16" if computes_bf16(device) else "float32") if base.dtype == "auto" else base.dtype
    model = base_model(where, dtype=dtype, quantise=base.quantise, online=base.online)
    if base.quantise != "none":
        from tuning.quantised import prepare_model_for_kbit_training

        return prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    return model.to(device)


def _finish(model: PeftModel, out: Path, outcome: Outcome, console: Console) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save_pretrained(out)
    try:
        report.plot(out / report.METRICS, out / report.PLOT)
        drawn = f", loss over steps in {report.PLOT}"
    except LibraryMissing as error:
        drawn = f". {error}"
    best = (
        ""
        if outcome.best is None
        else f", evaluation {outcome.best:.4f} after step {outcome.best_step}, whose weights are kept"
    )
    stopped = ", stopped early" if outcome.stopped_early else ""
    last = "" if outcome.loss is None else f", loss {outcome.loss:.4f}"
    console.print(f"{outcome.steps} steps{stopped}{last}{best}. The adapter is in {out}{drawn}", soft_wrap=True)
