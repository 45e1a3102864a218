"""A team's engine behind the ranker: its scores, who stands in for it, and that every list is answered by its deadline."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lsp_server.ranking import remote_worker
from lsp_server.ranking.ranker import Ranker
from lsp_server.ranking.remote_worker import LATE
from tests.fakes.engine import Engine, Fault, serving
from tests.scenarios import harness
from tests.tuning.models import byte_level, tiny
from tuning.ranking.serving.model import model_store
from tuning.ranking.serving.model.loading import load_scorer, load_tokenizer
from tuning.ranking.serving.model.scorer import Scorer
from tuning.ranking.serving.remote.address import TOKEN, Remote
from tuning.ranking.serving.remote.engine import CANARY

LABELS = ("alpha", "beta", "copy", "value", "values", "_value")
LIST = json.dumps([{"label": name, "kind": 5} for name in LABELS]).encode()
TEXT = "def check(self, value):\n    if value is None:\n        return self.fallback."
DEADLINE = 400  # milliseconds
ROOMY = 10_000  # milliseconds: a list that is complete comes at once, and a busy machine may take its time
SPARE = 10.0  # seconds that a busy machine may take beyond it
HANGS = 30.0  # seconds

until = partial(harness.until, timeout=30)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    tokenizer = byte_level()
    tokenizer.save_pretrained(folder)
    tiny("wide llama", len(tokenizer)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def scorer(base: Path) -> Scorer:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_store, "models_dir", lambda: base.parent / "compiled")
        return load_scorer(base, quantize=False)


@pytest.fixture
def engine(scorer: Scorer, base: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Engine]:
    monkeypatch.delenv(TOKEN, raising=False)
    monkeypatch.setattr(model_store, "models_dir", lambda: base.parent / "compiled")
    monkeypatch.setattr(remote_worker, "AGAIN", (0.05,))
    with serving(Engine(scorer)) as found:
        yield found


@asynccontextmanager
async def ranking(engine: Engine, base: Path, root: Path, **given: Any) -> AsyncGenerator[Ranker]:
    """A ranker with one document open, whose model is the engine's."""
    ranker = Ranker(base=str(base), adapter="", cache_dir=None, remote=Remote(url=engine.url, **given))
    ranker.open({"encoding": "utf-16", "roots": [root.as_uri()]})
    while ranker.workspace.index is None or not ranker.workspace.index.ready:
        await asyncio.sleep(0.01)
    ranker.configure({"ranker": "model", "deadline": DEADLINE})
    ranker.did_open({"textDocument": {"uri": (root / "own.py").as_uri(), "languageId": "python", "text": TEXT}})
    yield ranker
    ranker.close()


def remote_state(ranker: Ranker) -> str:
    return ranker.status()["remote"]["state"]


async def ranked(ranker: Ranker, root: Path, deadline: int = DEADLINE) -> dict[str, Any]:
    """One list, which has to come by its deadline."""
    position = {"line": 2, "character": len(TEXT.rpartition("\n")[2])}
    asked = {
        "textDocument": {"uri": (root / "own.py").as_uri()},
        "position": position,
        "starLimit": 5,
        "deadline": deadline,
    }
    began = time.monotonic()
    found = await ranker.rank(asked, LIST, lambda _: None, began)
    assert time.monotonic() - began < deadline / 1000 + SPARE
    assert found is not None and sorted(found["order"]) == list(range(len(LABELS)))
    return found


async def test_the_engines_scores_rank_and_the_model_here_is_not_loaded(
    engine: Engine, base: Path, tmp_path: Path
) -> None:
    async with ranking(engine, base, tmp_path) as ranker:
        await until(lambda: remote_state(ranker) == "ready")
        found = await ranked(ranker, tmp_path, ROOMY)
        assert (found["ranker"], found["complete"]) == ("remote", True)
        assert ranker.status()["model"] == "not needed"
        alone = Ranker(base=str(base), adapter="", cache_dir=None)
        alone.workspace, alone.documents = ranker.workspace, ranker.documents
        alone.configure({"ranker": "model", "deadline": ROOMY})
        await until(lambda: alone.status()["model"] == "ready")
        here = await ranked(alone, tmp_path, ROOMY)
        assert here["ranker"] == "model"
        assert found["order"] == here["order"]
        assert found["p"] == pytest.approx(here["p"], abs=0.05)


