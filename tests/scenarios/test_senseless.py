"""What a wrapped server says that makes no sense, or leaves null, costs that alone: never what another said, nor the session."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fakes.editor import URI, FakeRanker, editing
from tests.scenarios.harness import until
from tests.scenarios.several import several, where
from tests.scenarios.test_servers_together import PY, asked, both_ready, server

LIST = [{"label": "b"}]
RESOLVE = "completionItem/resolve"


async def test_a_null_list_of_commands_leaves_the_rest_announced(tmp_path: Path) -> None:
    spec = {"capabilities": {"hoverProvider": True, "executeCommandProvider": {"commands": None}}}
    async with several(tmp_path, {"python": {"snake": spec}}) as scene:
        scene.editor.open("x = 1\n", PY)
        await until(lambda: "textDocument/hover" in scene.registered())
        assert (await scene.editor.ask("textDocument/hover", where(PY)))["result"] == {"echo": where(PY)}
        assert "'x'" in (await scene.editor.ask("workspace/executeCommand", {"command": "x"}))["error"]["message"]


@pytest.mark.parametrize(
    ("more", "labels"),
    [
        ({"itemDefaults": {"editRange": None, "commitCharacters": None}}, ["a", "★ b"]),
        ({"itemDefaults": {"commitCharacters": ["."]}, "applyKind": {"commitCharacters": 2}}, ["a", "★ b"]),
        ({"itemDefaults": {"editRange": "here"}}, ["★ b"]),
        ({"items": [{"label": "a"}, {}], "itemDefaults": {"editRange": {}}}, ["★ b"]),
    ],
    ids=str,
)
async def test_an_odd_list_beside_another(tmp_path: Path, more: dict[str, Any], labels: list[str]) -> None:
    odd = {"items": [{"label": "a", "commitCharacters": None}], **more}
    specs = {"checker": {**server(), "completion": odd}, "linter": {**server(), "completion": LIST}}
    async with several(tmp_path, {"python": specs}, ranker=FakeRanker()) as scene:
        await both_ready(scene, *specs)
        assert [item["label"] for item in (await asked(scene, "completion"))["items"]] == labels


GOOD = {
    "hover": {"contents": {"kind": "markdown", "value": "good"}},
    "diagnostic": {"kind": "full", "items": [{"message": "good"}]},
}


@pytest.mark.parametrize(("name", "odd"), [("hover", "text"), ("hover", [1]), ("diagnostic", {"items": 5})])
@pytest.mark.parametrize("preferred", ["odd", "good"])
async def test_an_odd_answer_beside_another(tmp_path: Path, name: str, odd: Any, preferred: str) -> None:
    answers = (odd, GOOD[name]) if preferred == "odd" else (GOOD[name], odd)
    specs = {key: server(**{name: answer}) for key, answer in zip(("checker", "linter"), answers, strict=True)}
    async with several(tmp_path, {"python": specs}) as scene:
        await both_ready(scene, *specs)
        found = await asked(scene, name)
        assert found == {**GOOD[name], **({"resultId": "starling:1"} if name == "diagnostic" else {})}


async def test_edits_of_a_document_that_are_null_are_none(tmp_path: Path) -> None:
    can = {"capabilities": {"workspace": {"fileOperations": {"willRename": {"filters": []}}}}}
    method, params = "workspace/willRenameFiles", {"files": [{"oldUri": PY, "newUri": PY + "i"}]}
    specs = {
        "checker": {**can, "results": {method: {"changes": {"a": None, "b": [1]}}}},
        "linter": {**can, "results": {method: {"changes": {"b": [2]}}}},
    }
    async with several(tmp_path, {"python": specs}) as scene:
        await both_ready(scene, *specs)
        assert (await scene.editor.ask(method, params))["result"] == {"changes": {"a": [], "b": [1, 2]}}


@pytest.mark.parametrize("odd", [None, [], "text", 5, False], ids=str)
async def test_an_item_that_was_resolved_to_nothing_stays_what_it_is(tmp_path: Path, odd: Any) -> None:
    async with editing(tmp_path, ranker=FakeRanker(), completion=LIST, resolve=True, hang=[RESOLVE]) as editor:
        position = {"textDocument": {"uri": URI}, "position": {"line": 0, "character": 0}}
        (item,) = (await editor.ask("textDocument/completion", position))["result"]
        editor.request(RESOLVE, item, "item")
        editor.make_server_send({"id": "item", "result": odd})
        resolved = (await editor.reply("item"))["result"]
        assert (resolved["label"], resolved["insertText"]) == ("★ b", "b")
        assert "★ Starling" in resolved["documentation"]["value"]
