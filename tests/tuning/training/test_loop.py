"""Training learns, counts each token alike however a batch is computed, and stops where it has to."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.tuning.oracle import tiny_gpt2
from tests.tuning.training.running import SMALL, adapted, documents, run
from tuning.errors import ConfigError, TrainingError
from tuning.training import report
from tuning.training.loop import scheduled, train
from tuning.training.options import Options


def same(ours: dict[str, Tensor], theirs: dict[str, Tensor], precision: float = 1e-9) -> None:
    assert sorted(ours) == sorted(theirs)
    for name in ours:
        assert torch.allclose(ours[name], theirs[name], rtol=0, atol=precision), name


def test_the_loss_falls_and_only_the_adapter_changes(tmp_path: Path) -> None:
    model = adapted()
    before = {name: entry.clone() for name, entry in model.named_parameters()}
    outcome, after = run(tmp_path, model, epochs=8)
    lines = [line for line in report.read(tmp_path / report.METRICS) if "loss" in line]
    assert len(lines) == outcome.steps
    assert lines[-1]["loss"] < 0.7 * lines[0]["loss"]
    changed = {name for name, entry in model.named_parameters() if not torch.equal(entry, before[name])}
    assert changed == set(after)


@pytest.mark.parametrize(
    "options",
    [{"accumulation": 3}, {"loss_chunk": 3}, {"gradient_checkpointing": True}, {"accumulation": 4, "loss_chunk": 7}],
    ids=str,
)
def test_how_a_batch_is_computed_changes_nothing(options: dict[str, Any]) -> None:
    same(run(None, adapted(), **options)[1], run(None, adapted())[1])


def test_a_loss_of_the_callers_own() -> None:
    def loss(model: Any, batch: dict[str, Any]) -> tuple[Tensor, int]:
        labels = batch["labels"][:, 1:]
        logits = model(**batch).logits[:, :-1]
        total = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum")
        return total, int((labels != -100).sum())

    ours, own = adapted(), adapted()
    train(ours, documents(), Options(**SMALL), show=False)
    train(own, documents(), Options(**SMALL), loss=loss, show=False)
    same(dict(own.named_parameters()), dict(ours.named_parameters()))


def test_examples_of_any_kind_with_a_mean_of_the_callers() -> None:
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1)
    weights = torch.tensor([[1.0, -2.0, 0.5]])
    examples = [torch.randn(3) for _ in range(64)]

    def loss(model: torch.nn.Module, x: Tensor) -> Tensor:
        return functional.mse_loss(model(x), x @ weights.T)

    outcome = train(
        model,
        examples,
        Options(lr=0.1, epochs=30, batch_size=16, bf16=False),
        loss=loss,
        collate=torch.stack,
        show=False,
    )
    assert outcome.loss is not None and outcome.loss < 1e-3


def test_without_packing_a_document_has_a_row() -> None:
    packed, padded = run(None, adapted(), epochs=1)[0], run(None, adapted(), epochs=1, packing=False)[0]
    assert padded.steps > packed.steps


def test_one_document_or_all_together_give_the_same_step() -> None:
    """A step over all data is the same, packed or padded: each token counts alike."""
    options = {"epochs": 1, "batch_size": 1000, "schedule": "constant"}
    same(run(None, adapted(), packing=False, **options)[1], run(None, adapted(), **options)[1])


def test_early_stop_ends_with_the_best_weights() -> None:
    model = adapted()
    outcome, _ = run(None, model, lr=0.5, clip=0, epochs=40, eval_every=1, patience=2, schedule="constant")
    assert outcome.stopped_early
    assert outcome.steps == outcome.best_step + 2


def test_a_run_that_is_told_to_stop_is_over(tmp_path: Path) -> None:
    """Its step is evaluated and saved as the last one is, and the same command makes no more."""
    asked: list[int] = []

    def stop() -> bool:
        asked.append(len(asked) + 1)
        return len(asked) == 3

    def trained(model: Any) -> Any:
        return train(
            model, documents(), Options(**SMALL | {"epochs": 4}), evaluation=documents(6, seed=9), out=tmp_path, show=False, stop=stop
        )  # fmt: skip

    model, again = adapted(), adapted()
    outcome = trained(model)
    assert outcome.stopped_early
    assert outcome.steps == 3
    assert outcome.best is not None
    assert trained(again).steps == 3
    assert len(asked) == 3
    same(dict(again.named_parameters()), dict(model.named_parameters()))


def test_patience_needs_evaluations() -> None:
    with pytest.raises(ConfigError, match="evaluation data"):
        run(None, adapted(), evaluation=False, patience=1)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_names_its_batch(value: float) -> None:
    data = documents()
    data[7] = [1, 1, 1, 1]

    def loss(model: Any, batch: dict[str, Any]) -> Tensor:
        spoilt = any(row[:4] == data[7] for row in batch["input_ids"].tolist())
        found: Tensor = model(**batch).loss
        return found * value if spoilt else found

    model = adapted()
    with pytest.raises(
        TrainingError, match=r"the loss is (nan|inf) in step \d+ \(batch \d+ of epoch 0\), with documents .*\b7\b"
    ):
        train(model, data, Options(**SMALL, packing=False), loss=loss, show=False)
    assert all(entry.isfinite().all() for entry in model.parameters())


def test_a_model_that_trains_nothing_is_refused() -> None:
    with pytest.raises(TrainingError, match="takes gradients"):
        train(tiny_gpt2().requires_grad_(False), documents(), Options(**SMALL), show=False)


def test_a_model_whose_documents_see_each_other_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = adapted()
    forward = type(model.get_base_model()).forward

    def blind(self: Any, *args: Any, position_ids: Tensor | None = None, **kwargs: Any) -> Any:
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(type(model.get_base_model()), "forward", blind)
    with pytest.raises(ConfigError, match="packing = false"):
        run(None, model)


def test_a_model_with_logits_of_its_own_kind_is_trained_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = run(None, adapted(), epochs=1)[0]
    model = adapted()
    base = type(model.get_base_model())
    forward = base.forward

    def doubled(self: Any, *args: Any, labels: Tensor | None = None, **kwargs: Any) -> Any:
        out = forward(self, *args, **kwargs)
        out.logits = out.logits * 2
        if labels is not None:
            out.loss = self.loss_function(logits=out.logits, labels=labels, vocab_size=self.config.vocab_size)
        return out

    monkeypatch.setattr(base, "forward", doubled)
    found = run(None, model, epochs=1)[0]
    assert found.loss != pytest.approx(expected.loss)


def test_the_model_is_left_in_the_mode_that_it_had() -> None:
    model = adapted().eval()
    run(None, model, epochs=1, gradient_checkpointing=True)
    assert not any(module.training for module in model.modules())
    assert not model.is_gradient_checkpointing


def test_schedules() -> None:
    def rates(schedule: str) -> list[float]:
        return [scheduled(schedule, step, 8, 2) for step in range(8)]

    assert rates("constant")[2:] == [1.0] * 6
    assert rates("linear")[:4] == pytest.approx([1 / 3, 2 / 3, 1, 5 / 6])
    assert rates("cosine")[2:] == sorted(rates("cosine")[2:], reverse=True)
    assert rates("cosine")[-1] < 0.1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"schedule": "cosin"}, "nearest are 'cosine'"),
        ({"lr": 0.0}, "above 0"),
        ({"window": 1}, "2 or more"),
        ({"clip": -1.0}, "0 or more"),
    ],
    ids=str,
)
def test_options_that_cant_be(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Options(**options)
