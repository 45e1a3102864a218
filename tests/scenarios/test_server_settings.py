"""What the setting `servers` says of one wrapped server: its options, settings, environment, folder, projects and methods."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from lsp_server.jsonrpc import wire
from lsp_server.settings import Settings
from tests.fakes.editor import FakeEditor
from tests.scenarios.harness import Scene, until
from tests.scenarios.several import Several, dynamic, no_other_languages, where

PY = "file:///project/a.py"
CONFIGURATION = "workspace/configuration"
CAN = {"capabilities": {"hoverProvider": True, "documentFormattingProvider": True}}


@asynccontextmanager
async def described(
    folder: Path, spec: dict[str, Any], given: dict[str, Any], *, client: dict[str, Any] | None = None, **more: Any
) -> AsyncIterator[Several]:
    """A session with one server of Python, "snake", described so."""
    (folder / "snake").mkdir()
    servers = {**no_other_languages(), "python": [{"server": Scene(folder / "snake", **spec).fake, **given}]}
    editor = FakeEditor(Settings(ranker="off"))
    options = {"starling": {"servers": servers}, "theirs": {"a": 1, "b": 2}}
    await editor.initialize(options, capabilities=dynamic() if client is None else client, **more)
    try:
        yield Several(editor, folder)
    finally:
        await editor.gone()


async def test_initialization_options_go_over_the_editors(tmp_path: Path) -> None:
    async with described(tmp_path, CAN, {"initializationOptions": {"theirs": {"b": 3}, "own": True}}) as scene:
        scene.editor.open("x = 1\n", PY)
        (params,) = await scene.until_heard("snake", "initialize")
        assert params["initializationOptions"] == {"theirs": {"a": 1, "b": 3}, "own": True}


async def asked_for(scene: Several, items: list[dict[str, Any]]) -> Any:
    """What the server gets for a workspace/configuration with these items."""
    scene.editor.make_server_send({"id": 5, "method": CONFIGURATION, "params": {"items": items}})
    found = await until(lambda: [m for m in scene.log("snake") if m.get("id") == 5 and "method" not in m])
    return found[0]["result"]


async def test_settings_go_over_what_the_editor_answers(tmp_path: Path) -> None:
    client = {**dynamic(), "workspace": {**dynamic()["workspace"], "configuration": True}}
    given = {"settings": {"snake": {"level": "high", "deep": {"one": 1}}}}
    async with described(tmp_path, CAN, given, client=client) as scene:
        scene.editor.open("x = 1\n", PY)
        await scene.until_heard("snake", "textDocument/didOpen")
        items = [{"section": "snake"}, {"section": "snake.deep"}, {"section": "other"}]
        scene.editor.make_server_send({"id": 5, "method": CONFIGURATION, "params": {"items": items}})
        asked = await scene.editor.heard(CONFIGURATION)
        assert asked["params"] == {"items": items}
        theirs = [{"level": "low", "mine": 2}, {"one": 0, "two": 2}, {"o": 1}]
        scene.editor.say({"jsonrpc": "2.0", "id": asked["id"], "result": theirs})
        answers = await until(lambda: [m for m in scene.log("snake") if m.get("id") == 5 and "method" not in m])
        assert answers[0]["result"] == [
            {"level": "high", "mine": 2, "deep": {"one": 1}},
            {"one": 1, "two": 2},
            {"o": 1},
        ]


DEEP = b"[" * 100_000 + b"]" * 100_000
ODD = {
    "null": (b'"result":null', [{"level": "high"}]),
    "an error": (b'"error":{"code":-32603,"message":"no"}', [{"level": "high"}]),
    "nested too deep": (b'"result":' + DEEP, None),
}


@pytest.mark.parametrize(("answer", "expected"), ODD.values(), ids=ODD)
async def test_an_editor_that_answers_with_no_settings_leaves_no_server_waiting(
    tmp_path: Path, answer: bytes, expected: Any
) -> None:
    client = {**dynamic(), "workspace": {**dynamic()["workspace"], "configuration": True}}
    async with described(tmp_path, CAN, {"settings": {"snake": {"level": "high"}}}, client=client) as scene:
        scene.editor.open("x = 1\n", PY)
        await scene.until_heard("snake", "textDocument/didOpen")
        scene.editor.make_server_send({"id": 5, "method": CONFIGURATION, "params": {"items": [{"section": "snake"}]}})
        asked = await scene.editor.heard(CONFIGURATION)
        scene.editor.say(b'{"jsonrpc":"2.0","id":%b,%b}' % (wire.dumps(asked["id"]), answer))
        (reply,) = await until(lambda: [m for m in scene.log("snake") if m.get("id") == 5 and "method" not in m])
        assert reply.get("result") == expected
        assert ("error" in reply) == (expected is None)


async def test_an_editor_without_configuration_requests_is_answered_for(tmp_path: Path) -> None:
    async with described(tmp_path, CAN, {"settings": {"snake": {"level": "high"}}}) as scene:
        scene.editor.open("x = 1\n", PY)
        await scene.until_heard("snake", "textDocument/didOpen")
        assert scene.heard("snake", "initialize")[0]["capabilities"]["workspace"]["configuration"] is True
        assert scene.heard("snake", "workspace/didChangeConfiguration") == [{"settings": {"snake": {"level": "high"}}}]
        scene.editor.notify("workspace/didChangeConfiguration", {"settings": {"snake": {"mine": 1}}})
        assert await asked_for(scene, [{"section": "snake"}]) == [{"mine": 1, "level": "high"}]
        changed = await scene.until_heard("snake", "workspace/didChangeConfiguration", 2)
        assert changed[1] == {"settings": {"snake": {"mine": 1, "level": "high"}}}


async def test_environment_and_folder(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    told = tmp_path / "told.json"
    script = f"import json, os; open({str(told)!r}, 'w').write(json.dumps([os.getcwd(), os.environ.get('OWN'), 'HOME' in os.environ]))"
    (tmp_path / "work" / "sitecustomize.py").write_text(script)
    env = {"OWN": "1", "HOME": None, "PYTHONPATH": str(tmp_path / "work")}
    async with described(tmp_path, CAN, {"env": env, "cwd": str(tmp_path / "work")}) as scene:
        scene.editor.open("x = 1\n", PY)
        await scene.until_heard("snake", "initialize")
        assert json.loads(told.read_text()) == [str(tmp_path / "work"), "1", False]


async def test_each_project_of_a_workspace_has_its_own_server(tmp_path: Path) -> None:
    root = tmp_path / "mono"
    for name in ("one", "two", "loose"):
        (root / name / "src").mkdir(parents=True)
    for name in ("one", "two"):
        (root / name / "pyproject.toml").write_text("")
    uris = {name: (root / name / "src" / "a.py").as_uri() for name in ("one", "two", "loose")}
    folders = [{"uri": root.as_uri(), "name": "mono"}]
    async with described(tmp_path, CAN, {"roots": ["pyproject.toml"]}, workspaceFolders=folders) as scene:
        for uri in uris.values():
            scene.editor.open("x = 1\n", uri)
            assert (await scene.editor.ask("textDocument/hover", where(uri)))["result"] == {"echo": where(uri)}
        started = {params["rootUri"]: params["workspaceFolders"] for params in scene.heard("snake", "initialize")}
        assert started == {
            (root / "one").as_uri(): [{"uri": (root / "one").as_uri(), "name": "one"}],
            (root / "two").as_uri(): [{"uri": (root / "two").as_uri(), "name": "two"}],
            None: folders,
        }
        assert len(scene.heard("snake", "textDocument/didOpen")) == 3  # each document in one of them
        assert len(scene.heard("snake", "textDocument/hover")) == 3
        assert "textDocument/hover" in scene.registered()  # once for all of them


async def test_a_projects_server_knows_no_other_folder(tmp_path: Path) -> None:
    root = tmp_path / "mono"
    (root / "one").mkdir(parents=True)
    (root / "one" / "pyproject.toml").write_text("")
    told, asked = "workspace/didChangeWorkspaceFolders", "workspace/workspaceFolders"
    folders = {"workspaceFolders": {"supported": True, "changeNotifications": True}}
    spec = {"capabilities": {**CAN["capabilities"], "workspace": folders}}
    given = [{"uri": root.as_uri(), "name": "mono"}]
    async with described(tmp_path, spec, {"roots": ["pyproject.toml"]}, workspaceFolders=given) as scene:
        for uri in ((root / "one" / "a.py").as_uri(), (root / "b.py").as_uri()):
            scene.editor.open("x = 1\n", uri)
            assert "result" in await scene.editor.ask("textDocument/hover", where(uri))
        scene.editor.notify(told, {"event": {"added": [{"uri": "file:///other", "name": "other"}], "removed": []}})
        scene.editor.make_server_send({"id": "folders", "method": asked})  # both servers
        (answer,) = await until(lambda: [m for m in scene.log("snake") if m.get("id") == "folders"])
        assert answer["result"] == [{"uri": (root / "one").as_uri(), "name": "one"}]
        assert len(await scene.until_heard("snake", told)) == 1
        await scene.editor.heard(asked)  # the workspace's server asks the editor
        assert len(scene.told(asked)) == 1


async def test_a_server_is_asked_only_for_its_methods(tmp_path: Path) -> None:
    async with described(tmp_path, CAN, {"without": ["textDocument/formatting"]}) as scene:
        scene.editor.open("x = 1\n", PY)
        await until(lambda: "textDocument/hover" in scene.registered())
        assert "textDocument/formatting" not in scene.registered()
        reply = await scene.editor.ask("textDocument/formatting", {**where(PY), "options": {}})
        assert reply["error"]["code"] == wire.METHOD_NOT_FOUND


async def test_an_unknown_method_or_member_is_told(tmp_path: Path) -> None:
    async with described(tmp_path, CAN, {"only": ["textDocument/hovr"]}) as scene:
        assert "'textDocument/hovr'" in scene.editor.shown()[0]
    (tmp_path / "other").mkdir()
    async with described(tmp_path / "other", CAN, {"onyl": []}) as scene:
        assert "onyl" in scene.editor.shown()[0]


async def test_a_name_that_no_server_has_falls_back(tmp_path: Path) -> None:
    Scene(tmp_path)  # a home of its own
    editor = FakeEditor(Settings(ranker="off"))
    await editor.initialize({"starling": {"servers": {**no_other_languages(), "python": ["basedpyrigth"]}}})
    assert "Did you mean 'basedpyright'?" in editor.shown()[0]
    assert len(editor.session.pool.servers) == 1  # the language's default
    await editor.gone()
