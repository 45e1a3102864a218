"""Which model scores: the one on this machine also when it is installed while editors are open."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lsp_server.ranking.model_choice import ModelChoice
from tests.tuning.models import byte_level, tiny
from tests.tuning.ranking.serving.gguf_files import llama_gguf
from tuning.ranking.serving.model import adapter_spec, model_store


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny model, as if it were the default base; it is not installed."""
    tokenizer, file = byte_level(), tmp_path / "base.gguf"
    llama_gguf(file, tiny("wide llama", len(tokenizer)), tokenizer.backend_tokenizer)
    monkeypatch.setattr(model_store, "SIZE", file.stat().st_size)
    monkeypatch.setattr(model_store, "models_dir", lambda: tmp_path / "models")
    monkeypatch.setattr(adapter_spec, "SHIPPED", tmp_path / "none")
    model_store.models_dir().mkdir()
    return file


async def until_state(choice: ModelChoice, state: str) -> None:
    """Ask who scores, as each key does, until the model has this state."""
    async with asyncio.timeout(60):
        while choice.for_document(None) is None and choice.status()["model"] != state:
            await asyncio.sleep(0.02)
    assert choice.status()["model"] == state


async def test_a_base_that_is_installed_later_is_used(base: Path) -> None:
    choice = ModelChoice("", None)
    choice.start("", 0.06)
    await until_state(choice, "failed")
    assert "starling install-model" in choice.status()["reason"]
    base.replace(model_store.gguf_file())
    await until_state(choice, "ready")


async def test_a_base_that_is_there_and_broken_is_tried_once(base: Path) -> None:
    base.write_bytes(bytes(base.stat().st_size))
    base.replace(model_store.gguf_file())
    choice = ModelChoice("", None)
    choice.start("", 0.06)
    await until_state(choice, "failed")
    assert choice.for_document(None) is None
    assert choice.status()["model"] == "failed"