async def test_the_prompt_is_read_while_the_user_types(engine: Engine, base: Path, tmp_path: Path) -> None:
    async with ranking(engine, base, tmp_path) as ranker:
        await until(lambda: remote_state(ranker) == "ready")
        before = len(engine.asked)
        change = {"range": {"start": {"line": 0, "character": 0}, "end": {"line": 0, "character": 0}}, "text": "\n"}
        uri = (tmp_path / "own.py").as_uri()
        ranker.did_change({"textDocument": {"uri": uri}, "contentChanges": [change]})
        await until(lambda: len(engine.asked) > before)
        assert engine.asked[-1][1]["max_tokens"] == 1 and "logprobs" not in engine.asked[-1][1]


async def test_documents_of_some_folders_are_never_sent(engine: Engine, base: Path, tmp_path: Path) -> None:
    async with ranking(engine, base, tmp_path, off=(str(tmp_path),)) as ranker:
        await until(lambda: remote_state(ranker) == "ready")
        await ranked(ranker, tmp_path)
        await until(lambda: ranker.status()["model"] == "ready")
        assert (await ranked(ranker, tmp_path, ROOMY))["ranker"] == "model"
        prompts = [body["prompt"] for path, body in engine.asked if path == "/v1/completions"]
        sent = [prompt for several in prompts for prompt in (several if isinstance(several[0], list) else [several])]
        own = load_tokenizer(base).encode(CANARY)
        assert sent and all(prompt[:-1] == own or prompt == own for prompt in sent), (
            "only the checks' own text was sent"
        )


