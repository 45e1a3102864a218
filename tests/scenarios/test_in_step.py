"""A list is of the text that the editor has: a server gets every change before the request that follows it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.editor import URI, FakeEditor, editing
from tests.scenarios.harness import until
from tests.scenarios.several import several, where

CHANGE, COMPLETION = "textDocument/didChange", "textDocument/completion"
KEYS = 30
ITEMS = [{"label": name} for name in ("alpha", "beta")]
SYNCHRONISED = [{"textDocumentSync": 2}, {"textDocumentSync": 1}]


@pytest.mark.parametrize("capabilities", SYNCHRONISED, ids=["incremental", "full"])
async def test_one_command_gets_each_change_before_its_request(tmp_path: Path, capabilities: dict[str, Any]) -> None:
    async with editing(tmp_path, capabilities=capabilities, completion=ITEMS) as editor:
        editor.open("")
        await typed(editor)
        assert versions_at_requests(tmp_path / "log.jsonl") == list(range(2, KEYS + 2))


async def test_each_of_several_servers_gets_each_change_before_its_request(tmp_path: Path) -> None:
    specs = {
        name: {"capabilities": capabilities, "completion": [{"label": name}]}
        for name, capabilities in zip(("one", "two"), SYNCHRONISED, strict=True)
    }
    async with several(tmp_path, {"python": specs}) as scene:
        scene.editor.open("")
        for name in specs:
            await scene.until_heard(name, "textDocument/didOpen")
        await until(lambda: list(scene.running().values()).count(None) == 0)
        await typed(scene.editor, "one", "two")
        for name in specs:
            assert versions_at_requests(tmp_path / name / "log.jsonl") == list(range(2, KEYS + 2))


async def typed(editor: FakeEditor, *labels: str) -> None:
    """Type letters, and ask for a list after each without waiting; every reply has all the items of the servers."""
    for version in range(2, KEYS + 2):
        at = {"line": 0, "character": version - 2}
        change = {"range": {"start": at, "end": at}, "text": "x"}
        editor.notify(CHANGE, {"textDocument": {"uri": URI, "version": version}, "contentChanges": [change]})
        end = {"line": 0, "character": version - 1}
        editor.request(COMPLETION, {**where(URI), "position": end}, version)
    for version in range(2, KEYS + 2):
        result = (await editor.reply(version))["result"]
        items = result["items"] if isinstance(result, dict) else result
        assert sorted(item["label"] for item in items) == sorted(labels or ["alpha", "beta"])


def versions_at_requests(log: Path) -> list[int]:
    """For each completion request that a server got, the version of the document that it had by then."""
    version, found = 1, []
    for line in log.read_text(encoding="utf-8").splitlines():
        message = json.loads(line)
        if message.get("method") == CHANGE:
            version = message["params"]["textDocument"]["version"]
        elif message.get("method") == COMPLETION:
            found.append(version)
    return found
