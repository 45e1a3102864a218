"""Mining on a real Ray cluster of two nodes, here, on the loopback interface: the corpus that local processes give, byte for
byte, also where a process is killed under way or a node goes.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
from collections.abc import Callable, Collection
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from corpus.__main__ import main
from corpus.mining import readings
from corpus.mining.mine import mine
from corpus.mining.readings import Known, Reading, Source
from corpus.mining.survey import Options
from corpus.mining.workers import RayUnreachable, results
from tests.corpus.repositories import contents, six_sources

pytestmark = pytest.mark.ray

UNDER_WAY, KILLED, DOOMED, GO_ON = "under-way", "killed", "doomed", "go-on"
read_source = readings.read


@pytest.fixture
def sources(tmp_path: Path) -> list[Source]:
    os.mkfifo(tmp_path / UNDER_WAY)
    os.mkfifo(tmp_path / GO_ON)
    return six_sources(tmp_path)


def _waits(source: Source) -> None:
    """Say that this process is under way, and wait for its end."""
    Path(source.place).with_name(UNDER_WAY).write_text(str(os.getpid()))
    signal.pause()


def _waits_once(source: Source, *, options: Options, base: str, known: Collection[str]) -> Reading | Known:
    killed = Path(source.place).with_name(KILLED)
    if source.name == "o/dan" and not killed.exists():
        killed.touch()
        _waits(source)
    return read_source(source, options=options, base=base, known=known)


def _waits_on_doomed_node(source: Source, *, options: Options, base: str, known: Collection[str]) -> Reading | Known:
    import ray

    if ray.get_runtime_context().get_node_id() == Path(source.place).with_name(DOOMED).read_text():
        _waits(source)
    os.close(os.open(Path(source.place).with_name(GO_ON), os.O_RDONLY))  # a quick node leaves the doomed one something
    return read_source(source, options=options, base=base, known=known)


def check_same_corpus(
    folder: Path, sources: list[Source], cluster: Any, when_under_way: Callable[[int], object]
) -> None:
    """The corpus with `when_under_way` called with a process that has a source is the one of local processes."""
    struck = Event()

    def strike() -> None:
        process = int((folder / UNDER_WAY).read_text())
        os.open(folder / GO_ON, os.O_RDWR)  # open until the tests end: from here on nobody waits for it
        when_under_way(process)
        struck.set()

    Thread(target=strike, daemon=True).start()
    mine(sources, folder / "cluster", Options(), ray=cluster.address)
    assert struck.wait(30)
    mine(sources, folder / "here", Options())
    assert contents(folder / "cluster") == contents(folder / "here")


def test_the_command_gives_the_same_bytes_on_a_cluster_as_here(
    tmp_path: Path, sources: list[Source], cluster: Any
) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("".join(f"{source.place} {source.name}\n" for source in sources))
    arguments = ["mine", "--list", str(listed), str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--ray", cluster.address]) == 1
    found = contents(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    assert main([*arguments, "--jobs", "1"]) == 1
    assert contents(tmp_path / "out") == found


def test_a_process_killed_under_way_loses_nothing(
    tmp_path: Path, sources: list[Source], cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readings, "read", _waits_once)
    check_same_corpus(tmp_path, sources, cluster, lambda process: os.kill(process, signal.SIGKILL))


def test_a_node_lost_under_way_loses_nothing(
    tmp_path: Path, sources: list[Source], cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (doomed,) = cluster.worker_nodes
    (tmp_path / DOOMED).write_text(doomed.node_id)
    monkeypatch.setattr(readings, "read", _waits_on_doomed_node)
    check_same_corpus(tmp_path, sources, cluster, lambda _: cluster.remove_node(doomed, allow_graceful=False))


def _waits_for_ever(source: Source, *, options: Options, base: str, known: Collection[str]) -> Reading | Known:
    if source.name == "o/dan":
        signal.pause()
    return read_source(source, options=options, base=base, known=known)


def test_a_source_that_takes_too_long_costs_only_itself(
    tmp_path: Path, sources: list[Source], cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readings, "read", _waits_for_ever)
    manifest = mine(sources, tmp_path / "out", Options(), ray=cluster.address, seconds=10)
    assert len(manifest.repositories) == len(sources) - 1
    (problem,) = manifest.failed.values()
    assert problem == "took longer than 10 s. Leave the source out, or allow it more with --seconds."


def test_an_address_where_nothing_answers_is_said_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = f"127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(RayUnreachable, match=closed):
        list(results(abs, [1], jobs=1, ray=closed))
