"""The files around what is edited, in the background: floods of events, and the end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corpus.syntax.tokens import hash_names
from lsp_server.ranking import upkeep
from lsp_server.ranking.workspace import Workspace
from tests.scenarios.harness import until
from tuning.ranking.serving.index.context import FileContext
from tuning.ranking.serving.index.repeats import Nearby
from tuning.ranking.serving.index.workspace_index import WorkspaceIndex

SOURCE = "client.send(data)\n"


async def ready(workspace: Workspace) -> WorkspaceIndex:
    """Wait until an index of all folders is in use."""
    return await until(lambda: workspace.index if workspace.index is not None and workspace.index.ready else None, 30)


async def kept_up(workspace: Workspace) -> None:
    """Wait until upkeep has nothing more to do. Work that has begun is not queued any more, and may ask for more."""
    asked, idle = workspace._asked, 0  # pyright: ignore[reportPrivateUsage]
    while idle < 3:
        await asyncio.wrap_future(workspace._upkeep.submit(lambda: None))  # pyright: ignore[reportPrivateUsage]
        idle = 0 if asked._queued else idle + 1  # pyright: ignore[reportPrivateUsage]


async def built() -> None:
    """Wait until no thread builds an index."""
    for thread in threading.enumerate():
        if thread.name == "index":
            await asyncio.to_thread(thread.join, 30)


async def in_use(workspace: Workspace) -> WorkspaceIndex:
    """Wait until the last index is in use. An index is ready a moment before it is taken into use."""
    await built()
    await kept_up(workspace)
    return await ready(workspace)


class Gate:
    """Keeps upkeep's thread until it is opened."""

    def __init__(self, workspace: Workspace) -> None:
        self.opened, self.reached = threading.Event(), threading.Event()
        workspace.later(self._wait)

    def _wait(self) -> None:
        self.reached.set()
        assert self.opened.wait(30)


def uses(index: WorkspaceIndex) -> int:
    return int(index.score(FileContext.of(b"client.", b""), hash_names(["send"])).workspace_uses[0])


def counted(monkeypatch: pytest.MonkeyPatch, name: str) -> list[Any]:
    """The arguments of each call of one of the index's methods from now on."""
    calls: list[Any] = []
    whole = getattr(WorkspaceIndex, name)

    def count(index: WorkspaceIndex, *arguments: Any) -> Any:
        calls.append(arguments)
        return whole(index, *arguments)

    monkeypatch.setattr(WorkspaceIndex, name, count)
    return calls


