"""The index of a workspace while it is built: builds that fail or are overtaken, and what happens meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lsp_server.ranking.workspace import Workspace
from tests.lsp_server.ranking.test_workspace import SOURCE, Gate, built, in_use, kept_up, ready, uses
from tests.scenarios.harness import until
from tuning.ranking.serving.index import workspace_index
from tuning.ranking.serving.index.workspace_index import WorkspaceIndex


@pytest.mark.parametrize("failures", [1, 2])
async def test_a_build_that_fails_leaves_an_index(
    tmp_path: Path, workspaces: Callable[[], Workspace], monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    (tmp_path / "a.py").write_text(SOURCE)
    whole = WorkspaceIndex.build
    tried: list[WorkspaceIndex] = []

    def failing(index: WorkspaceIndex, **options: Any) -> None:
        tried.append(index)
        if len(tried) <= failures:
            raise MemoryError
        whole(index, **options)

    monkeypatch.setattr(WorkspaceIndex, "build", failing)
    workspace = workspaces()
    workspace.open([tmp_path.as_uri()])
    assert uses(await ready(workspace)) == (1 if failures == 1 else 0)
    assert len(tried) == 2


async def test_what_happens_while_other_folders_are_read_counts(
    tmp_path: Path, workspaces: Callable[[], Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Documents are closed and opened and files written between the reading of new folders and their use."""
    first, second = tmp_path / "first", tmp_path / "second"
    for name in ("closed.py", "opened.py", "changed.py"):
        for root in (first, second):
            root.mkdir(exist_ok=True)
            (root / name).write_text(SOURCE)
    workspace = workspaces()
    workspace.open([first.as_uri()])
    await ready(workspace)
    workspace.opened((second / "closed.py").as_uri())
    await kept_up(workspace)
    whole, built, go_on = WorkspaceIndex.build, threading.Event(), threading.Event()

    def slow(index: WorkspaceIndex, **options: Any) -> None:
        whole(index, **options)
        built.set()
        assert go_on.wait(30)

    monkeypatch.setattr(WorkspaceIndex, "build", slow)
    workspace.change_folders([first.as_uri()], [second.as_uri()])
    old = workspace.index
    await asyncio.to_thread(built.wait, 30)
    workspace.closed((second / "closed.py").as_uri())
    workspace.opened((second / "opened.py").as_uri())
    (second / "changed.py").write_text(SOURCE * 10)
    workspace.changed([(second / "changed.py").as_uri()])
    await kept_up(workspace)
    go_on.set()
    await until(lambda: workspace.index is not old, 30)
    assert uses(await ready(workspace)) == 1 + 10


