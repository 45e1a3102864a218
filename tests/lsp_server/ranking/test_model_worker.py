"""The model's thread with adapters: what is loaded serves while another is being loaded, and none is lost to a broken one."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tuning
from lsp_server.ranking.model_worker import KEPT, ModelWorker, SearchJob
from tests.scenarios.harness import until
from tests.tuning.models import TEXT, byte_level, tiny
from tuning.ranking.serving.model import model_store
from tuning.ranking.serving.model.loading import load_scorer
from tuning.ranking.serving.model.prompt import Prompt
from tuning.ranking.serving.model.trie import Scores

NAMES = ("value", "_value", "values", "name")
PROMPT = Prompt(text=TEXT + "        self", tail=".")


@pytest.fixture(autouse=True)
def own_models(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_store, "models_dir", lambda: folders["base"].parent / "compiled")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A base and three adapters that rank unlike it and each other."""
    home = tmp_path_factory.mktemp("models")
    tokenizer = byte_level()
    found = {"base": home / "base"}
    tokenizer.save_pretrained(found["base"])
    for number, name in enumerate(("base", "a", "b", "c")):
        model: Any = tiny("wide llama", len(tokenizer))
        if name != "base":
            model = tuning.get_peft_model(model, tuning.LoraConfig(target_modules="all-linear"))
            torch.manual_seed(number)
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.data += 0.3 * torch.randn_like(parameter)
        found[name] = home / name
        model.save_pretrained(found[name])
    return found


async def scored(worker: ModelWorker, adapter: str) -> SearchJob:
    job = SearchJob(key="document", prompt=PROMPT, names=NAMES, known={}, adapter=adapter)
    worker.search(job)
    assert await job.wait(30) is not None
    return job


async def scored_by(worker: ModelWorker, adapter: str) -> SearchJob:
    """Ask until it is served by that adapter itself."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        job = await scored(worker, adapter)
        if job.served_by == adapter:
            return job
        await asyncio.sleep(0.05)
    raise AssertionError(f"{adapter} never came: {worker.reason}")


def started(base: Path, adapter: str = "") -> ModelWorker:
    worker = ModelWorker(str(base), adapter)
    worker.start()
    end = time.monotonic() + 60
    while worker.state == "loading" and time.monotonic() < end:
        time.sleep(0.02)
    return worker


async def test_what_is_loaded_serves_until_another_adapter_is_ready(folders: dict[str, Path]) -> None:
    worker = started(folders["base"])
    assert worker.ready
    first = await scored(worker, str(folders["a"]))
    assert first.served_by == ""
    later = await scored_by(worker, str(folders["a"]))
    for job, adapter in ((first, ""), (later, str(folders["a"]))):
        expected = load_scorer(folders["base"], adapter=adapter).log_p(PROMPT, NAMES, top=len(NAMES))
        assert job.scores is not None
        assert job.scores.bounds == pytest.approx(expected, abs=1e-3)
    assert worker.serving("") == ""  # both are kept
    for name in ("b", "c"):
        await scored_by(worker, str(folders[name]))
    assert sum(worker.serving(str(folders[name])) == str(folders[name]) for name in "abc") == KEPT


async def test_a_broken_adapter_costs_itself(folders: dict[str, Path], tmp_path: Path) -> None:
    worker = started(folders["base"], str(folders["a"]))
    assert (await scored(worker, str(folders["a"]))).served_by == str(folders["a"])
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "adapter_config.json").write_text("{")
    await scored(worker, str(broken))
    until = time.monotonic() + 60
    while (await scored(worker, str(broken))).served_by != "" and time.monotonic() < until:
        await asyncio.sleep(0.05)
    assert worker.serving(str(broken)) == ""
    assert worker.reason
    assert worker.ready


async def test_a_first_adapter_that_is_not_there_leaves_the_base(folders: dict[str, Path], tmp_path: Path) -> None:
    worker = started(folders["base"], str(tmp_path / "nowhere"))
    assert worker.ready
    assert "neither an adapter's folder nor installed" in worker.reason
    assert (await scored(worker, str(tmp_path / "nowhere"))).served_by == ""


def test_without_a_base_signals_rank_on(tmp_path: Path) -> None:
    worker = started(tmp_path / "nowhere")
    assert worker.state == "failed"
    assert worker.reason


class _Endless:
    """A scorer whose searches do not end, and that notes what it is to read."""

    def __init__(self) -> None:
        self.read: list[tuple[str, Prompt]] = []
        self.steps = 0

    def advance(self, key: str, prompt: Prompt, **how: Any) -> bool:
        self.read.append((key, prompt))
        return True

    def search(self, *given: Any) -> _Endless:
        return self

    def step(self) -> bool:
        self.steps += 1
        time.sleep(0.002)
        return False

    def scores(self) -> Scores:
        return Scores(bounds=np.zeros(1), exact=np.zeros(1, bool), left=np.ones(1, np.int64))

    def close(self) -> None:
        pass


async def test_a_search_behind_the_reply_ends_when_the_author_is_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for the place that is searched, and not while a list waits for it."""
    scorer = _Endless()
    monkeypatch.setattr(ModelWorker, "_load", lambda self, adapter: scorer)
    worker = ModelWorker("", "")
    worker.start()
    here, there = Prompt(text="x = ", tail="a."), Prompt(text="y = ", tail="b.")
    job = SearchJob(key="file", prompt=here, names=("name",), known={})

    async def goes_on() -> bool:
        before = scorer.steps
        await asyncio.sleep(0.1)
        return scorer.steps > before + 3

    worker.search(job)
    await until(lambda: scorer.steps > 0)
    worker.advance("file", there, "")
    assert await goes_on()  # whoever began it may still come to wait
    with job.waiting():
        assert await goes_on()
        worker.advance("file", here, "")
    assert await goes_on()
    assert not scorer.read
    worker.advance("file", there, "")
    await until(lambda: scorer.read == [("file", there)])
    assert not await goes_on()
