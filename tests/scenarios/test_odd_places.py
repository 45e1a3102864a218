"""Documents that are not simply files below the one root: they complete and are ranked like any other."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from lsp_server.probe import CLIENT_CAPABILITIES, Probe, in_order
from tests.scenarios.harness import SIGNALS, Scene, ranking

LIST = [{"label": name, "kind": 5} for name in ("alpha", "beta", "value")]
TEXT = "box.value\nbox.value\nbox."

ODD = {
    "untitled": "untitled:Untitled-1",
    "a virtual scheme": "git:/project/a.py?%7B%22ref%22%3A%22HEAD%22%7D",
    "a remote": "vscode-remote://ssh/project/a.py",
    "spaces and letters": "file:///pro%20ject/%C3%A4%20b.py",
    "outside the root": "file:///elsewhere/a.py",
    "no URI at all": "a.py",
}


async def first(probe: Probe, uri: str, text: str = TEXT) -> str:
    line = text.count("\n")
    items = await probe.complete(uri, line, len(text.split("\n")[line]))
    assert all("sortText" in item for item in items)
    return in_order(items)[0]["label"].removeprefix("★ ")


@pytest.mark.parametrize("uri", ODD.values(), ids=ODD)
async def test_ranked_wherever_it_is(tmp_path: Path, uri: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    async with Scene(tmp_path, completion=LIST).starling(*SIGNALS, root=root) as probe:
        await ranking(probe)
        probe.open(uri, TEXT, "python")
        assert await first(probe, uri) == "value"


async def test_renamed_before_it_was_saved(tmp_path: Path) -> None:
    async with Scene(tmp_path, completion=LIST).starling(*SIGNALS) as probe:
        await ranking(probe)
        probe.open("untitled:Untitled-1", TEXT, "python")
        probe.backend.notify("textDocument/didClose", {"textDocument": {"uri": "untitled:Untitled-1"}})
        probe.open((tmp_path / "now.py").as_uri(), TEXT, "python")
        assert await first(probe, (tmp_path / "now.py").as_uri()) == "value"


async def indexed(probe: Probe, files: int) -> None:
    async def status() -> Any:
        return (await probe.backend.request("starling/status", {}, 10))["ranker"]

    async with asyncio.timeout(20):
        while (found := await status()) is None or not found["index"] or found["files"] != files:
            await asyncio.sleep(0.02)


async def test_two_roots_are_one_index(tmp_path: Path) -> None:
    roots = [tmp_path / "one", tmp_path / "two"]
    for root in roots:
        root.mkdir()
        (root / "used.py").write_text("box.value\n" * 20)
    folders = [{"uri": root.as_uri(), "name": root.name} for root in roots]
    probe = Probe(Scene(tmp_path, completion=LIST).command(*SIGNALS))
    await probe.backend.start()
    params = {"processId": None, "rootUri": None, "workspaceFolders": folders, "capabilities": CLIENT_CAPABILITIES}
    await probe.backend.request("initialize", params, 20)
    probe.backend.notify("initialized", {})
    await ranking(probe)
    await indexed(probe, 2)
    probe.open((roots[1] / "new.py").as_uri(), "box.", "python")
    assert await first(probe, (roots[1] / "new.py").as_uri(), "box.") == "value"
    await probe.stop()


async def test_a_folder_that_is_added_counts_and_one_that_is_removed_does_not(tmp_path: Path) -> None:
    roots = [tmp_path / "one", tmp_path / "two"]
    for root, name in zip(roots, ("alpha", "value"), strict=True):
        root.mkdir()
        (root / "used.py").write_text(f"box.{name}\n" * 20)
    folders = [{"uri": root.as_uri(), "name": root.name} for root in roots]
    async with Scene(tmp_path, completion=LIST).starling(*SIGNALS, root=roots[0]) as probe:
        await ranking(probe)
        probe.open("untitled:new", "box.", "python")
        assert await first(probe, "untitled:new", "box.") == "alpha"
        event = {"added": folders[1:], "removed": folders[:1]}
        probe.backend.notify("workspace/didChangeWorkspaceFolders", {"event": event})
        async with asyncio.timeout(20):
            while await first(probe, "untitled:new", "box.") != "value":
                await asyncio.sleep(0.05)


async def test_a_symlinked_root_and_its_target_are_one_place(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.mkdir()
    link.symlink_to(target)
    (target / "open.py").write_text("box.alpha\n" * 50)
    (target / "used.py").write_text("box.value\n" * 3)
    async with Scene(tmp_path, completion=LIST).starling(*SIGNALS, root=link) as probe:
        await ranking(probe)
        uri = (link / "open.py").as_uri()
        probe.open(uri, "box.", "python")  # what the editor shows counts, not the file behind the link
        async with asyncio.timeout(20):
            while await first(probe, uri, "box.") != "value":
                await asyncio.sleep(0.05)
        await indexed(probe, 2)  # the open document is one of them


@pytest.mark.parametrize(
    "data", ["box.größe\n".encode("latin-1") * 9, b"\xff\xfeb\x00o\x00x\x00"], ids=["latin-1", "utf-16"]
)
async def test_files_in_other_encodings_cost_nothing(tmp_path: Path, data: bytes) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "other.py").write_bytes(data)
    (root / "used.py").write_text("box.value\n" * 3)
    async with Scene(tmp_path, completion=LIST).starling(*SIGNALS, root=root) as probe:
        await ranking(probe)
        uri = (root / "new.py").as_uri()
        probe.open(uri, "größe = 1; box.", "python")
        assert await first(probe, uri, "größe = 1; box.") == "value"
