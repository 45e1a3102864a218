"""Which of several servers is asked, how long answers are waited for, and what a late one causes."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lsp_server.jsonrpc import wire
from lsp_server.routing import answering, edits, fanout
from tests.scenarios.harness import until
from tests.scenarios.several import Several, dynamic, refreshing, several, where
from tests.scenarios.test_servers_together import PY, both_ready

OTHER = "file:///project/b.py"
SPAN = {"start": {"line": 0, "character": 0}, "end": {"line": 0, "character": 1}}
SOON, LATER = 0.1, 0.6  # seconds: of the graces that a test shortens, and longer than any that is not meant for it
Spec = dict[str, Any]


def can(provider: str, method: str, result: Any, *, after: float = 0, **more: Any) -> Spec:
    """A server that answers one method, so many seconds later."""
    return {"capabilities": {provider: True}, "results": {method: result}, "slow": {method: after}, **more}


def place(uri: str, line: int = 0) -> Spec:
    at = {"line": line, "character": 0}
    return {"uri": uri, "range": {"start": at, "end": at}}


async def answer(scene: Several, method: str, params: Spec) -> Any:
    reply = await scene.editor.ask(method, params)
    assert "result" in reply, reply
    return reply["result"]


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "with_grace", partial(fanout.with_grace, tardy=SOON))


WHOLE = {
    "textDocument/references": ("referencesProvider", [place(PY)], [place(OTHER)], [place(PY), place(OTHER)]),
    "textDocument/implementation": ("implementationProvider", [place(PY)], [place(PY)], [place(PY)]),
    "workspace/symbol": ("workspaceSymbolProvider", [], [{"name": "b"}], ["b"]),
    "textDocument/documentLink": ("documentLinkProvider", [{"target": "a"}], [{"target": "b"}], ["a", "b"]),
}


@pytest.mark.usefixtures("short_grace")
@pytest.mark.parametrize("method", WHOLE)
async def test_a_slower_servers_part_is_not_left_out(tmp_path: Path, method: str) -> None:
    provider, quick, slow, expected = WHOLE[method]
    specs = {"one": can(provider, method, quick), "two": can(provider, method, slow, after=LATER)}
    async with several(tmp_path, {"python": specs}) as scene:
        await both_ready(scene, *specs)
        found = await answer(scene, method, {**where(PY), "query": "", "context": {}})
        assert [each.get("name") or each.get("target") or each for each in found] == expected


async def test_a_part_is_not_given_out_as_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "WHOLE", 0.3)
    method = "textDocument/references"
    specs = {
        "one": can("referencesProvider", method, [place(PY)]),
        "two": {**can("referencesProvider", method, None), "hang": [method]},
    }
    async with several(tmp_path, {"python": specs}) as scene:
        await both_ready(scene, *specs)
        reply = await scene.editor.ask(method, where(PY))
        assert reply["error"]["code"] == wire.REQUEST_FAILED
        assert len(await scene.until_heard("two", "$/cancelRequest")) == 1


ORDERED = {
    "textDocument/rename": "renameProvider",
    "textDocument/formatting": "documentFormattingProvider",
    "textDocument/signatureHelp": "signatureHelpProvider",
    "textDocument/foldingRange": "foldingRangeProvider",
    "textDocument/prepareTypeHierarchy": "typeHierarchyProvider",
}


@pytest.mark.usefixtures("short_grace")
@pytest.mark.parametrize("method", ORDERED)
async def test_the_preferred_server_is_asked_alone_however_slow(tmp_path: Path, method: str) -> None:
    one = can(ORDERED[method], method, [{"by": "one"}], after=LATER)
    async with several(
        tmp_path, {"python": {"one": one, "two": can(ORDERED[method], method, [{"by": "two"}])}}
    ) as scene:
        await both_ready(scene, "one", "two")
        assert [each["by"] for each in await answer(scene, method, where(PY))] == ["one"]
        assert scene.heard("two", method) == []


@pytest.mark.parametrize(
    "refused", [{"results": {"textDocument/rename": None}}, {"errors": ["textDocument/rename"]}], ids=str
)
async def test_the_next_is_asked_on_null_or_an_error(tmp_path: Path, refused: Spec) -> None:
    one = {"capabilities": {"renameProvider": True}, **refused}
    async with several(
        tmp_path, {"python": {"one": one, "two": can("renameProvider", "textDocument/rename", {"by": 2})}}
    ) as scene:
        await both_ready(scene, "one", "two")
        assert await answer(scene, "textDocument/rename", where(PY)) == {"by": 2}


async def test_an_empty_array_is_an_answer(tmp_path: Path) -> None:
    """A formatter that finds nothing to change has the last word."""
    method = "textDocument/formatting"
    one, two = (can("documentFormattingProvider", method, result) for result in ([], [{"newText": "x"}]))
    async with several(tmp_path, {"python": {"one": one, "two": two}}) as scene:
        await both_ready(scene, "one", "two")
        assert await answer(scene, method, where(PY)) == []


async def test_a_late_report_is_fetched_by_a_refresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "SHOWN", SOON)
    method, report = "textDocument/diagnostic", {"kind": "full", "items": [{"range": SPAN, "message": "late"}]}
    specs = {
        "one": can("diagnosticProvider", method, report, after=LATER),
        "two": can("diagnosticProvider", method, {"kind": "full", "items": []}),
    }
    async with several(tmp_path, {"python": specs}, client=refreshing()) as scene:
        await both_ready(scene, *specs)
        asked = {"textDocument": {"uri": PY}}
        assert (await answer(scene, method, asked))["items"] == []
        before = len(scene.told("workspace/diagnostic/refresh"))
        await until(lambda: len(scene.told("workspace/diagnostic/refresh")) > before)
        assert [item["message"] for item in (await answer(scene, method, asked))["items"]] == ["late"]
        assert len(scene.heard("one", method)) == 1  # not asked again for what it answered late
        change = {"textDocument": {"uri": PY, "version": 2}, "contentChanges": [{"text": "y"}]}
        scene.editor.notify("textDocument/didChange", change)
        await answer(scene, method, asked)
        await scene.until_heard("one", method, 2)


@pytest.mark.usefixtures("short_grace")
async def test_a_list_without_a_tardy_servers_items_is_incomplete(tmp_path: Path) -> None:
    method = "textDocument/completion"
    specs: dict[str, Spec] = {
        "one": {"completion": [{"label": "a"}]},
        "two": {"completion": [{"label": "b"}], "slow": {method: LATER}},
    }
    async with several(tmp_path, {"python": specs}) as scene:
        await both_ready(scene, *specs)
        found = await answer(scene, method, where(PY))
        assert ([item["label"] for item in found["items"]], found["isIncomplete"]) == (["a"], True)


async def test_an_empty_list_does_not_cut_the_others_off(tmp_path: Path) -> None:
    method = "textDocument/completion"
    specs: dict[str, Spec] = {
        "one": {"completion": {"isIncomplete": False, "items": []}},
        "two": {"completion": [{"label": "b"}], "slow": {method: 0.5}},
    }
    async with several(tmp_path, {"python": specs}) as scene:
        await both_ready(scene, *specs)
        found = await answer(scene, method, where(PY))
        items = found["items"] if isinstance(found, dict) else found
        assert [item["label"] for item in items] == ["b"]


async def test_hierarchies_go_home(tmp_path: Path) -> None:
    prepare, incoming = "textDocument/prepareCallHierarchy", "callHierarchy/incomingCalls"
    item = {"name": "f", "uri": PY, "data": {"own": 1}}

    def spec(name: str, result: Any) -> Spec:
        calls = [{"from": {"name": name, "uri": OTHER}, "fromRanges": []}]
        return {"capabilities": {"callHierarchyProvider": True}, "results": {prepare: result, incoming: calls}}

    async with several(tmp_path, {"python": {"one": spec("one", None), "two": spec("two", [item])}}) as scene:
        await both_ready(scene, "one", "two")
        (found,) = await answer(scene, prepare, where(PY))
        (call,) = await answer(scene, incoming, {"item": found})
        assert call["from"]["name"] == "two"
        await answer(scene, incoming, {"item": call["from"]})
        assert scene.heard("two", incoming) == [{"item": item}, {"item": {"name": "two", "uri": OTHER}}]
        assert scene.heard("one", incoming) == []


async def test_semantic_tokens_stay_with_their_legend_and_their_result_id(tmp_path: Path) -> None:
    full, delta = "textDocument/semanticTokens/full", "textDocument/semanticTokens/full/delta"
    legend = {"tokenTypes": ["function"], "tokenModifiers": []}

    def spec(id: str, **more: Any) -> Spec:
        options = {"legend": legend, "full": {"delta": True}}
        results = {full: {"resultId": id, "data": []}, delta: {"resultId": id, "edits": []}}
        return {"capabilities": {"semanticTokensProvider": options}, "results": results, **more}

    async with several(tmp_path, {"python": {"one": spec("1", crash_on=["die"]), "two": spec("2")}}) as scene:
        await both_ready(scene, "one", "two")
        asked = {"textDocument": {"uri": PY}}
        assert (await answer(scene, full, asked))["resultId"] == "1"
        assert (await answer(scene, delta, {**asked, "previousResultId": "1"}))["edits"] == []
        scene.editor.notify("die", {})
        await scene.until_heard("one", "textDocument/didOpen", 2)
        assert (await answer(scene, delta, {**asked, "previousResultId": "1"}))[
            "data"
        ] == []  # all of them: a new process
        params = {**asked, "previousResultId": "unknown"}
        escaped = json.dumps({"jsonrpc": "2.0", "id": "escaped", "method": delta, "params": params})
        scene.editor.say(escaped.replace("/", r"\/").encode())  # as Foundation writes JSON
        assert (await scene.editor.reply("escaped"))["result"]["data"] == []
        assert (len(scene.heard("one", full)), len(scene.heard("one", delta))) == (3, 1)
        assert scene.heard("two", full) + scene.heard("two", delta) == []


async def test_edits_of_a_rename_are_joined_once(tmp_path: Path) -> None:
    method = "workspace/willRenameFiles"

    def edit(text: str, line: int = 0, **more: Any) -> Spec:
        at = {"line": line, "character": 0}
        return {"range": {"start": at, "end": {"line": line, "character": 5}}, "newText": text, **more}

    one = {
        "documentChanges": [
            {"textDocument": {"uri": PY, "version": 3}, "edits": [edit("import b"), edit("x", 4, annotationId="a")]}
        ],
        "changeAnnotations": {"a": {"label": "one"}},
    }
    two = {
        "changes": {PY: [edit("import b"), edit("new", 9)], OTHER: [edit("y", annotationId="a")]},
        "changeAnnotations": {"a": {"label": "two"}},
    }
    specs = {
        name: {
            "capabilities": {"workspace": {"fileOperations": {"willRename": {"filters": []}}}},
            "results": {method: result},
        }
        for name, result in (("one", one), ("two", two))
    }
    async with several(tmp_path, {"python": specs}, client=dynamic()) as scene:
        await both_ready(scene, *specs)
        found = await answer(scene, method, {"files": [{"oldUri": PY, "newUri": OTHER}]})
        assert found == {
            "documentChanges": [
                {
                    "textDocument": {"uri": PY, "version": 3},
                    "edits": [edit("import b"), edit("x", 4, annotationId="a"), edit("new", 9)],
                },
                {"textDocument": {"uri": OTHER, "version": None}, "edits": [edit("y", annotationId="a (2)")]},
            ],
            "changeAnnotations": {"a": {"label": "one"}, "a (2)": {"label": "two"}},
        }


def test_edits_that_are_null_are_none() -> None:
    change = {"textDocument": {"uri": PY, "version": 1}, "edits": None}
    results = [
        wire.raw({"documentChanges": [change], "changeAnnotations": {"a": {"label": name}}}) for name in ("one", "two")
    ]
    assert wire.loads(edits.workspace_edit(results))["documentChanges"] == [{**change, "edits": []}]


async def test_a_cancelled_request_is_not_sent_on(tmp_path: Path) -> None:
    spec = {"capabilities": {"renameProvider": True}, "slow": {"initialize": 0.5}}
    async with several(tmp_path, {"python": {"one": spec}}) as scene:
        scene.editor.open("x = 1\n", PY)
        id = scene.editor.request("textDocument/rename", where(PY))
        scene.editor.notify("$/cancelRequest", {"id": id})
        assert (await scene.editor.reply(id))["error"]["code"] == wire.REQUEST_CANCELLED
        await scene.until_heard("one", "textDocument/didOpen")
        await answer(scene, "textDocument/rename", {**where(PY), "second": True})
        assert [params.get("second") for params in scene.heard("one", "textDocument/rename")] == [True]


async def test_a_request_that_waits_for_a_server_is_answered_at_shutdown(tmp_path: Path) -> None:
    spec = {"capabilities": {"renameProvider": True}, "hang": ["initialize"]}
    async with several(tmp_path, {"python": {"one": spec}}) as scene:
        scene.editor.open("x = 1\n", PY)
        id = scene.editor.request("textDocument/rename", where(PY))
        await scene.editor.ask("shutdown", None)
        assert (await scene.editor.reply(id))["error"]["code"] == wire.REQUEST_CANCELLED
