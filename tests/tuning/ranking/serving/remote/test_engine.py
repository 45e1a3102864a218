"""Names scored by an engine: the same as by plain text, and what can be wrong with an engine."""

from __future__ import annotations

import json
import math
import ssl
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trustme

from tests.fakes.engine import Answer, Engine, Fault, serving
from tests.tuning.models import TEXT, byte_level, tiny
from tuning.ranking.learning.torch_models import TorchRuntime, tokens_of
from tuning.ranking.serving.model.prompt import Prompt
from tuning.ranking.serving.model.scorer import Scorer
from tuning.ranking.serving.model.search import TrieSearch
from tuning.ranking.serving.model.tokenizer import ModelTokenizer
from tuning.ranking.serving.model.trie import Node
from tuning.ranking.serving.remote import engine as engine_module
from tuning.ranking.serving.remote.address import TOKEN, Remote
from tuning.ranking.serving.remote.completions import CELLS, GIVEN, questions
from tuning.ranking.serving.remote.engine import RemoteEngine
from tuning.ranking.serving.remote.errors import (
    RemoteError,
    RemoteNonsense,
    RemoteRefused,
    RemoteTooFew,
    RemoteUnlike,
    RemoteUnreachable,
)

NAMES = ["value", "_value", "values", "v", "name", "names", "__init__", "größe", "x1", "val"]
PROMPT = Prompt(text=TEXT + "        self", tail=".")


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    tokenizer = byte_level()
    return Scorer(TorchRuntime(tiny("llama", len(tokenizer)).eval()), tokens_of(tokenizer))


