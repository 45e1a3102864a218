"""Notifications of the editor go to the servers that asked for them; progress is one server's at a time, and ends with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.fakes.editor import FakeEditor, FakeRanker, editing, received_in
from tests.scenarios.harness import until
from tests.scenarios.several import Several, dynamic, registrations, several
from tests.scenarios.test_joint_registrations import registers
from tests.scenarios.test_servers_together import PY, both_ready

WATCHED = "workspace/didChangeWatchedFiles"
FOLDERS = "workspace/didChangeWorkspaceFolders"
Spec = dict[str, Any]


async def flushed(scene: Several, *names: str) -> None:
    """Until each server has got what the editor has sent so far: a notification for all comes last."""
    scene.editor.notify("odd/last", {})
    for name in names:
        await scene.until_heard(name, "odd/last")


async def test_changed_files_go_to_who_watches_them(tmp_path: Path) -> None:
    specs = {
        "one": registers(
            WATCHED, {"watchers": [{"globPattern": "**/*.toml"}, {"globPattern": "**/new.py", "kind": 1}]}
        ),
        "two": registers(WATCHED, {"watchers": [{"globPattern": {"baseUri": "file:///project", "pattern": "*.py"}}]}),
        "three": {},
    }
    async with several(tmp_path, {"python": specs}) as scene:
        await both_ready(scene, *specs)
        await until(lambda: len(scene.registered().get(WATCHED, {}).get("watchers", ())) == 5)  # two are for the index
        toml, py, new = (
            {"uri": f"file:///project/{name}", "type": kind}
            for name, kind in (("x.toml", 2), ("a.py", 2), ("new.py", 1))
        )
        scene.editor.notify(WATCHED, {"changes": [toml, py, new]})
        await flushed(scene, *specs)
        heard = {
            name: [change for params in scene.heard(name, WATCHED) for change in params["changes"]] for name in specs
        }
        assert heard == {"one": [toml, new], "two": [py, new], "three": []}


async def test_an_editor_that_watches_by_itself_tells_all(tmp_path: Path) -> None:
    specs: dict[str, Spec] = {"one": {}, "two": {}}
    client = dynamic()
    del client["workspace"]["didChangeWatchedFiles"]
    async with several(tmp_path, {"python": specs}, client=client) as scene:
        await both_ready(scene, *specs)
        scene.editor.notify(WATCHED, {"changes": [{"uri": PY, "type": 2}]})
        await flushed(scene, *specs)
        assert [len(scene.heard(name, WATCHED)) for name in specs] == [1, 1]


async def test_one_command_without_watchers_hears_of_no_files_and_the_index_does(tmp_path: Path) -> None:
    ranker = FakeRanker()
    async with editing(tmp_path, ranker=ranker, client=dynamic()) as editor:
        await until(lambda: WATCHED in registered(editor))
        (options,) = registered(editor)[WATCHED]
        assert {"globPattern": "**/*", "kind": 4} in options["watchers"]  # folders that are deleted
        change = {"changes": [{"uri": PY, "type": 2}]}
        editor.notify(WATCHED, change)
        await editor.ask("odd/last", {})
        assert received_in(tmp_path, WATCHED) == []
        assert (WATCHED, change) in ranker.forwarded


async def test_one_command_with_watchers_is_the_only_one_that_watches(tmp_path: Path) -> None:
    theirs = {"watchers": [{"globPattern": "**/*.toml"}]}
    asks = registers(WATCHED, theirs)
    async with editing(tmp_path, client=dynamic(), crash_on=["die"], **asks) as editor:
        await until(lambda: WATCHED in registered(editor))
        editor.open("x = 1\n")
        await until(lambda: registered(editor) == {WATCHED: [theirs]})
        change = {"changes": [{"uri": "file:///project/x.toml", "type": 2}]}
        editor.notify(WATCHED, change)
        await editor.ask("odd/last", {})
        assert received_in(tmp_path, WATCHED) == [change]
        editor.notify("die", {})  # its registrations go with it, and come again with the next process
        await until(lambda: registered(editor) == {} or registered(editor)[WATCHED] != [theirs])
        await until(lambda: registered(editor) == {WATCHED: [theirs]})


def registered(editor: FakeEditor) -> dict[str, list[Any]]:
    """The options of the registrations that the editor has now, by method."""
    found = registrations(editor)
    return {method: [o for m, o in found.values() if m == method] for method, _ in found.values()}


async def test_file_operations_folders_and_saving_go_to_who_asked(tmp_path: Path) -> None:
    filters = [{"scheme": "file", "pattern": {"glob": "**/*.{py,pyi}"}}]
    asks = {
        "workspace": {
            "fileOperations": {"didRename": {"filters": filters}},
            "workspaceFolders": {"supported": True, "changeNotifications": True},
        },
        "textDocumentSync": {"openClose": True, "change": 2, "willSave": True, "save": {"includeText": True}},
    }
    asks_not = {
        "workspace": {"workspaceFolders": {"supported": True, "changeNotifications": False}},
        "textDocumentSync": {"change": 2},
    }
    specs = {"asks": {"capabilities": asks}, "not": {"capabilities": asks_not}}
    async with several(tmp_path, {"python": specs}) as scene:
        await both_ready(scene, *specs)
        python, other = ({"oldUri": f"file:///p/{name}", "newUri": "file:///p/y"} for name in ("x.pyi", "x.c"))
        scene.editor.notify("workspace/didRenameFiles", {"files": [python, other]})
        scene.editor.notify(FOLDERS, {"event": {"added": [], "removed": []}})
        scene.editor.notify("textDocument/willSave", {"textDocument": {"uri": PY}, "reason": 1})
        scene.editor.notify("textDocument/didSave", {"textDocument": {"uri": PY}})
        await flushed(scene, *specs)
        assert scene.heard("asks", "workspace/didRenameFiles") == [{"files": [python]}]
        assert scene.heard("asks", "textDocument/didSave") == [{"textDocument": {"uri": PY}, "text": "x = 1\n"}]
        methods = ("workspace/didRenameFiles", FOLDERS, "textDocument/willSave", "textDocument/didSave")
        assert [len(scene.heard("asks", method)) for method in methods] == [1, 1, 1, 1]
        assert [len(scene.heard("not", method)) for method in methods] == [0, 0, 0, 0]


async def test_the_last_trace_is_told_to_who_starts_later(tmp_path: Path) -> None:
    async with several(tmp_path, {"python": {"one": {}}}) as scene:
        scene.editor.notify("$/setTrace", {"value": "verbose"})
        scene.editor.open("x = 1\n", PY)
        (params,) = await scene.until_heard("one", "initialize")
        assert params["trace"] == "verbose"


def progress(token: Any, kind: str) -> Spec:
    return {"method": "$/progress", "params": {"token": token, "value": {"kind": kind, "title": "x"}}}


async def test_progress_on_the_editors_token_is_one_servers_and_ends_with_it(tmp_path: Path) -> None:
    specs = {"one": {"on_open": progress("t", "begin"), "crash_on": ["die"]}, "two": {}}
    async with several(tmp_path, {"python": specs}) as scene:
        await both_ready(scene, *specs)
        await until(lambda: scene.told("$/progress"))
        scene.editor.make_server_send(progress("t", "begin"))  # both
        scene.editor.make_server_send(progress("u", "begin"))
        await until(lambda: "u" in [params["token"] for params in scene.told("$/progress")])
        scene.editor.notify("die", {})
        await until(lambda: [p["value"]["kind"] for p in scene.told("$/progress") if p["token"] == "t"][-1:] == ["end"])
        kinds = [params["value"]["kind"] for params in scene.told("$/progress") if params["token"] == "t"]
        assert kinds.count("end") == 1


async def test_initializes_token_is_given_to_one_server(tmp_path: Path) -> None:
    specs: dict[str, Spec] = {"one": {}, "two": {}}
    async with several(tmp_path, {"python": specs}, workDoneToken="t") as scene:
        await both_ready(scene, *specs)
        given = ["workDoneToken" in scene.heard(name, "initialize")[0] for name in specs]
        assert sorted(given) == [False, True]


async def test_a_null_process_id_stays_null(tmp_path: Path) -> None:
    async with several(tmp_path, {"python": {"one": {}}}) as scene:  # this editor sends null
        scene.editor.open("x = 1\n", PY)
        (params,) = await scene.until_heard("one", "initialize")
        assert params["processId"] is None