async def test_folders_that_change_during_a_build_are_the_ones_that_are_used(
    tmp_path: Path, workspaces: Callable[[], Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "a.py").write_text(SOURCE * (number + 1))
    uris = [(tmp_path / str(number)).as_uri() for number in range(3)]
    whole, go_on, ended = WorkspaceIndex.build, threading.Event(), threading.Semaphore(0)

    def slow(index: WorkspaceIndex, **options: Any) -> None:
        if (tmp_path / "2").as_posix() not in str(index._roots):  # pyright: ignore[reportPrivateUsage]
            assert go_on.wait(30)
        whole(index, **options)
        ended.release()

    monkeypatch.setattr(WorkspaceIndex, "build", slow)
    workspace = workspaces()
    workspace.open(uris[:1])
    workspace.change_folders(uris[:1], uris[1:2])
    workspace.change_folders(uris[1:2], uris[2:])
    assert uses(await ready(workspace)) == 3
    go_on.set()
    for _ in range(3):
        assert await asyncio.to_thread(ended.acquire, timeout=30)
    await kept_up(workspace)
    assert workspace.index is not None
    assert uses(workspace.index) == 3


async def test_an_index_of_former_folders_is_not_taken_into_use(
    tmp_path: Path,
    workspaces: Callable[[], Workspace],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "a.py").write_text(SOURCE * (number + 1))
    uris = [(tmp_path / str(number)).as_uri() for number in range(2)]
    whole, built, go_on = WorkspaceIndex.build, threading.Event(), threading.Event()

    def build(index: WorkspaceIndex, **options: Any) -> None:
        if built.is_set():
            assert go_on.wait(30)
        whole(index, **options)
        built.set()

    monkeypatch.setattr(WorkspaceIndex, "build", build)
    workspace = workspaces()
    workspace.open([])
    empty = await in_use(workspace)
    built.clear()
    gate = Gate(workspace)
    workspace.change_folders([], uris[:1])
    assert await asyncio.to_thread(built.wait, 30)
    workspace.change_folders(uris[:1], uris[1:])
    gate.opened.set()
    await kept_up(workspace)
    assert workspace.index is empty
    go_on.set()
    await until(lambda: workspace.index is not empty, 30)
    assert uses(await ready(workspace)) == 2
    assert "failed" not in caplog.text


async def test_what_happens_while_the_files_are_listed_counts(
    tmp_path: Path, workspaces: Callable[[Path], Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The build then loads the kept index, and takes the files for what they were when they were listed."""
    root, cache = tmp_path / "root", tmp_path / "cache"
    root.mkdir()
    for name in ("changed.py", "deleted.py"):
        (root / name).write_text(SOURCE)
    before = workspaces(cache)
    before.open([root.as_uri()])
    assert uses(await in_use(before)) == 2
    whole, listed, go_on = workspace_index.source_files, threading.Event(), threading.Event()

    def slow(*arguments: Any, **options: Any) -> Any:
        found = whole(*arguments, **options)
        listed.set()
        assert go_on.wait(30)
        return found

    monkeypatch.setattr(workspace_index, "source_files", slow)
    workspace = workspaces(cache)
    workspace.open([root.as_uri()])
    assert await asyncio.to_thread(listed.wait, 30)
    (root / "changed.py").write_text(SOURCE * 10)
    (root / "new.py").write_text(SOURCE * 100)
    (root / "deleted.py").unlink()
    workspace.changed((root / name).as_uri() for name in ("changed.py", "new.py", "deleted.py"))
    await kept_up(workspace)
    go_on.set()
    assert uses(await in_use(workspace)) == 110


async def test_a_file_that_changes_after_the_build_has_read_it_counts_as_it_is(
    tmp_path: Path, workspaces: Callable[[], Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.py"
    path.write_text(SOURCE)
    whole, was_read, go_on = workspace_index.read_regular, threading.Event(), threading.Event()

    def slow(*arguments: Any) -> bytes:
        text = whole(*arguments)
        if threading.current_thread().name == "index":
            was_read.set()
            assert go_on.wait(30)
        return text

    monkeypatch.setattr(workspace_index, "read_regular", slow)
    workspace = workspaces()
    workspace.open([tmp_path.as_uri()])
    assert await asyncio.to_thread(was_read.wait, 30)
    path.write_text(SOURCE * 10)
    workspace.changed([path.as_uri()])
    await kept_up(workspace)
    go_on.set()
    assert uses(await in_use(workspace)) == 10


async def test_what_happens_before_upkeep_knows_the_new_index_counts(
    tmp_path: Path, workspaces: Callable[[], Workspace]
) -> None:
    """Upkeep is behind: it takes the event together with older ones, before it hears of the index."""
    path = tmp_path / "a.py"
    path.write_text(SOURCE)
    workspace = workspaces()
    workspace.open([])
    await in_use(workspace)
    gate = Gate(workspace)
    workspace.changed([(tmp_path / "older.py").as_uri()])
    workspace.change_folders([], [tmp_path.as_uri()])
    await built()
    path.write_text(SOURCE * 10)
    workspace.changed([path.as_uri()])
    gate.opened.set()
    assert uses(await in_use(workspace)) == 10


async def test_the_index_in_use_hears_of_files_until_another_replaces_it(
    tmp_path: Path, workspaces: Callable[[], Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folders change before upkeep has taken the first index into use; the second one takes its time."""
    first, second = tmp_path / "first", tmp_path / "second"
    for root in (first, second):
        root.mkdir()
        (root / "a.py").write_text(SOURCE)
    whole, go_on = WorkspaceIndex.build, threading.Event()
    gates: list[Gate] = []

    def build(index: WorkspaceIndex, **options: Any) -> None:
        if gates:
            assert go_on.wait(30)
        whole(index, **options)
        gates.append(Gate(workspace))

    monkeypatch.setattr(WorkspaceIndex, "build", build)
    workspace = workspaces()
    workspace.open([first.as_uri()])
    await built()
    workspace.change_folders([first.as_uri()], [second.as_uri()])
    gates[0].opened.set()
    await kept_up(workspace)
    index = workspace.index
    assert index is not None and index.ready
    (first / "a.py").write_text(SOURCE * 10)
    workspace.changed([(first / "a.py").as_uri()])
    await kept_up(workspace)
    assert uses(index) == 10
    go_on.set()
    await until(lambda: len(gates) == 2, 30)
    gates[1].opened.set()
    assert uses(await in_use(workspace)) == 1


async def test_an_index_that_was_not_finished_hears_of_files_until_another_replaces_it(
    tmp_path: Path, workspaces: Callable[[], Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for root in (first, second):
        root.mkdir()
    whole, ended = WorkspaceIndex.build, threading.Event()
    go_on = {str(root.resolve()): threading.Event() for root in (first, second)}

    def build(index: WorkspaceIndex, **options: Any) -> None:
        (root,) = index._roots  # pyright: ignore[reportPrivateUsage]
        assert go_on[str(root)].wait(30)
        whole(index, **options)
        ended.set()

    monkeypatch.setattr(WorkspaceIndex, "build", build)
    workspace = workspaces()
    workspace.open([first.as_uri()])
    await until(lambda: len(workspace._live) == 1, 30)  # pyright: ignore[reportPrivateUsage]
    workspace.change_folders([first.as_uri()], [second.as_uri()])
    await until(lambda: len(workspace._live) == 2, 30)  # pyright: ignore[reportPrivateUsage]
    index = workspace.index
    go_on[str(first.resolve())].set()
    assert await asyncio.to_thread(ended.wait, 30)
    await until(lambda: sum(thread.name == "index" for thread in threading.enumerate()) <= 1, 30)
    await kept_up(workspace)
    assert index is not None and workspace.index is index and not index.ready
    (first / "a.py").write_text(SOURCE * 10)
    workspace.changed([(first / "a.py").as_uri()])
    await kept_up(workspace)
    assert index.files == 1
    go_on[str(second.resolve())].set()
    assert (await in_use(workspace)).files == 0
