"""A team's night and morning: three repositories become a table and an adapter on one machine, and rank on two others while their servers run."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from lsp_server.probe import Probe, in_order, items_of
from tests.corpus.repositories import repository
from tests.scenarios.harness import FAKE, SIGNALS, ranking, until
from tests.tuning.models import byte_level, tiny
from tests.tuning.ranking.serving.sharing.publications import Server, adapter

SHOPS = ("north", "south", "west")
TEXT = "from shelf import Shelf\n\n\ndef f(shelf: Shelf) -> None:\n    shelf."
OFFERED = [{"label": name, "kind": 3} for name in ("alpha", "beta", "restock", "value")]


def caller(name: str) -> bytes:
    """A file that is like no other, but for what it uses."""
    lines = "".join(f"    shelf.restock({name}_{n}, {name}={n})\n    {name}_{n}.{name}_done()\n" for n in range(12))
    return f"from shelf import Shelf\n\n\ndef {name}(shelf: Shelf) -> None:\n{lines}".encode()


class Person:
    """Somebody with a home of their own, and a checkout of each shop somewhere in it."""

    def __init__(self, folder: Path, name: str, code: str) -> None:
        self.home, self.code = folder / name, folder / name / code
        for shop in SHOPS:
            (self.code / shop).mkdir(parents=True)
        folders = {variable: str(self.home / variable) for variable in ("XDG_DATA_HOME", "XDG_CACHE_HOME")}
        self.env = {"HOME": str(self.home), "XDG_STATE_HOME": str(self.home / "state"), **folders}
        self.spec = self.home / "fake.json"
        self.spec.write_text(json.dumps({"completion": OFFERED}))

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-P", "-m", "starling_lsp", *map(str, words)]
        env = {**os.environ, **self.env, "COLUMNS": "300"}
        return subprocess.Popen(command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def starling(self, *words: str | Path, code: int = 0) -> str:
        """Run a command; what it printed."""
        done = self.start(*words)
        said, _ = done.communicate(timeout=120)
        assert done.returncode == code, said
        return " ".join(said.split())

    def server(self, *flags: str) -> Probe:
        env = [f"{name}={value}" for name, value in self.env.items()]
        wrapped = [sys.executable, str(FAKE), str(self.spec)]
        return Probe(["env", *env, sys.executable, "-m", "lsp_server", "--stdio", *flags, "--", *wrapped])


async def opened(probe: Probe, root: Path) -> Probe:
    """A running server with a new file of a project open."""
    await probe.start(root)
    probe.open((root / "own.py").as_uri(), TEXT, "python")
    await ranking(probe)
    return probe


async def first(probe: Probe, root: Path) -> str:
    """What the list begins with, after `shelf.`."""
    result = await probe.complete((root / "own.py").as_uri(), TEXT.count("\n"), len(TEXT.rpartition("\n")[2]))
    return in_order(items_of(result))[0]["label"].removeprefix("★ ")


async def until_first(probe: Probe, root: Path, name: str) -> None:
    async with asyncio.timeout(20):
        while await first(probe, root) != name:
            await asyncio.sleep(0.1)


async def until_adapter(probe: Probe, root: Path, folder: Path | None) -> None:
    """Until the model that ranks has this adapter in its weights."""
    async with asyncio.timeout(60):
        while True:
            await first(probe, root)
            status: Any = (await probe.backend.request("starling/status", {}, 10))["ranker"]
            assert not status["reason"]
            last = status["last"]
            if last["ranker"] == "model" and last["adapter"] == ("" if folder is None else str(folder)):
                return
            await asyncio.sleep(0.1)


def compiled(person: Person) -> set[str]:
    """The adapters that are in the weights of somebody's models."""
    models = person.home / "XDG_CACHE_HOME" / "starling" / "models" / "serving"
    found = [json.loads(file.read_text())["adapters"] for file in models.glob("*/about.json")]
    return {adapter for adapters in found for adapter in adapters}


@pytest.fixture
def team(tmp_path: Path) -> tuple[Person, Person, Person]:
    """The machine that trains at night, and two people."""
    night = Person(tmp_path, "night", "checkouts")
    for shop in SHOPS:
        repository(night.code / shop / ".git", {f"{shop}.py": caller(shop)}, licence=None)
    return night, Person(tmp_path, "ann", "src"), Person(tmp_path, "bob", "work/github")


@pytest.fixture
def share(tmp_path: Path) -> Iterator[Server]:
    """Static files, behind an address."""
    (tmp_path / "share").mkdir()
    with Server(tmp_path / "share").running() as server:
        yield server