async def test_a_flood_of_events_reads_each_file_once_and_looks_around_once(
    tmp_path: Path, workspaces: Callable[[], Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / f"{number}.py" for number in range(30)]
    for path in paths:
        path.write_text(SOURCE)
    workspace = workspaces()
    workspace.open([tmp_path.as_uri()])
    index = await ready(workspace)
    workspace.opened((tmp_path / "own.py").as_uri())
    await kept_up(workspace)
    gate = Gate(workspace)
    refreshed, looked = counted(monkeypatch, "refresh"), counted(monkeypatch, "nearby")
    for path in paths:
        path.write_text(SOURCE * 2)
    for _ in range(100):
        workspace.changed(path.as_uri() for path in (*paths, tmp_path / "other.txt"))
    assert workspace._upkeep._work_queue.qsize() < 10  # pyright: ignore[reportPrivateUsage]
    gate.opened.set()
    await kept_up(workspace)
    assert sorted(path for call in refreshed for path in call) == sorted(paths)
    assert len(looked) == 1
    assert uses(index) == 60


async def test_a_document_that_is_opened_does_not_wait_for_the_flood(
    tmp_path: Path, workspaces: Callable[[], Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "SLICE", 2)
    (tmp_path / "a.py").write_text(SOURCE)
    workspace = workspaces()
    workspace.open([tmp_path.as_uri()])
    await ready(workspace)
    gate = Gate(workspace)
    order: list[str] = []
    for name in ("refresh", "hide", "nearby"):
        monkeypatch.setattr(WorkspaceIndex, name, lambda *_, name=name: order.append(name))
    workspace.changed((tmp_path / f"{number}.py").as_uri() for number in range(10))
    folder = workspace.opened((tmp_path / "a.py").as_uri())
    gate.opened.set()
    await kept_up(workspace)
    assert folder == str(tmp_path.resolve())
    assert order == ["hide", "refresh", "nearby", *["refresh"] * 4]


async def test_what_waits_is_bounded(
    tmp_path: Path,
    workspaces: Callable[[], Workspace],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(upkeep, "MOST_CHANGED", 10)
    workspace = workspaces()
    workspace.open([tmp_path.as_uri()])
    await ready(workspace)
    gate = Gate(workspace)
    refreshed = counted(monkeypatch, "refresh")
    for start in (0, 5, 20, 40):
        workspace.changed((tmp_path / f"{number}.py").as_uri() for number in range(start, start + 10))
    gate.opened.set()
    await kept_up(workspace)
    assert sum(map(len, refreshed)) == 10
    assert caplog.text.count("changed at once") == 1


async def test_one_bad_uri_or_path_costs_itself(tmp_path: Path, workspaces: Callable[[], Workspace]) -> None:
    (tmp_path / "loop").symlink_to("loop")
    workspace = workspaces()
    workspace.open([tmp_path.as_uri(), "file://[", "file:///a%00b", f"{tmp_path.as_uri()}/loop"])
    index = await ready(workspace)
    (tmp_path / "a.py").write_text(SOURCE)
    bad = ["file://[", "file:///a%00b/c.py", f"{tmp_path.as_uri()}/loop/b.py", "untitled:c.py"]
    workspace.changed([*bad, (tmp_path / "a.py").as_uri()])
    for uri in bad:
        workspace.opened(uri)
        workspace.closed(uri)
    await kept_up(workspace)
    assert uses(index) == 1


async def test_looking_that_fails_is_not_tried_at_each_key(
    tmp_path: Path, workspaces: Callable[[], Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def broken(index: WorkspaceIndex, folder: str) -> Nearby:
        tried.append(folder)
        raise RuntimeError("can't look around")

    monkeypatch.setattr(WorkspaceIndex, "nearby", broken)
    workspace = workspaces()
    workspace.open([tmp_path.as_uri()])
    await ready(workspace)
    folder = workspace.opened((tmp_path / "own.py").as_uri())
    await kept_up(workspace)
    for _ in range(5):
        workspace.nearby(folder)
        await kept_up(workspace)
    assert tried == [folder]


def ends(workspace: Workspace, *, finish: bool) -> bool:
    closing = threading.Thread(target=workspace.close, kwargs={"finish": finish}, daemon=True)
    closing.start()
    closing.join(30)
    return not closing.is_alive()


async def test_the_end_waits_for_the_log_and_not_for_files(
    tmp_path: Path, workspaces: Callable[[], Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = workspaces()
    workspace.open([tmp_path.as_uri()])
    await ready(workspace)
    monkeypatch.setattr("lsp_server.ranking.workspace.FINISH", 30)
    gate, written = Gate(workspace), threading.Event()
    refreshed = counted(monkeypatch, "refresh")
    workspace.changed([(tmp_path / "a.py").as_uri()])
    workspace.later(written.set)
    threading.Timer(0.05, gate.opened.set).start()
    assert ends(workspace, finish=True)
    assert written.is_set()
    assert refreshed == []
    workspace.changed([(tmp_path / "a.py").as_uri()])  # what comes after the end is not an error
    workspace.later(written.set)


async def test_the_end_does_not_wait_for_ever(tmp_path: Path, workspaces: Callable[[], Workspace]) -> None:
    workspace = workspaces()
    workspace.open([tmp_path.as_uri()])
    await ready(workspace)
    gate = Gate(workspace)
    try:
        assert gate.reached.wait(30)
        assert ends(workspace, finish=True)
    finally:
        gate.opened.set()
