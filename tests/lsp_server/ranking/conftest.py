"""Tests of the ranker's threads."""

from __future__ import annotations

import pytest

from lsp_server.ranking import model_worker, workspace


@pytest.fixture(autouse=True)
def usual_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads make no room for others: beside other tests one would load a model in a minute, not in seconds."""
    for module in (model_worker, workspace):
        monkeypatch.setattr(module, "yield_to_others", lambda *_: None)
