"""The ranker's objective: the scores that are trained are those that are searched for, and training moves them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

import tuning
from tests.tuning.models import TEXT, byte_level, tiny
from tuning.ranking.learning.batch_layout import Batch, Laid
from tuning.ranking.learning.listwise import Listwise
from tuning.ranking.learning.torch_models import TorchRuntime, tokens_of
from tuning.ranking.learning.windows import ListedSite, Window
from tuning.ranking.serving.model.prompt import Prompt
from tuning.ranking.serving.model.scorer import Scorer
from tuning.training.loop import train
from tuning.training.options import Options

NAMES = ("value", "_value", "values", "v", "name", "__init__", "größe")
PLACES = (
    ("class A:\n    def __init__(self, value):\n        self", "."),
    (TEXT + "        self", "."),
    (TEXT + "        self.value", " = "),
)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return byte_level()


def encoded(tokenizer: Any, text: str) -> tuple[int, ...]:
    return tuple(tokenizer.encode(text, add_special_tokens=False))


def window(tokenizer: Any, truth: int = 0) -> Window:
    """One with three sites, the last at its end."""
    sites = tuple(
        ListedSite(
            place=len(encoded(tokenizer, text)),
            sequences=tuple(encoded(tokenizer, tail + name) for name in NAMES),
            truth=truth,
            beside=tuple(float(number) for number in range(len(NAMES))),
        )
        for text, tail in PLACES
    )
    return Window(tokens=encoded(tokenizer, PLACES[-1][0]), sites=sites)


def batch(*windows: Window) -> Batch:
    return Batch.of([Laid.of(window) for window in windows])


def objective(tokenizer: Any, model: Any, **options: float) -> Listwise:
    return Listwise(ending=torch.from_numpy(tokens_of(tokenizer).ends_identifier(model.config.vocab_size)), **options)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_scores_are_those_of_one_pass_a_name(kind: str, tokenizer: Any) -> None:
    model = tiny(kind, len(tokenizer)).eval()
    scorer = Scorer(TorchRuntime(model), tokens_of(tokenizer))
    with torch.no_grad():
        found = objective(tokenizer, model).scores(model, batch(window(tokenizer)))
    for (text, tail), scores in zip(PLACES, found, strict=True):
        expected = [scorer.plain(Prompt(text=text, tail=tail), name) for name in NAMES]
        assert scores.tolist() == pytest.approx(expected, abs=1e-4)


def test_the_loss_is_that_of_the_list_and_of_the_text(tokenizer: Any) -> None:
    model = tiny("llama", len(tokenizer)).eval()
    made = window(tokenizer, truth=4)
    scores = objective(tokenizer, model).scores(model, batch(made))
    target = torch.tensor([4])
    lists = sum(functional.cross_entropy(row[None], target) for row in scores)
    ids = torch.tensor([made.tokens])
    text = functional.cross_entropy(model(ids).logits[0, :-1], ids[0, 1:])
    total, count = objective(tokenizer, model, text=0.5)(model, batch(made))
    assert count == 3
    assert float(total) == pytest.approx(float(lists + 0.5 * 3 * text), rel=1e-5)
    beside = sum(functional.cross_entropy((row + 0.3 * torch.arange(7.0))[None], target) for row in scores)
    assert float(objective(tokenizer, model, text=0, beside=0.3)(model, batch(made))[0]) == pytest.approx(
        float(beside), rel=1e-5
    )


def shorter(tokenizer: Any) -> Window:
    """One with a single site and two names, one of which is but the tail."""
    text, tail = PLACES[0]
    sequences = (encoded(tokenizer, tail + "other"), encoded(tokenizer, tail))
    site = ListedSite(place=len(encoded(tokenizer, text)), sequences=sequences, truth=1, beside=(0.5, 2.0))
    return Window(tokens=encoded(tokenizer, text), sites=(site,))


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_windows_are_scored_together_as_alone(kind: str, tokenizer: Any) -> None:
    model = tiny(kind, len(tokenizer)).eval()
    loss = objective(tokenizer, model, text=0, beside=0.7)
    several = [window(tokenizer, truth=4), shorter(tokenizer), window(tokenizer, truth=1)]
    with torch.no_grad():
        alone = [scores for one in several for scores in loss.scores(model, batch(one))]
        together = loss.scores(model, batch(*several))
        assert [len(scores) for scores in together] == [7, 7, 7, 2, 7, 7, 7]
        for one, other in zip(alone, together, strict=True):
            assert other.tolist() == pytest.approx(one.tolist(), abs=1e-4)
        total, count = loss(model, batch(*several))
        assert count == 7
        assert float(total) == pytest.approx(sum(float(loss(model, batch(one))[0]) for one in several), rel=1e-5)


@pytest.mark.parametrize("method", ["LORA", "ADALORA", "IA3"])
def test_training_puts_the_truth_first(method: str, tokenizer: Any) -> None:
    torch.manual_seed(0)
    model = tiny("llama", len(tokenizer))
    given: dict[str, Any] = {"ADALORA": {"total_step": 40}}.get(method, {})
    config = tuning.PeftConfig.from_peft_type(peft_type=method, task_type="CAUSAL_LM", **given)
    adapted = tuning.get_peft_model(model, config)
    made = [Laid.of(window(tokenizer, truth=4))]
    loss = objective(tokenizer, model, text=0)
    before = float(loss(adapted, Batch.of(made))[0].detach())
    options = Options(lr=3e-2, steps=30, batch_size=1, bf16=False)
    train(adapted, made, options, loss=loss, collate=Batch.of, show=False)
    assert float(loss(adapted, Batch.of(made))[0]) < before - 0.2
