"""People with homes of their own, and a publication of one of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tuning.ranking.serving.sharing.publications import adapter, trained
from tuning.ranking.serving.model import adapter_registry
from tuning.ranking.serving.model.adapter_registry import ADAPTERS
from tuning.ranking.serving.sharing.publishing import publish

Be = Callable[[str], Path]


@pytest.fixture
def be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Be:
    """Whose home is meant from now on; ann's at first."""

    def switch(name: str) -> Path:
        monkeypatch.setattr(adapter_registry, "home", lambda kind=ADAPTERS: tmp_path / "homes" / name / kind)
        return tmp_path / "homes" / name

    switch("ann")
    return switch


@pytest.fixture
def share(tmp_path: Path, be: Be) -> Path:
    """Where ann published her adapter `team`, filled with 1; it is bob's home from here on, and he has a checkout of shop."""
    trained(adapter(tmp_path / "made"))
    publish(["team"], ADAPTERS, tmp_path / "share")
    be("bob")
    (tmp_path / "code" / "shop").mkdir(parents=True)
    return tmp_path / "share"
