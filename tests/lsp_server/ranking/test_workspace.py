"""The files around what is edited, in the background: floods of events, builds that fail or are overtaken, and the end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from corpus.syntax.tokens import hash_names
from lsp_server.ranking import upkeep
from lsp_server.ranking.workspace import Workspace
from tuning.ranking.serving.index.context import FileContext
from tuning.ranking.serving.index.repeats import Nearby
from tuning.ranking.serving.index.workspace_index import WorkspaceIndex

SOURCE = "client.send(data)\n"


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


async def ready(workspace: Workspace) -> WorkspaceIndex:
    """Wait until an index of all folders is in use."""
    async with asyncio.timeout(30):
        while workspace.index is None or not workspace.index.ready:
            await asyncio.sleep(0.005)
    return workspace.index


async def kept_up(workspace: Workspace) -> None:
    """Wait until upkeep has nothing more to do."""
    asked = workspace._asked  # pyright: ignore[reportPrivateUsage]
    while True:
        await asyncio.wrap_future(workspace._upkeep.submit(lambda: None))  # pyright: ignore[reportPrivateUsage]
        if not asked._queued:  # pyright: ignore[reportPrivateUsage]
            return


async def in_use(workspace: Workspace) -> WorkspaceIndex:
    """Wait until an index is in use, and nothing is being built. An index is ready a moment before it is taken into use."""
    index = await ready(workspace)
    for thread in threading.enumerate():
        if thread.name == "index":
            await asyncio.to_thread(thread.join, 30)
    await kept_up(workspace)
    return index


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
    async with asyncio.timeout(30):
        while workspace.index is old:
            await asyncio.sleep(0.005)
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
    async with asyncio.timeout(30):
        while workspace.index is empty:
            await asyncio.sleep(0.005)
    assert uses(await ready(workspace)) == 2
    assert "failed" not in caplog.text


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
