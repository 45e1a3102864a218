"""Several wrapped servers for one language, and requests that are for more than one: answers become one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lsp_server.jsonrpc import wire
from tests.fakes.editor import FakeRanker
from tests.scenarios.harness import until
from tests.scenarios.several import Several, several, where

PY, TOY = "file:///project/a.py", "file:///project/b.toy"
KINDS = ("hover", "codeAction", "codeLens", "references", "rename", "diagnostic")
ALL = {f"{kind}Provider": True for kind in KINDS}


def server(**answers: Any) -> dict[str, Any]:
    """A server that can everything and gives these results, by the method's last part."""
    results = {
        f"textDocument/{name}": result for name, result in answers.items() if name not in ("capabilities", "hang")
    }
    capabilities = {**ALL, **answers.get("capabilities", {})}
    return {"results": results, "capabilities": capabilities, "hang": answers.get("hang", [])}


async def both_ready(scene: Several, *names: str) -> None:
    scene.editor.open("x = 1\n", PY)
    for name in names:
        await scene.until_heard(name, "textDocument/didOpen")
    await until(lambda: all(s.state.value == "running" for s in scene.editor.session.pool if s.handles("python")))


async def asked(scene: Several, name: str, **more: Any) -> Any:
    return (await scene.editor.ask(f"textDocument/{name}", {**where(PY), **more}))["result"]


MERGED = [
    ("references", [{"uri": "a"}], [{"uri": "b"}], [{"uri": "a"}, {"uri": "b"}]),
    ("references", None, [{"uri": "b"}], [{"uri": "b"}]),
    ("references", None, None, None),
    (
        "hover",
        {"contents": {"kind": "markdown", "value": "one"}, "range": {"start": 1}},
        {"contents": [{"language": "python", "value": "two"}, "three"]},
        {
            "contents": {"kind": "markdown", "value": "one\n\n---\n\n```python\ntwo\n```\n\n---\n\nthree"},
            "range": {"start": 1},
        },
    ),
    ("rename", {"changes": {"a": []}}, {"changes": {"b": []}}, {"changes": {"a": []}}),  # the preferred one alone
    (
        "diagnostic",
        {"kind": "full", "resultId": "1", "items": [{"message": "one"}]},
        {"kind": "full", "items": [{"message": "two"}]},
        {"kind": "full", "resultId": "starling:1", "items": [{"message": "one"}, {"message": "two"}]},
    ),
]


@pytest.mark.parametrize(("name", "one", "two", "expected"), MERGED)
async def test_answers_become_one(tmp_path: Path, name: str, one: Any, two: Any, expected: Any) -> None:
    specs = {"checker": server(**{name: one}), "linter": server(**{name: two})}
    async with several(tmp_path, {"python": specs}) as scene:
        await both_ready(scene, *specs)
        assert await asked(scene, name) == expected


async def test_items_are_resolved_by_the_server_that_made_them(tmp_path: Path) -> None:
    specs = {
        "checker": server(codeAction=[{"title": "one", "data": {"own": 1}}, {"title": "command", "command": "c"}]),
        "linter": server(codeAction=[{"title": "two"}]),
    }
    async with several(tmp_path, {"python": specs}) as scene:
        await both_ready(scene, *specs)
        actions = await asked(scene, "codeAction")
        assert [action["title"] for action in actions] == ["one", "command", "two"]
        for action, name, original in (
            (actions[0], "checker", {"title": "one", "data": {"own": 1}}),
            (actions[2], "linter", {"title": "two"}),
        ):
            resolved = await scene.editor.ask("codeAction/resolve", action)
            assert resolved["result"]["echo"] == original
            assert scene.heard(name, "codeAction/resolve") == [original]


async def test_a_tardy_server_does_not_hold_up_the_rest(tmp_path: Path) -> None:
    specs = {
        "checker": server(codeAction=[{"title": "one"}]),
        "linter": server(hang=["textDocument/codeAction"]),
    }
    async with several(tmp_path, {"python": specs}) as scene:
        await both_ready(scene, *specs)
        assert [action["title"] for action in await asked(scene, "codeAction")] == ["one"]
        assert len(await scene.until_heard("linter", "$/cancelRequest")) == 1


async def test_an_error_of_one_is_no_error_while_another_answers(tmp_path: Path) -> None:
    failing = {**server(), "errors": ["textDocument/references"]}
    specs = {"checker": failing, "linter": server(references=[{"uri": "b"}])}
    async with several(tmp_path, {"python": specs}) as scene:
        await both_ready(scene, *specs)
        assert await asked(scene, "references") == [{"uri": "b"}]
    specs = {"checker": failing, "linter": failing}
    (tmp_path / "again").mkdir()
    async with several(tmp_path / "again", {"python": specs}) as scene:
        await both_ready(scene, *specs)
        reply = await scene.editor.ask("textDocument/references", where(PY))
        assert reply["error"]["code"] == wire.REQUEST_FAILED


def published(*messages: str) -> dict[str, Any]:
    diagnostics = [{"message": message} for message in messages]
    return {"method": "textDocument/publishDiagnostics", "params": {"uri": PY, "diagnostics": diagnostics}}


