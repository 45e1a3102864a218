"""Tests of the ranker's threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lsp_server.ranking import model_worker, workspace
from lsp_server.ranking.workspace import Workspace


@pytest.fixture(autouse=True)
def usual_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads make no room for others: beside other tests one would load a model in a minute, not in seconds."""
    for module in (model_worker, workspace):
        monkeypatch.setattr(module, "yield_to_others", lambda *_: None)


@pytest.fixture
def workspaces() -> Iterator[Callable[[], Workspace]]:
    """Makes workspaces, which are closed at the end."""
    made: list[Workspace] = []

    def make(cache_dir: Path | None = None) -> Workspace:
        made.append(Workspace(cache_dir))
        return made[-1]

    yield make
    for each in made:
        each.close(finish=False)
