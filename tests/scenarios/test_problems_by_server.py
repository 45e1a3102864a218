"""Diagnostics of several servers, pushed and pulled: none is lost, none stays without its server, each goes home."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lsp_server.servers import server as wrapped
from lsp_server.settings import Settings
from tests.fakes.editor import URI, FakeEditor, editing
from tests.scenarios.harness import until
from tests.scenarios.several import Several, several
from tests.scenarios.test_servers_together import PY, both_ready

OTHER = "file:///project/b.py"
SPAN = {"start": {"line": 0, "character": 0}, "end": {"line": 0, "character": 1}}
PULL, PULL_ALL = "textDocument/diagnostic", "workspace/diagnostic"
PULLS = {"capabilities": {"diagnosticProvider": {"workspaceDiagnostics": True}}}
Spec = dict[str, Any]


def problem(message: str) -> Spec:
    return {"range": SPAN, "message": message}


def published(uri: str, *messages: str) -> Spec:
    params = {"uri": uri, "diagnostics": [problem(message) for message in messages]}
    return {"method": "textDocument/publishDiagnostics", "params": params}


def shown(scene: Any) -> dict[str, list[str]]:
    """What the editor shows of each document by now."""
    editor = scene.editor if isinstance(scene, Several) else scene
    found: dict[str, list[str]] = {}
    for message in editor.messages:
        if message.get("method") == "textDocument/publishDiagnostics":
            found[message["params"]["uri"]] = [each["message"] for each in message["params"]["diagnostics"] or ()]
    return found


# Pushed


@pytest.mark.parametrize("as_opened, as_published", [
    ("file:///w/(shop)/@x.py", "file:///w/%28shop%29/%40x.py"),
    ("file:///c%3A/w/x.py", "file:///C:/w/x.py"),
])  # fmt: skip
async def test_one_document_however_it_is_spelled(tmp_path: Path, as_opened: str, as_published: str) -> None:
    specs = {"one": {"on_open": published(as_published, "one")}, "two": {"on_open": published(as_opened, "two")}}
    async with several(tmp_path, {"python": specs}) as scene:
        scene.editor.open("x = 1\n", as_opened)
        await until(lambda: sorted(shown(scene).get(as_opened, [])) == ["one", "two"])
        assert set(shown(scene)) == {as_opened}


@pytest.mark.parametrize("mode", ["one command", "several"])
async def test_what_a_dead_process_said_is_taken_back(tmp_path: Path, mode: str) -> None:
    spec = {
        "on_open": published(OTHER, "old"),
        "crash_on": ["die"],
        "life": str(tmp_path / "life"),
        "lives": [{"on_open": published(PY, "new")}],
    }
    if mode == "several":
        async with several(tmp_path, {"python": {"one": spec}}) as scene:
            await taken_back(scene.editor, PY)
    else:
        async with editing(tmp_path, **spec) as editor:
            await taken_back(editor, URI)


async def taken_back(editor: Any, uri: str) -> None:
    editor.open("x = 1\n", uri)
    await until(lambda: shown(editor) == {OTHER: ["old"]})
    editor.notify("die", {})
    await until(lambda: shown(editor) == {OTHER: [], PY: ["new"]})


@pytest.mark.parametrize("mode", ["one command", "several"])
async def test_null_is_an_empty_list(tmp_path: Path, mode: str) -> None:
    nothing = {"method": "textDocument/publishDiagnostics", "params": {"uri": PY, "diagnostics": None}}

    async def cleared(editor: FakeEditor) -> None:
        editor.open("x = 1\n", PY)
        await until(lambda: sorted(shown(editor).get(PY, [])) == names)
        editor.make_server_send(nothing)
        await until(lambda: shown(editor) == {PY: []})

    if mode == "several":
        names = ["one", "two"]
        async with several(tmp_path, {"python": {name: {"on_open": published(PY, name)} for name in names}}) as scene:
            await cleared(scene.editor)
    else:
        names = ["one"]
        async with editing(tmp_path, on_open=published(PY, "one")) as editor:
            await cleared(editor)


async def test_what_a_server_said_that_is_given_up_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wrapped, "BACK_OFF", ())
    spec = {"on_open": published(OTHER, "old"), "crash_on": ["die"]}
    async with several(tmp_path, {"python": {"one": spec}}) as scene:
        scene.editor.open("x = 1\n", PY)
        await until(lambda: shown(scene) == {OTHER: ["old"]})
        scene.editor.notify("die", {})
        await until(lambda: "not started again" in "".join(scene.editor.shown()))
        assert shown(scene) == {OTHER: []}


async def test_what_a_resting_server_said_is_taken_back(tmp_path: Path) -> None:
    specs = {"python": {"one": {"on_open": published(OTHER, "old")}}}
    async with several(tmp_path, specs, settings=Settings(ranker="off", idle=1)) as scene:
        scene.editor.open("x = 1\n", PY)
        await until(lambda: shown(scene) == {OTHER: ["old"]})
        scene.editor.notify("textDocument/didClose", {"textDocument": {"uri": PY}})
        await until(lambda: shown(scene) == {OTHER: []})


async def test_a_code_action_carries_to_each_server_its_own_problems(tmp_path: Path) -> None:
    can = {"capabilities": {"codeActionProvider": True}}
    specs = {name: {**can, "on_open": published(PY, name), "results": {}} for name in ("one", "two")}
    async with several(tmp_path, {"python": specs}) as scene:
        scene.editor.open("x = 1\n", PY)
        await until(lambda: sorted(shown(scene).get(PY, [])) == ["one", "two"])
        context = {"diagnostics": [problem("one"), problem("two"), problem("an extension's")], "triggerKind": 1}
        await scene.editor.ask(
            "textDocument/codeAction", {"textDocument": {"uri": PY}, "range": SPAN, "context": context}
        )
        for name in specs:
            (params,) = await scene.until_heard(name, "textDocument/codeAction")
            assert params["context"] == {"diagnostics": [problem(name)], "triggerKind": 1}


# Pulled


async def pull(scene: Several, previous: Any = None) -> Spec:
    known = {} if previous is None else {"previousResultId": previous["resultId"]}
    reply = await scene.editor.ask(PULL, {"textDocument": {"uri": PY}, **known})
    assert "result" in reply, reply
    return reply["result"]


def said(report: Spec) -> list[str]:
    return [item["message"] for item in report["items"]]


def full(message: str, id: str = "7", **more: Any) -> Spec:
    return {"kind": "full", "resultId": id, "items": [problem(message)], **more}


def replies(*results: Any) -> Spec:
    """A server that answers one pull after the other with these; None for an error."""
    return {**PULLS, "results_in_turn": {PULL: list(results)}}


UNCHANGED = {"kind": "unchanged", "resultId": "7"}


async def test_unchanged_of_one_keeps_what_it_said(tmp_path: Path) -> None:
    specs = {"one": replies(full("one"), UNCHANGED), "two": replies(full("two", "a"), full("new", "b"))}
    async with several(tmp_path, {"python": specs}) as scene:
        await both_ready(scene, *specs)
        first = await pull(scene)
        assert said(first) == ["one", "two"]
        assert said(await pull(scene, first)) == ["one", "new"]
        assert [p.get("previousResultId") for p in scene.heard("one", PULL)] == [None, "7"]
        assert [p.get("previousResultId") for p in scene.heard("two", PULL)] == [None, "a"]


async def test_items_that_are_null_take_away_what_was_said(tmp_path: Path) -> None:
    specs = {
        "one": replies(full("one"), {"kind": "full", "items": None}),
        "two": replies(full("two"), UNCHANGED),
    }
    async with several(tmp_path, {"python": specs}) as scene:
        await both_ready(scene, *specs)
        assert said(await pull(scene, await pull(scene))) == ["two"]


async def test_unchanged_of_all_is_unchanged(tmp_path: Path) -> None:
    specs = {"one": replies(full("one"), UNCHANGED), "two": replies(full("two"), UNCHANGED)}
    async with several(tmp_path, {"python": specs}) as scene:
        await both_ready(scene, *specs)
        first = await pull(scene)
        assert await pull(scene, first) == {"kind": "unchanged", "resultId": first["resultId"]}


async def test_an_error_takes_nothing_away(tmp_path: Path) -> None:
    specs = {"one": replies(full("one"), None), "two": replies(full("two"), full("new"))}
    async with several(tmp_path, {"python": specs}) as scene:
        await both_ready(scene, *specs)
        assert said(await pull(scene, await pull(scene))) == ["one", "new"]


async def test_a_new_process_is_asked_for_all(tmp_path: Path) -> None:
    specs = {"one": {**replies(full("one")), "crash_on": ["die"]}, "two": replies(full("two"), UNCHANGED)}
    async with several(tmp_path, {"python": specs}) as scene:
        await both_ready(scene, *specs)
        first = await pull(scene)
        scene.editor.notify("die", {})
        await scene.until_heard("one", "textDocument/didOpen", 2)
        assert sorted(said(await pull(scene, first))) == ["one", "two"]
        assert [p.get("previousResultId") for p in scene.heard("one", PULL)] == [None, None]


async def test_related_documents_are_joined(tmp_path: Path) -> None:
    specs = {
        name: replies({**full(name), "relatedDocuments": {uri: full(f"{name} beside")}})
        for name, uri in (("one", OTHER), ("two", OTHER.replace("b.py", "%62.py")))
    }
    async with several(tmp_path, {"python": specs}) as scene:
        await both_ready(scene, *specs)
        related = (await pull(scene))["relatedDocuments"]
        assert {uri: said(report) for uri, report in related.items()} == {OTHER: ["one beside", "two beside"]}


async def test_each_identifier_goes_to_its_server(tmp_path: Path) -> None:
    specs = {
        name: {"capabilities": {"diagnosticProvider": {"identifier": name}}, "results": {PULL: full(name)}}
        for name in ("one", "two")
    }
    async with several(tmp_path, {"python": specs}) as scene:
        await both_ready(scene, *specs)
        await until(lambda: PULL in scene.registered())
        assert "identifier" not in scene.registered()[PULL]
        await pull(scene)
        assert [scene.heard(name, PULL)[0]["identifier"] for name in specs] == ["one", "two"]


@pytest.mark.parametrize("language", ["python alone", "beside another"])
async def test_a_server_is_asked_under_each_identifier_that_it_registered(tmp_path: Path, language: str) -> None:
    kinds = ("syntax", "meaning")
    registered = [
        {
            "id": kind,
            "method": PULL,
            "registerOptions": {"identifier": kind, "documentSelector": [{"language": "python"}]},
        }
        for kind in kinds
    ]
    asks = {"id": 1, "method": "client/registerCapability", "params": {"registrations": registered}}
    unchanged = {"kind": "unchanged", "resultId": "s1"}
    turns = [full("bad syntax", "s1"), full("bad meaning", "m1"), unchanged, full("worse meaning", "m2")]
    specs: dict[str, Spec] = {"one": {"on_open": asks, "results_in_turn": {PULL: turns}}}
    if language == "beside another":
        specs["two"] = {**PULLS, "results": {PULL: full("two")}}
    others = [name for name in specs if name != "one"]
    async with several(tmp_path, {"python": specs}) as scene:
        await both_ready(scene, *specs)
        await until(lambda: any(len(server.announced.registered) == 2 for server in scene.editor.session.pool))
        first = await pull(scene)
        assert said(first) == ["bad syntax", "bad meaning", *others]
        assert said(await pull(scene, first)) == ["bad syntax", "worse meaning", *others]
        asked = [(params["identifier"], params.get("previousResultId")) for params in scene.heard("one", PULL)]
        assert asked == [("syntax", None), ("meaning", None), ("syntax", "s1"), ("meaning", "m1")]


async def test_reports_of_the_workspace_are_one_a_document(tmp_path: Path) -> None:
    def reports(name: str, *uris: str) -> Spec:
        items = [{**full(name, f"{name}1"), "uri": uri, "version": None} for uri in uris]
        return {**PULLS, "results": {PULL_ALL: {"items": items}}}

    specs = {"one": reports("one", PY), "two": reports("two", PY, OTHER)}
    async with several(tmp_path, {"python": specs}) as scene:
        await both_ready(scene, *specs)
        found = (await scene.editor.ask(PULL_ALL, {"previousResultIds": []}))["result"]["items"]
        assert {each["uri"]: said(each) for each in found} == {PY: ["one", "two"], OTHER: ["two"]}
        known = [{"uri": each["uri"], "value": each["resultId"]} for each in found]
        await scene.editor.ask(PULL_ALL, {"previousResultIds": known})
        heard = {name: (await scene.until_heard(name, PULL_ALL, 2))[1]["previousResultIds"] for name in specs}
        assert heard == {
            "one": [{"uri": PY, "value": "one1"}],
            "two": [{"uri": PY, "value": "two1"}, {"uri": OTHER, "value": "two1"}],
        }