async def test_diagnostics_are_the_union_and_a_dead_servers_go(tmp_path: Path) -> None:
    specs = {
        "checker": {**server(), "on_open": published("one"), "crash_on": ["textDocument/didSave"]},
        "linter": {**server(), "on_open": published("two")},
    }
    async with several(tmp_path, {"python": specs}) as scene:

        def shown() -> set[str]:
            lists = [
                m["params"]["diagnostics"] for m in scene.editor.messages if m.get("method", "").endswith("Diagnostics")
            ]
            return {diagnostic["message"] for diagnostic in lists[-1]} if lists else set()

        scene.editor.open("x = 1\n", PY)
        await until(lambda: shown() == {"one", "two"})
        scene.editor.notify("textDocument/didSave", {"textDocument": {"uri": PY}})
        await until(lambda: shown() == {"two"})
        await until(lambda: shown() == {"one", "two"})  # it was started again


async def test_completions_are_one_ranked_list_and_each_resolves_at_home(tmp_path: Path) -> None:
    span = {"start": {"line": 0, "character": 0}, "end": {"line": 0, "character": 0}}
    defaults = {"editRange": span, "data": {"all": 1}, "commitCharacters": ["."]}
    first = {
        "isIncomplete": True,
        "itemDefaults": defaults,
        "items": [{"label": "a", "textEditText": "a()"}, {"label": "b", "data": 2}],
    }
    specs: dict[str, Any] = {
        "checker": {**server(), "completion": first, "resolve": True},
        "linter": {**server(), "completion": [{"label": "c"}], "resolve": True},
    }  # fmt: skip
    async with several(tmp_path, {"python": specs}, ranker=FakeRanker()) as scene:
        await both_ready(scene, *specs)
        result = await asked(scene, "completion")
        assert result["isIncomplete"] is True
        assert "itemDefaults" not in result
        by_label = {item["label"].removeprefix("★ "): item for item in result["items"]}
        assert by_label["a"]["textEdit"] == {"range": span, "newText": "a()"}
        assert by_label["b"]["textEdit"] == {"range": span, "newText": "b"}
        assert by_label["a"]["commitCharacters"] == ["."]
        assert "textEdit" not in by_label["c"]
        assert [by_label[label]["sortText"] for label in "cba"] == ["00000", "00001", "00002"]
        for label, name, data in (("a", "checker", {"all": 1}), ("b", "checker", 2), ("c", "linter", None)):
            await scene.editor.ask("completionItem/resolve", by_label[label])
            heard = scene.heard(name, "completionItem/resolve")[-1]
            assert (heard["label"], heard.get("data")) == (label, data)


async def test_completion_starts_only_where_its_server_asked_for_it(tmp_path: Path) -> None:
    at_sign = {"completionProvider": {"triggerCharacters": ["@"]}}
    specs = {
        "checker": {**server(), "completion": [{"label": "a"}]},
        "linter": {**server(capabilities=at_sign), "completion": [{"label": "b"}]},
    }
    async with several(tmp_path, {"python": specs}, ranker=FakeRanker()) as scene:
        await both_ready(scene, *specs)
        for character, labels in ((".", ["★ a"]), ("@", ["★ b"]), ("#", None)):
            context = {"triggerKind": 2, "triggerCharacter": character}
            result = await asked(scene, "completion", context=context)
            items = result["items"] if isinstance(result, dict) else result
            assert (None if items is None else [item["label"] for item in items]) == labels


async def test_workspace_symbols_come_from_everyone_and_resolve_at_home(tmp_path: Path) -> None:
    def symbols(name: str) -> dict[str, Any]:
        return {
            "capabilities": {"workspaceSymbolProvider": True},
            "results": {"workspace/symbol": [{"name": name, "data": name}]},
        }

    specs = {"python": {"snake": symbols("one")}, "toy": {"toy": symbols("two")}}
    async with several(tmp_path, specs) as scene:
        for uri, language_id in ((PY, "python"), (TOY, "toy")):
            scene.editor.open("x\n", uri, language_id)
            await scene.editor.ask("textDocument/hover", where(uri))
        found = (await scene.editor.ask("workspace/symbol", {"query": ""}))["result"]
        assert [symbol["name"] for symbol in found] == ["one", "two"]
        resolved = await scene.editor.ask("workspaceSymbol/resolve", found[1])
        assert resolved["result"]["echo"] == {"name": "two", "data": "two"}
        assert scene.heard("snake", "workspaceSymbol/resolve") == []


async def test_each_server_hears_changes_as_it_asked(tmp_path: Path) -> None:
    saves = {"openClose": True, "change": 1, "save": {"includeText": True}}
    specs = {"checker": server(), "linter": server(capabilities={"textDocumentSync": saves})}
    async with several(tmp_path, {"python": specs}) as scene:
        await both_ready(scene, *specs)
        span = {"start": {"line": 0, "character": 0}, "end": {"line": 0, "character": 1}}
        changes = [{"range": span, "text": "y"}]
        document = {"uri": PY, "version": 2}
        scene.editor.notify("textDocument/didChange", {"textDocument": document, "contentChanges": changes})
        scene.editor.notify("textDocument/didSave", {"textDocument": {"uri": PY}})
        assert (await scene.until_heard("checker", "textDocument/didSave")) == [{"textDocument": {"uri": PY}}]
        assert scene.heard("checker", "textDocument/didChange")[0]["contentChanges"] == changes
        saved = await scene.until_heard("linter", "textDocument/didSave")
        assert saved[0]["text"] == "y = 1\n"
        changed = scene.heard("linter", "textDocument/didChange")
        assert changed == [{"textDocument": document, "contentChanges": [{"text": "y = 1\n"}]}]