FAULTS: dict[str, Fault] = {
    "cut": lambda path, body, answer: None,
    "half an answer": lambda path, body, answer: (200, answer[1][: len(answer[1]) // 2]),
    "500": lambda path, body, answer: (500, b"Internal Server Error"),
    "nonsense": lambda path, body, answer: (200, b'{"choices": [{"index": 0, "logprobs": {"top_logprobs": [{"a": 1}]}}]}'),
    "another model": lambda path, body, answer: (404, b'{"error": {"message": "The model starling does not exist."}}'),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
async def test_the_model_here_stands_in_and_the_engine_comes_back(
    engine: Engine, base: Path, tmp_path: Path, name: str
) -> None:
    async with ranking(engine, base, tmp_path) as ranker:
        await until(lambda: remote_state(ranker) == "ready")
        engine.fault = FAULTS[name]
        assert (await ranked(ranker, tmp_path))["ranker"] == "signals", "there is no other score yet"
        await until(lambda: remote_state(ranker) == "away")  # on a busy machine, the answer comes after the deadline
        await ranked(ranker, tmp_path)
        await until(lambda: ranker.status()["model"] == "ready")
        assert (await ranked(ranker, tmp_path, ROOMY))["ranker"] == "model"
        assert ranker.status()["remote"]["reason"]
        engine.fault = None
        await until(lambda: remote_state(ranker) == "ready")
        assert (await ranked(ranker, tmp_path, ROOMY))["ranker"] == "remote"


async def test_a_token_that_is_corrected_later_is_read_again(
    scorer: Scorer, base: Path, tmp_path: Path, engine: Engine
) -> None:
    token = tmp_path / "token"
    token.write_text("wrong")
    with serving(Engine(scorer, token="secret")) as guarded:
        async with ranking(guarded, base, tmp_path, token_file=str(token)) as ranker:
            await until(lambda: remote_state(ranker) == "away")
            assert "token is wrong or missing" in ranker.status()["remote"]["reason"]
            token.write_text("secret")
            await until(lambda: remote_state(ranker) == "ready")
            guarded.token = "next"
            assert (await ranked(ranker, tmp_path))["ranker"] in ("signals", "model")
            await until(lambda: remote_state(ranker) == "away")
            token.write_text("next")
            await until(lambda: remote_state(ranker) == "ready")
            assert (await ranked(ranker, tmp_path, ROOMY))["ranker"] == "remote"


async def test_lists_that_leave_no_time_say_nothing_about_the_engine(
    engine: Engine, base: Path, tmp_path: Path
) -> None:
    async with ranking(engine, base, tmp_path) as ranker:
        await until(lambda: remote_state(ranker) == "ready")
        engine.delay = HANGS
        for _ in range(LATE):
            assert (await ranked(ranker, tmp_path, 0))["ranker"] == "signals"
        status = ranker.status()
        assert (status["remote"]["state"], status["remote"]["late"]) == ("ready", 0)
        assert status["model"] == "not needed"


async def test_a_document_that_is_closed_while_its_list_is_ranked(engine: Engine, base: Path, tmp_path: Path) -> None:
    async with ranking(engine, base, tmp_path) as ranker:
        await until(lambda: remote_state(ranker) == "ready")
        engine.delay, before = 1.0, len(engine.asked)
        asked = asyncio.create_task(ranked(ranker, tmp_path, ROOMY))
        await until(lambda: len(engine.asked) > before)
        ranker.did_close({"textDocument": {"uri": (tmp_path / "own.py").as_uri()}})
        assert (await asked)["ranker"] == "remote"


async def test_an_engine_that_hangs_costs_no_list_its_deadline(engine: Engine, base: Path, tmp_path: Path) -> None:
    async with ranking(engine, base, tmp_path) as ranker:
        await until(lambda: remote_state(ranker) == "ready")
        engine.delay = HANGS
        for _ in range(LATE):
            assert (await ranked(ranker, tmp_path))["ranker"] in ("signals", "model")
        assert remote_state(ranker) == "away"
        assert "slow" in ranker.status()["remote"]["reason"]
        engine.delay = 0.0
        await until(lambda: remote_state(ranker) == "ready")
        assert (await ranked(ranker, tmp_path, ROOMY))["ranker"] == "remote"


async def test_the_model_here_begins_beside_an_engine_without_a_score_at_half_time(
    engine: Engine, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_worker, "LATE", 100)
    async with ranking(engine, base, tmp_path) as ranker:
        await until(lambda: remote_state(ranker) == "ready")
        assert ranker.models is not None
        ranker.models.stand_in()
        await until(lambda: ranker.status()["model"] == "ready")
        engine.delay = HANGS
        assert (await ranked(ranker, tmp_path, 2000))["ranker"] == "model"
        assert remote_state(ranker) == "ready"
        assert ranker.status()["remote"]["late"] == 1


async def test_an_engine_that_is_started_later_and_one_that_is_restarted(
    scorer: Scorer, base: Path, tmp_path: Path, engine: Engine
) -> None:
    with serving(Engine(scorer)) as first:
        port = int(first.url.rpartition(":")[2])
    gone = Engine(scorer)
    gone.url = first.url
    async with ranking(gone, base, tmp_path) as ranker:
        await until(lambda: remote_state(ranker) == "away")
        assert "can't be reached" in ranker.status()["remote"]["reason"]
        assert (await ranked(ranker, tmp_path))["ranker"] in ("signals", "model")
        with serving(Engine(scorer), port):
            await until(lambda: remote_state(ranker) == "ready")
            assert (await ranked(ranker, tmp_path, ROOMY))["ranker"] == "remote"
        await ranked(ranker, tmp_path)


async def test_what_is_missing_here_is_said(
    engine: Engine, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ranking(engine, base, tmp_path, token_file=str(tmp_path / "none")) as ranker:
        await until(lambda: remote_state(ranker) == "away")
        assert "none" in ranker.status()["remote"]["reason"]
    async with ranking(engine, tmp_path / "no base", tmp_path) as ranker:
        await until(lambda: remote_state(ranker) == "away")
        assert "not there" in ranker.status()["remote"]["reason"]