@pytest.fixture
def engine(scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> Generator[Engine]:
    monkeypatch.delenv(TOKEN, raising=False)
    with serving(Engine(scorer)) as found:
        yield found


def client(engine: Engine, scorer: Scorer, model: str = "") -> RemoteEngine:
    return RemoteEngine(Remote(url=engine.url, model=model), scorer.tokenizer)


async def searched(found: RemoteEngine, prompt: Prompt, names: list[str], size: int = 6) -> np.ndarray:
    """Each name's log P, by the engine."""
    search = TrieSearch(names, {}, lambda name: found.tokens.name(prompt.tail, name))
    nodes = [search.root, *search.batch(size - 1)]
    while nodes:
        search.take(nodes, await found.answers(found.tokens.prompt(prompt.text), nodes, found.model))
        nodes = search.batch(size)
    assert search.scores().exact.all()
    return search.scores().bounds


@pytest.mark.parametrize("size", [1, 6, 100])
@pytest.mark.parametrize("tail", [".", " = ", ""])
async def test_the_same_scores_as_plain_text(
    engine: Engine, scorer: Scorer, tail: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        engine_module, "LIKELIEST", (scorer.tokenizer.size,)
    )  # then nothing of how a name ends is estimated
    found = client(engine, scorer)
    await found.check()
    prompt = Prompt(text=PROMPT.text, tail=tail)
    expected = [scorer.plain(prompt, name) for name in NAMES]
    assert await searched(found, prompt, NAMES, size) == pytest.approx(expected, abs=1e-3)
    await found.close()


async def test_how_likely_a_name_ends_is_estimated_from_the_likeliest_tokens(engine: Engine, scorer: Scorer) -> None:
    found = client(engine, scorer)
    await found.check()
    prompt = found.tokens.prompt(PROMPT.text)
    leaf = Node(token=prompt[0], parent=Node(token=-1, parent=None, depth=0), depth=1, ends=[0])
    answered = await found.answers(prompt, [leaf], found.model)
    logits = scorer.runtime.read(scorer.runtime.context(), [*prompt, leaf.token])
    p = np.exp(logits - logits.max()).astype(float)
    p /= p.sum()
    best = np.argsort(-p)[:64]
    ending = scorer.tokenizer.ends_identifier(len(p))
    ended, known = p[best][ending[best]].sum(), p[best].sum()
    expected = ended + (1 - known) * max(ended / known, 0.05)
    assert 0 < ended < known < 1
    assert answered.ends(0) == pytest.approx(math.log(expected), abs=1e-4)
    await found.close()


def test_requests_stay_within_the_engines_limits() -> None:
    root = Node(token=-1, parent=None, depth=0)
    root.children = {token: Node(token=token, parent=root, depth=1) for token in range(300)}
    for token, child in root.children.items():
        child.children = {1000 + token: Node(token=1000 + token, parent=child, depth=2)}
    leaves = [Node(token=1, parent=root, depth=1, ends=[i]) for i in range(150)]
    nodes = [root, *root.children.values(), *leaves]
    asked = questions(nodes)
    for question in asked:
        assert len(question.tokens) <= GIVEN
        assert len(question.rows) * max(1, len(question.tokens)) <= CELLS
    got = {(row, token) for question in asked for row in question.rows for token in question.tokens}
    assert {(row, token) for row, node in enumerate(nodes) for token in node.children} <= got
    assert {row for question in asked if not question.tokens for row in question.rows} == set(range(301, 451))
    assert questions([]) == []


async def test_the_adapter_of_a_workspace_is_asked_for_where_it_is_served(scorer: Scorer) -> None:
    with serving(Engine(scorer, models=("base", "starling", "payments"))) as engine:
        found = client(engine, scorer)
        await found.check()
        assert found.model == "starling"
        assert found.model_for("payments") == "payments"
        assert found.model_for("unknown") == found.model_for("") == "starling"
        await found.close()


async def test_the_token_goes_to_the_engine_alone(scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN, "secret")
    with serving(Engine(scorer, token="secret")) as engine, serving(Engine(scorer)) as elsewhere:
        found = client(engine, scorer)
        await found.check()
        engine.fault = lambda path, body, answer: (307, f"{elsewhere.url}{path}".encode())
        with pytest.raises(RemoteRefused, match="307"):
            await found.check()
        assert elsewhere.asked == []
        await found.close()
        engine.fault = None
        monkeypatch.setenv(TOKEN, "wrong")
        found = client(engine, scorer)
        with pytest.raises(RemoteRefused, match="token is wrong or missing"):
            await found.check()
        await found.close()


def changed(answer: Answer, top: dict[str, float | None]) -> Answer:
    """The answer with other log probabilities."""
    body = json.loads(answer[1])
    for choice in body.get("choices", ()):
        choice["logprobs"] = {"top_logprobs": [top]}
    return answer[0], json.dumps(body).encode()


FAULTS: dict[str, tuple[Fault, type[RemoteError], str]] = {
    "cut": (lambda path, body, answer: None, RemoteUnreachable, "can't be reached"),
    "half an answer": (lambda path, body, answer: (200, answer[1][:-20]), RemoteNonsense, "no completion"),
    "a web page": (lambda path, body, answer: (200, b"<html>Log in</html>"), RemoteNonsense, "no completion"),
    "busy": (lambda path, body, answer: (503, b'{"error": {"message": "overloaded"}}'), RemoteRefused, "503: overloaded"),
    "broken": (lambda path, body, answer: (500, b"Traceback"), RemoteRefused, "500: Traceback"),
    "no prompts": (lambda path, body, answer: (200, b'{"choices": []}'), RemoteNonsense, "no log probabilities"),
    "text": (lambda path, body, answer: changed(answer, {"the": -1.0}), RemoteNonsense, "called 'the'"),
    "not a number": (lambda path, body, answer: changed(answer, {"token_id:1": None}), RemoteNonsense, "log P of None"),
    "too likely": (lambda path, body, answer: changed(answer, {"token_id:1": 3.0}), RemoteNonsense, "log P of 3"),
    "more than 1": (
        lambda path, body, answer: changed(answer, {"token_id:1": -0.1, "token_id:2": -0.1}), RemoteNonsense, "add up"),
    "too long": (lambda path, body, answer: (200, b" " * 5_000_000), RemoteNonsense, "more than 4,000,000"),
    "too few": (lambda path, body, answer: changed(answer, {"token_id:1": -1.0}), RemoteNonsense, "no log P of"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
async def test_what_an_engine_can_do_wrong(engine: Engine, scorer: Scorer, name: str) -> None:
    fault, error, said = FAULTS[name]
    found = client(engine, scorer)
    await found.check()
    engine.fault = fault
    with pytest.raises(error, match=said):
        await searched(found, PROMPT, NAMES)
    engine.fault = None
    assert len(await searched(found, PROMPT, NAMES)) == len(NAMES)
    await found.close()


async def test_an_engine_that_mixes_up_two_kinds_of_questions_is_asked_one_after_the_other(
    engine: Engine, scorer: Scorer
) -> None:
    """As vLLM's runner for processors does: one token where the likeliest were asked for, while others are given."""
    found = client(engine, scorer)
    await found.check()
    expected = await searched(found, PROMPT, NAMES)
    given = threading.Event()

    def mixed(path: str, body: Any, answer: Answer) -> Answer:
        if "logprob_token_ids" in body:
            given.set()
            time.sleep(0.02)
            given.clear()
        elif "logprobs" in body and given.wait(0.02):
            return changed(answer, {"token_id:1": -1.0})
        return answer

    engine.fault = mixed
    assert await searched(found, PROMPT, NAMES) == pytest.approx(expected, abs=1e-4)
    engine.fault = lambda path, body, answer: (
        changed(answer, {"token_id:1": -1.0}) if "logprobs" in body and "logprob_token_ids" not in body else answer
    )
    with pytest.raises(RemoteTooFew, match="mixes up"):
        await searched(found, PROMPT, NAMES)
    await found.close()


async def test_an_engine_that_hangs(engine: Engine, scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "ANSWER", 0.1)
    found = client(engine, scorer)
    engine.delay = 0.5
    with pytest.raises(RemoteUnreachable, match="in time"):
        await found.check()
    await found.close()


async def test_a_connection_that_is_cut_in_the_middle_of_an_answer(engine: Engine, scorer: Scorer) -> None:
    found = client(engine, scorer)
    await found.check()
    engine.missing = 10
    with pytest.raises(RemoteUnreachable, match="can't be reached"):
        await searched(found, PROMPT, NAMES)
    engine.missing = 0
    assert len(await searched(found, PROMPT, NAMES)) == len(NAMES)
    await found.close()


async def test_an_engine_that_does_not_speak_tls(engine: Engine, scorer: Scorer) -> None:
    found = RemoteEngine(Remote(url=engine.url.replace("http:", "https:")), scorer.tokenizer)
    with pytest.raises(RemoteUnreachable, match="SSL"):
        await found.check()
    assert engine.asked == []
    await found.close()


async def test_a_certificate_has_to_be_trusted_and_the_hosts_own(
    scorer: Scorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN, "secret")
    authority, other = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    other.cert_pem.write_to_path(tmp_path / "other.pem")
    for host, trusted, said in (
        ("127.0.0.1", "authority.pem", ""),
        ("127.0.0.1", "other.pem", "certificate verify failed"),
        ("example.com", "authority.pem", "IP address mismatch"),
    ):
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(host).configure_cert(tls)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / trusted))
        with serving(Engine(scorer, token="secret"), tls=tls) as engine:
            found = client(engine, scorer)
            if said:
                with pytest.raises(RemoteUnreachable, match=said):
                    await found.check()
                assert engine.headers == []
            else:
                await found.check()
                assert engine.headers[0]["Authorization"] == "Bearer secret"
            await found.close()


async def test_a_model_that_does_not_fit(engine: Engine, scorer: Scorer) -> None:
    found = client(engine, scorer, model="other")
    with pytest.raises(RemoteUnlike, match="does not serve 'other'; it serves starling"):
        await found.check()
    await found.close()
    tokenizer: Any = byte_level()
    tokenizer.add_tokens(["width"])
    another = RemoteEngine(Remote(url=engine.url), ModelTokenizer(tokenizer.backend_tokenizer))
    with pytest.raises(RemoteUnlike, match="another tokenizer"):
        await another.check()
    await another.close()
    engine.fault = lambda path, body, answer: (200, b'{"data": [{"id": "starling", "max_model_len": 128}]}')
    found = client(engine, scorer)
    with pytest.raises(RemoteUnlike, match="takes 128 tokens"):
        await found.check()
    await found.close()


async def test_an_engine_that_gives_the_log_p_of_few_tokens(engine: Engine, scorer: Scorer) -> None:
    def limited(path: str, body: Any, answer: Answer) -> Answer:
        too_many = body is not None and body.get("logprobs", 0) > 20 and "logprob_token_ids" not in body
        return (400, b'{"error": {"message": "max allowed: 20"}}') if too_many else answer

    engine.fault = limited
    found = client(engine, scorer)
    await found.check()
    assert len(await searched(found, PROMPT, NAMES)) == len(NAMES)
    await found.close()


async def test_nobody_there(scorer: Scorer) -> None:
    with serving(Engine(scorer)) as engine:
        pass
    found = client(engine, scorer)
    with pytest.raises(RemoteUnreachable, match="can't be reached"):
        await found.check()
    await found.close()
