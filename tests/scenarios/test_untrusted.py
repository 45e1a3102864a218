"""What a workspace can't do, where Starling does not connect, and sessions beside each other."""

from __future__ import annotations

import os
import sys
import venv
from pathlib import Path
from typing import Any

import pytest

from lsp_server.jsonrpc import wire
from lsp_server.probe import CLIENT_CAPABILITIES, Probe
from tests.fakes.editor import URI, FakeRanker, editing, received_in
from tests.scenarios.harness import SIGNALS, Scene, ranking

WHERE = {"textDocument": {"uri": URI}, "position": {"line": 0, "character": 0}}
LIST = [{"label": "one"}, {"label": "two"}]
ROOT = Path(__file__).parent.parent.parent
EVIL = "raise SystemExit('a workspace chose our modules')\n"
AUDIT = """
import os, sys
def note(line):
    with open(os.environ["AUDIT"], "a") as file:
        file.write(line + chr(10))
def hook(event, arguments):
    if event in ("socket.connect", "socket.sendto"):
        note(f"connect {arguments[1]!r}")
    elif event == "socket.getaddrinfo":
        note(f"resolve {arguments[0]!r}")
sys.addaudithook(hook)
note("started " + " ".join(sys.orig_argv).replace(chr(10), " "))
"""


def watched_python(folder: Path) -> str:
    """An interpreter that runs AUDIT at its start, whatever its flags and its environment are."""
    venv.create(folder)
    packages = next(folder.glob("lib/python3*/site-packages"))
    (packages / "audit.py").write_text(AUDIT)
    installed = [entry for entry in (str(ROOT), *sys.path) if entry.endswith("site-packages") or entry == str(ROOT)]
    (packages / "all.pth").write_text("\n".join(["import audit", *installed]))
    return str(folder / "bin" / "python")


async def test_no_process_of_starling_connects_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", watched_python(tmp_path / "venv"))
    scene = Scene(tmp_path, completion=LIST)
    os.environ |= {"AUDIT": str(tmp_path / "audit")}
    async with scene.starling("--ranker", "model") as probe:
        probe.open(URI, "x.\n", "python")
        await ranking(probe)
        assert len(await probe.complete(URI, 0, 2)) == 2
    lines = (tmp_path / "audit").read_text().splitlines()
    started = [line for line in lines if line.startswith("started")]
    for part in ("lsp_server --stdio", "lsp_server.ranking.ranker_process", "fake_server.py"):
        assert any(part in line for line in started), part
    assert [line for line in lines if line not in started] == []


@pytest.mark.parametrize("launch", [("-m", "lsp_server"), ("starling",)], ids=lambda words: words[-1])
async def test_modules_of_a_workspace_are_not_ours(tmp_path: Path, launch: tuple[str, ...]) -> None:
    root = tmp_path / "project"
    root.mkdir()
    names = ["msgspec", "numpy", "platformdirs", "asyncio", "corpus", "tuning"]
    for name in names if launch[0] == "-m" else [*names, "lsp_server"]:
        (root / f"{name}.py").write_text(EVIL)
        (root / name).mkdir()
        (root / name / "__init__.py").write_text(EVIL)
    scene = Scene(tmp_path, completion=LIST)
    start = [sys.executable, *launch] if launch[0] == "-m" else [str(Path(sys.executable).parent / launch[0])]
    probe = Probe([*start, "--stdio", "--ranker", "signals", "--", *scene.fake])
    await probe.start(root)
    probe.open(URI, "x.\n", "python")
    await ranking(probe)
    assert len(await probe.complete(URI, 0, 2)) == 2
    await probe.stop()


async def test_settings_of_a_workspace_choose_nothing_that_runs(tmp_path: Path) -> None:
    async with editing(tmp_path) as editor:
        before = editor.session.state.settings
        evil = {"command": ["evil"], "base": "evil", "adapter": "evil", "server": "evil", "deadline": 7}
        editor.notify("workspace/didChangeConfiguration", {"settings": {"starling": evil, "theirs": 1}})
        await editor.ask("odd/flush", None)
        after = editor.session.state.settings
        assert (after.command, after.base, after.adapter, after.server) == (before.command, "", "", "")
        assert after.deadline == 7
        assert len(editor.shown()) == 4
        assert received_in(tmp_path, "workspace/didChangeConfiguration") == [{"settings": {"theirs": 1}}]


@pytest.mark.parametrize(
    ("params", "why"),
    [
        (None, "takes"),
        ([], "takes"),
        ({"items": []}, "'textDocument'"),
        ({"textDocument": {}, "position": {}}, "'items'"),
        ({**WHERE, "items": [{}]}, "label"),
        ({"textDocument": {}, "position": {}, "items": [{"label": "a"}]}, "uri"),
        ({"textDocument": {"uri": URI}, "position": {"line": "x"}, "items": [{"label": "a"}]}, "position"),
    ],
)
async def test_rank_says_what_is_wrong_with_its_params(tmp_path: Path, params: Any, why: str) -> None:
    async with editing(tmp_path, ranker=FakeRanker()) as editor:
        error = (await editor.ask("starling/rank", params))["error"]
        assert error["code"] == wire.INVALID_PARAMS
        assert why in error["message"]


@pytest.mark.parametrize(("encoding", "column"), [("utf-8", 17), ("utf-16", 15), ("utf-32", 14)])
async def test_columns_are_the_wrapped_servers(tmp_path: Path, encoding: str, column: int) -> None:
    """The receiver is known only where the cursor is found: x.two() was used twice, y.one() never."""
    scene = Scene(tmp_path, completion=LIST, capabilities={"positionEncoding": encoding})
    capabilities = {**CLIENT_CAPABILITIES, "general": {"positionEncodings": ["utf-8", "utf-16", "utf-32"]}}
    async with scene.starling(*SIGNALS, capabilities=capabilities) as probe:
        probe.open(URI, "x.two()\nx.two()\ns = '😀'; t = x\n", "python")
        line = {"line": 2, "character": column}
        probe.change(URI, 2, ".", {"start": line, "end": line})
        await ranking(probe)
        items = await probe.complete(URI, 2, column + 1)
        assert items[1]["sortText"] < items[0]["sortText"]
        resolved = await probe.backend.request("completionItem/resolve", items[1], 10)
        assert "used like this 2 times in this file" in resolved["documentation"]["value"]
