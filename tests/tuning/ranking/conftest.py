"""Models that tests compile are theirs alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuning.ranking.serving.model import model_store


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(autouse=True)
def own_models(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_store, "models_dir", lambda: models)
