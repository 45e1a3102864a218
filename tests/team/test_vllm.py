"""A real vLLM on this machine's processor, with the default base: set up by `starling team config`, asked by the ranker's worker."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest

from lsp_server.ranking.remote_worker import RemoteWorker
from lsp_server.ranking.search_job import SearchJob
from starling_lsp.__main__ import main
from tests.servers.catalog import ROOT
from tuning.ranking.serving.model.loading import load_scorer, load_tokenizer
from tuning.ranking.serving.model.prompt import Prompt
from tuning.ranking.serving.remote.address import Remote
from tuning.ranking.serving.remote.engine import RemoteEngine

pytestmark = pytest.mark.team

STARTS = 600.0  # seconds: the first start compiles the model
PORT = 18999
# The package for processors has no working `vllm serve`. There, blocks have to be of 32 tokens. In float32 only the ends of names are estimated.
VLLM = f"{ROOT}/.team/bin/python -m vllm.entrypoints.openai.api_server"
FLAGS = ("--port", str(PORT), "--dtype", "float32", "--block-size", "32", "--enforce-eager")
PROMPT = Prompt(text="import os\n\n\ndef listed(folder):\n    return os.path", tail=".")
NAMES = ("join", "exists", "basename", "sep", "abspath", "getsize", "altsep", "curdir", "genericpath", "walk")


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Generator[Remote]:
    folder = tmp_path_factory.mktemp("team") / "engine"
    assert main(["team", "config", "--to", str(folder)]) == 0
    env = {**os.environ, "VLLM": VLLM, "VLLM_CPU_KVCACHE_SPACE": "1"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [folder / "start.sh", *FLAGS], env=env, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield Remote(url=f"http://127.0.0.1:{PORT}", token_file=str(folder / "token"))
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


async def ready(worker: RemoteWorker) -> None:
    until = time.monotonic() + STARTS
    while not worker.ready:
        assert time.monotonic() < until, worker.reason
        await asyncio.sleep(0.5)


async def test_the_ranker_is_given_the_scores_that_the_model_here_gives(remote: Remote) -> None:
    worker = RemoteWorker(lambda: RemoteEngine(remote, load_tokenizer()), deadline=60.0)
    worker.start()
    await ready(worker)
    worker.advance("", PROMPT, "")
    job = SearchJob(key="", prompt=PROMPT, names=NAMES, known={})
    worker.search(job)
    found = await job.wait(60)
    assert found is not None and job.finished
    here = load_scorer(quantize=False).log_p(PROMPT, NAMES)
    assert [NAMES[i] for i in np.argsort(-found)[:3]] == [NAMES[i] for i in np.argsort(-here)[:3]]
    best = np.argsort(-here)[:5]
    assert np.abs(found - here)[best].mean() < 0.2
    await worker.close()


async def test_a_wrong_token_is_refused(remote: Remote, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("wrong")
    wrong = Remote(url=remote.url, token_file=str(tmp_path / "token"))
    worker = RemoteWorker(lambda: RemoteEngine(wrong, load_tokenizer()), deadline=60.0)
    worker.start()
    while worker.state == "connecting":
        await asyncio.sleep(0.1)
    assert "token is wrong or missing" in worker.reason
    await worker.close()