async def test_a_night_s_table_reaches_everybody_and_each_goes_back_alone(
    team: tuple[Person, Person, Person], share: Server, tmp_path: Path
) -> None:
    night, ann, bob = team
    repos = [f"--repo={night.code / shop}" for shop in SHOPS]
    night.starling("train", "--usage", "--name", "shops", *repos)
    night.starling("adapters", "publish", "shops", "--usage", "--to", tmp_path / "share")
    here, there, elsewhere = ann.code / "north", bob.code / "west", bob.code / "elsewhere"
    async with AsyncExitStack() as running:
        ranks = {}
        for person, root in ((ann, here), (bob, there)):
            ranks[root] = await opened(person.server(*SIGNALS), root)
            running.push_async_callback(ranks[root].stop)
        ranks[there].open((elsewhere / "own.py").as_uri(), TEXT, "python")
        before = await first(ranks[there], elsewhere)
        assert await first(ranks[here], here) == await first(ranks[there], there) == before != "restock"
        bob.starling("adapters", "sync", share.address, "--workspace", bob.home / "work")
        at_once = [ann.start("adapters", "sync", share.address, "--workspace", ann.code) for _ in range(3)]
        said = [process.communicate(timeout=60)[0] for process in at_once]
        assert [process.returncode for process in at_once] == [0, 0, 0], said
        assert sum("installed" in text for text in said) == 1
        folder = ann.home / "XDG_DATA_HOME" / "starling" / "usage" / "shops"
        assert sorted(file.name for file in folder.iterdir()) == ["0001", "used"]
        for root in (here, there):
            await until_first(ranks[root], root, "restock")  # without a new start
        assert await first(ranks[there], elsewhere) == before  # for the team's repositories alone
        ann.starling("rollback", "shops", "--usage")
        await until_first(ranks[here], here, before)
        assert await first(ranks[there], there) == "restock"
    assert "you went back" in ann.starling("adapters", "sync", share.address, "--workspace", ann.code)


async def test_a_running_server_ranks_with_the_adapter_that_was_synced_and_goes_back(
    team: tuple[Person, Person, Person], tmp_path: Path
) -> None:
    night, ann, _ = team
    tokenizer = byte_level()
    base = tmp_path / "base"
    tiny("wide llama", len(tokenizer)).save_pretrained(base)
    tokenizer.save_pretrained(base)
    installed = night.home / "XDG_DATA_HOME" / "starling" / "adapters" / "shops"
    adapter(installed / "0001", 0.05, width=64)
    card = {"base": str(base), "workspaces": [str(night.code / "south")], "languages": ["python"]}
    (installed / "0001" / "starling.json").write_text(json.dumps(card))  # as `train` leaves it
    (installed / "used").write_text("1\n")
    night.starling("adapters", "publish", "shops", "--to", tmp_path / "share")
    root = ann.code / "south"
    probe = await opened(ann.server("--base", str(base), "--deadline", "2000"), root)
    try:
        await until_adapter(probe, root, None)
        ann.starling("adapters", "sync", tmp_path / "share", "--workspace", ann.code, "--base", base)
        folder = ann.home / "XDG_DATA_HOME" / "starling" / "adapters" / "shops" / "0001"
        await until_adapter(probe, root, folder)
        await until(lambda: compiled(ann) == {str(folder)})
        ann.starling("rollback", "shops")
        await until_adapter(probe, root, None)
    finally:
        await probe.stop()


def test_without_a_network_and_without_extras_it_is_said(team: tuple[Person, Person, Person], tmp_path: Path) -> None:
    _, ann, _ = team
    with Server(tmp_path).running() as gone:
        address = gone.address
    said = ann.starling("adapters", "sync", address, code=1)
    assert f"{address} could not be reached" in said and "What is installed goes on as it is." in said
    assert "Traceback" not in said
    script = """
import sys
for name in ("torch", "transformers", "safetensors", "pygit2", "pyarrow", "rensa", "filelock", "huggingface_hub"):
    sys.modules[name] = None  # importing it fails
from starling_lsp.__main__ import main
sys.exit(main(["adapters", "sync", *sys.argv[1:]]))
"""
    (tmp_path / "share").mkdir()
    (tmp_path / "share" / "starling-adapters.json").write_text(
        '{"format": "starling adapters", "version": 1, "entries": []}'
    )
    for source, code, what in (
        (tmp_path / "share", 0, "nothing is published"),
        ("hf:a/b", 2, "huggingface_hub is not"),
    ):
        words = [sys.executable, "-c", script, str(source)]
        done = subprocess.run(words, env={**os.environ, **ann.env}, capture_output=True, text=True, check=False)
        assert done.returncode == code and what in done.stdout + done.stderr
