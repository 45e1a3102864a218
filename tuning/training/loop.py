"""Training: the optimiser's steps, from the first or from where a run was stopped, to the last.

    from tuning.training.loop import train
    from tuning.training.options import Options
    train(model, documents, Options(lr=1e-4), out=Path("runs/first"))       documents: sequences of token ids

Of a model only what takes gradients is trained. `state.py` has what a run goes on from, `objective.py` what is minimised.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tuning.errors import ConfigError, TrainingError
from tuning.prompts import Prompts
from tuning.training import distributed, resuming
from tuning.training.feed import Documents, Examples, Feed
from tuning.training.objective import Loss, Objective, check, evaluating, on_device
from tuning.training.options import Options
from tuning.training.precision import autocast, computes_bf16, held_as_bf16
from tuning.training.report import Report
from tuning.training.state import Progress, put, restore, snapshot, state_of, tuner_in

FULL = 512  # tokens
FREE_TO_CHANGE = ("save_every", "accumulation", "sharded", "gradient_checkpointing", "loss_chunk")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """`loss` is the last step's, `best` the lowest of an evaluation, whose weights the model then has."""

    steps: int
    loss: float | None
    best: float | None
    best_step: int
    stopped_early: bool


def train(
    model: nn.Module,
    data: Sequence[Any],
    options: Options,
    *,
    loss: Loss | None = None,
    collate: Callable[[list[Any]], Any] | None = None,
    evaluation: Sequence[Any] | None = None,
    out: Path | None = None,
    show: bool = True,
    unit: str = "tokens",
    stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Train in place; with `out`, keep checkpoints and metrics there, and go on from what a stopped run left.

    `stop` is asked after each step, and ends the run there as if it were the last (of a group, any process' does).
    `data` and `evaluation` are documents (sequences of token ids), or with `collate` examples of any kind, of which it makes batches.
    `loss(model, batch)` gives a mean over the batch, or (a sum, over how many); `unit` is what these are called. Every process of a group calls this alike.
    Raises TrainingError, ConfigError, CheckpointError, OSError.
    """
    if options.patience is not None and evaluation is None:
        raise ConfigError("patience counts evaluations: give evaluation data, or leave it out")
    run = _Run(model, options, loss, _fed(model, data, options, collate), out, show, unit, stop)
    evaluated = None if evaluation is None else _fed(model, evaluation, options, collate)
    try:
        with held_as_bf16(model) if run.bf16 and not options.sharded else nullcontext():
            return run.run(evaluated)
    finally:
        run.undo()


def _fed(model: nn.Module, data: Sequence[Any], options: Options, collate: Callable[[list[Any]], Any] | None) -> Feed:
    if collate is not None:
        return Examples(data, collate, seed=options.seed)
    packing = options.packing and not isinstance(getattr(model, "held", None), Prompts)
    return Documents(data, window=options.window, packing=packing, seed=options.seed)


class _Run:
    def __init__(
        self,
        model: nn.Module,
        options: Options,
        loss: Loss | None,
        feed: Feed,
        out: Path | None,
        show: bool,
        unit: str,
        stop: Callable[[], bool],
    ) -> None:
        self.model, self.options, self.feed, self.out, self.unit, self.stop = model, options, feed, out, unit, stop
        self.group = distributed.current()
        self.show = show and self.group.writes
        self.named = {name: entry for name, entry in model.named_parameters() if entry.requires_grad}
        self.trained = list(self.named.values())
        if not self.trained:
            raise TrainingError("nothing in this model takes gradients: give it an adapter, or set_adapter one")
        self.device = self.trained[0].device
        self.modes = {module: module.training for module in model.modules()}
        self.objective = Objective(model, loss, options.loss_chunk)
        if isinstance(feed, Documents):
            check(self.objective, packing=feed.packing)
        if options.sharded:
            distributed.shard(self.objective, self.group)
        self.group.same_start(self.trained)
        self.bf16 = computes_bf16(self.device) if options.bf16 is None else options.bf16
        self.optimiser = torch.optim.AdamW(
            _decaying(self.trained, options.weight_decay), lr=options.lr, fused=_fused(self.trained)
        )
        self.rows_an_epoch = len(feed.epoch(0))
        self.steps_an_epoch = math.ceil(self.rows_an_epoch / options.batch_size)
        self.total = options.steps or options.epochs * self.steps_an_epoch
        self.progress = Progress()
        self.best: dict[str, Tensor] = {}
        self._epoch: tuple[int, Sequence[Any]] = (-1, ())

    def run(self, evaluation: Feed | None) -> Outcome:
        self._resume(evaluation)
        self.model.train()
        if self.options.gradient_checkpointing:
            _checkpoint_layers(self.model)
        every = self.options.eval_every or self.steps_an_epoch
        progress = self.progress
        out = self.out if self.group.writes else None
        with Report(out, self.total, done=progress.step, show=self.show, unit=self.unit) as report:
            while progress.step < self.total and not progress.stopped:
                loss, figures = self._step(progress.step)
                progress.step, progress.loss = progress.step + 1, loss
                report.step(progress.step, loss=loss, **figures)
                last = progress.step == self.total
                if not last:
                    progress.stopped = last = self.group.summed([float(self.stop())], self.device)[0] > 0
                if evaluation is not None and (last or progress.step % every == 0):
                    found = self._evaluate(evaluation)
                    report.evaluation(progress.step, found)
                    self._judge(found)
                if last or progress.stopped or progress.step % self.options.save_every == 0:
                    self._save(evaluation)
        if self.best:
            put(self.model, self.best)
        self.group.wait()
        return Outcome(
            steps=progress.step,
            loss=progress.loss,
            best=progress.best,
            best_step=progress.best_step,
            stopped_early=progress.stopped,
        )

    def undo(self) -> None:
        """The model as it was, but for what it learned."""
        if self.options.gradient_checkpointing:
            getattr(self.model, "gradient_checkpointing_disable", lambda: None)()
        for module, training in self.modes.items():
            module.training = training

    # a step

    def _step(self, step: int) -> tuple[float, dict[str, Any]]:
        resuming.seed_all(self.options.seed, step, self.group.rank)
        rate = self._rate(step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        rows = self.group.share(self._rows(step))
        total, count, bad = 0.0, 0, []
        for part in _parts(rows, self._rows_at_once(len(rows))):
            batch = self.feed.batch(part)
            if batch is None:
                continue
            with autocast(self.device, self.bf16):
                loss, many = self.objective(on_device(batch, self.device))
            if loss.requires_grad:
                loss.backward()
            value = loss.item()
            if not math.isfinite(value):
                bad += self.feed.names(part)
            total, count = total + value, count + many
        total, count = self.group.summed([total, count], self.device)
        if not math.isfinite(total):
            raise TrainingError(self._not_finite("loss", step, total, bad))
        self.group.sum_gradients(self.trained)
        norm = self._scaled(1 / max(count, 1))
        if not math.isfinite(norm):
            raise TrainingError(self._not_finite("norm of the gradients", step, norm, self.feed.names(rows)))
        self.optimiser.step()
        if (tuner := tuner_in(self.model)) is not None:
            tuner.update_and_allocate(step + 1)
        self.optimiser.zero_grad(set_to_none=True)
        epoch = (step + 1) / self.steps_an_epoch
        return total / max(count, 1), {"count": int(count), "lr": rate, "norm": norm, "epoch": round(epoch, 4)}

    def _rows(self, step: int) -> Sequence[Any]:
        epoch, place = divmod(step, self.steps_an_epoch)
        if self._epoch[0] != epoch:
            self._epoch = epoch, self.feed.epoch(epoch)
        start = place * self.options.batch_size
        return self._epoch[1][start : start + self.options.batch_size]

    def _rows_at_once(self, share: int) -> int:
        """How many rows of its share a process computes together. A CPU gains nothing from more than fill its matrices."""
        if self.options.accumulation is not None:
            return max(1, math.ceil(share / self.options.accumulation))
        if self.device.type == "cpu" and isinstance(self.feed, Documents):
            return max(1, FULL // self.options.window)
        return max(1, share)

    def _rate(self, step: int) -> float:
        return self.options.lr * scheduled(self.options.schedule, step, self.total, self.options.warmup)

    def _scaled(self, factor: float) -> float:
        """Make gradients of a sum those of a mean, clip them; returns their norm before that."""
        found = [entry.grad for entry in self.trained if entry.grad is not None]
        if not found:
            raise TrainingError("the loss depends on nothing that is trained")
        for gradient in found:
            gradient.mul_(factor)
        norm = torch.nn.utils.get_total_norm(found)
        if self.options.clip:
            torch.nn.utils.clip_grads_with_norm_(self.trained, self.options.clip, norm)
        return norm.item()

    def _not_finite(self, what: str, step: int, value: float, bad: Sequence[int]) -> str:
        named = sorted({name for names in self.group.gathered(list(bad)) for name in names})
        shown = ", ".join(map(str, named[:20])) + (f" and {len(named) - 20} more" if len(named) > 20 else "")
        return (
            f"the {what} is {value} in step {step + 1} (batch {step % self.steps_an_epoch} of epoch {step // self.steps_an_epoch}), "
            f"with documents {shown} (counted from 0). Look at these, or try a lower lr"
        )

    # evaluation

    @torch.no_grad()
    def _evaluate(self, feed: Feed) -> float:
        total, count = 0.0, 0
        rows = self.group.share(feed.epoch(0))
        size = self._rows_at_once(math.ceil(self.options.batch_size / self.group.size))
        rounds = math.ceil(math.ceil(len(feed.epoch(0)) / self.group.size) / size)  # as many in each process
        with evaluating(self.model), autocast(self.device, self.bf16):
            for place in range(rounds):
                batch = feed.batch(rows[place * size : (place + 1) * size])
                if batch is None:
                    continue
                loss, many = self.objective(on_device(batch, self.device))
                total, count = total + loss.item(), count + many
        total, count = self.group.summed([total, count], self.device)
        return total / max(count, 1)

    def _judge(self, found: float) -> None:
        progress = self.progress
        if progress.best is None or found < progress.best:
            progress.best, progress.best_step, progress.worse = found, progress.step, 0
            self.best = snapshot(self.model)
        else:
            progress.worse += 1
            progress.stopped |= self.options.patience is not None and progress.worse >= self.options.patience

    # going on

    def _facts(self, evaluation: Feed | None) -> dict[str, Any]:
        asked = {key: value for key, value in asdict(self.options).items() if key not in FREE_TO_CHANGE}
        return {
            **asked,
            "data": self.feed.fingerprint(),
            "evaluation": None if evaluation is None else evaluation.fingerprint(),
            "trained": f"{len(self.trained)} tensors, {sum(entry.numel() for entry in self.trained)} parameters",
        }

    def _save(self, evaluation: Feed | None) -> None:
        if self.out is not None and self.group.writes:
            state = state_of(self.model, self.named, self.optimiser, self.best, self.progress, self._facts(evaluation))
            resuming.write(self.out, self.progress.step, state)

    def _resume(self, evaluation: Feed | None) -> None:
        if self.out is None:
            return
        if self.group.writes:
            self.out.mkdir(parents=True, exist_ok=True)
        self.group.wait()
        state = resuming.read(self.out)
        if state is not None:
            resuming.check_same(state.facts["started"], self._facts(evaluation), self.out)
            self.progress, self.best = restore(state, self.model, self.named, self.optimiser)
        self.group.wait()


def scheduled(schedule: str, step: int, total: int, warmup: int) -> float:
    """The share of the highest learning rate that a step (from 0) has: rising over the warm-up, then falling to 0 at the end, or not."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    done = (step - warmup) / max(total - warmup, 1)
    shares: dict[str, float] = {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}
    return shares[schedule]


def _parts(rows: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Rows, so many at a time; at least one part, which may be empty."""
    for start in range(0, max(len(rows), 1), size):
        yield rows[start : start + size]


def _decaying(parameters: Sequence[nn.Parameter], decay: float) -> list[dict[str, Any]]:
    """Matrices decay; biases, norms and magnitudes don't."""
    groups = (
        ([entry for entry in parameters if entry.ndim >= 2], decay),
        ([entry for entry in parameters if entry.ndim < 2], 0.0),
    )
    return [{"params": group, "weight_decay": value} for group, value in groups if group]


def _fused(parameters: Sequence[nn.Parameter]) -> bool:
    return all(entry.is_floating_point() and entry.device.type in ("cpu", "cuda") for entry in parameters)


def _checkpoint_layers(model: nn.Module) -> None:
    enable = getattr(model, "gradient_checkpointing_enable", None)
    if enable is None:
        raise ConfigError(f"{type(model).__name__} can't compute its layers again: leave gradient_checkpointing out")
    enable(gradient_checkpointing_kwargs={"use_reentrant": False})
