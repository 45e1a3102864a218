"""A server process that is given a team's engine, from the command line to the stars."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lsp_server.probe import in_order, items_of
from tests.fakes.engine import Engine, serving
from tests.scenarios.harness import URI, Scene
from tests.tuning.models import byte_level, tiny
from tuning.ranking.serving.model import model_store
from tuning.ranking.serving.model.loading import load_scorer

TEXT = "def check(self, value):\n    return self.\n"
NAMES = ["alpha", "beta", "copy", "value"]


async def test_the_engine_ranks_and_when_it_is_gone_lists_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_store, "models_dir", lambda: tmp_path / "compiled")
    base = tmp_path / "base"
    tokenizer = byte_level()
    tokenizer.save_pretrained(base)
    tiny("wide llama", len(tokenizer)).save_pretrained(base)
    (tmp_path / "token").write_text("secret\n")
    scene = Scene(tmp_path, completion=[{"label": name} for name in NAMES])
    with serving(Engine(load_scorer(base, quantize=False), token="secret")) as engine:
        flags = (
            "--remote",
            engine.url,
            "--remote-token-file",
            str(tmp_path / "token"),
            "--base",
            str(base),
            "--deadline",
            "5000",
        )
        async with scene.starling(*flags, root=tmp_path) as probe:
            probe.open(URI, TEXT, "python")
            async with asyncio.timeout(60):
                while True:
                    status = (await probe.backend.request("starling/status", {}, 10))["ranker"]
                    if status is not None and status["index"] and (status["remote"] or {}).get("state") == "ready":
                        break
                    await asyncio.sleep(0.05)
            items = in_order(items_of(await probe.complete(URI, 1, 16)))
            assert sorted(item["label"].removeprefix("★ ") for item in items) == NAMES
            status = (await probe.backend.request("starling/status", {}, 10))["ranker"]
            assert status["last"]["ranker"] == "remote"
            assert status["remote"]["inTime"] == 1 and status["model"] == "not needed"
            engine.fault = lambda path, body, answer: (503, b"")
            probe.open("file:///project/b.py", TEXT.replace("value", "copy"), "python")
            items = in_order(items_of(await probe.complete("file:///project/b.py", 1, 16)))
            assert len(items) == len(NAMES)
            status = (await probe.backend.request("starling/status", {}, 10))["ranker"]
            assert status["last"]["ranker"] in ("signals", "model")
            assert "503" in status["remote"]["reason"]
