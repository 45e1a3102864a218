"""One session, a wrapped server a language: who starts when, who hears what, and what the editor is told."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from corpus.syntax.language import Language, ServerPreset, languages
from lsp_server.jsonrpc import wire
from lsp_server.settings import Settings
from starling_lsp.commands.doctor import examine
from tests.fakes.editor import FakeEditor
from tests.scenarios.harness import Scene, until
from tests.scenarios.several import dynamic, several, where

PY, TOY = "file:///project/a.py", "file:///project/b.toy"
CAN = {"capabilities": {"hoverProvider": True, "renameProvider": True}}
TWO = {"python": {"snake": CAN}, "toy": {"toy": CAN}}


async def test_a_server_starts_with_its_first_document_and_hears_only_its_own(tmp_path: Path) -> None:
    async with several(tmp_path, TWO) as scene:
        assert set(scene.running().values()) == {None}
        scene.editor.open("x = 1\n", PY)
        opened = await scene.until_heard("snake", "textDocument/didOpen")
        assert [each["textDocument"]["uri"] for each in opened] == [PY]
        assert scene.log("toy") == []
        scene.editor.open("toy\n", TOY, "toy")
        await scene.until_heard("toy", "textDocument/didOpen")
        assert len(scene.heard("snake", "textDocument/didOpen")) == 1
        assert scene.heard("toy", "initialize")[0]["capabilities"]["general"]["positionEncodings"] == ["utf-16"]


async def test_requests_go_to_the_documents_server_and_wait_while_it_starts(tmp_path: Path) -> None:
    async with several(tmp_path, TWO) as scene:
        scene.editor.open("x = 1\n", PY)
        assert (await scene.editor.ask("textDocument/hover", where(PY)))["result"] == {"echo": where(PY)}
        assert (await scene.editor.ask("textDocument/rename", where(PY)))["result"] == {"echo": where(PY)}
        assert scene.heard("toy", "textDocument/hover") == []


async def test_a_document_under_an_editors_own_name_goes_by_its_files_name(tmp_path: Path) -> None:
    async with several(tmp_path, TWO) as scene:
        scene.editor.open("x = 1\n", PY, "py3")
        (opened,) = await scene.until_heard("snake", "textDocument/didOpen")
        assert opened["textDocument"]["languageId"] == "python"
        assert (await scene.editor.ask("textDocument/hover", where(PY)))["result"] == {"echo": where(PY)}
        scene.editor.open("?\n", "file:///project/what", "what")
        assert (await scene.editor.ask("textDocument/hover", where("file:///project/what")))[
            "result"
        ] is None  # another's can


async def test_a_slow_starter_holds_up_nobody_else(tmp_path: Path) -> None:
    slow = {"python": {"snake": CAN}, "toy": {"toy": {"hang": ["initialize"]}}}
    async with several(tmp_path, slow) as scene:
        scene.editor.open("toy\n", TOY, "toy")
        waiting = scene.editor.request("textDocument/hover", where(TOY))
        scene.editor.open("x = 1\n", PY)
        assert (await scene.editor.ask("textDocument/hover", where(PY)))["result"] == {"echo": where(PY)}
        scene.editor.notify("$/cancelRequest", {"id": waiting})
        assert (await scene.editor.reply(waiting))["error"]["code"] == wire.REQUEST_CANCELLED


async def test_what_a_server_can_is_registered_for_its_documents(tmp_path: Path) -> None:
    spec = {"capabilities": {"hoverProvider": True, "executeCommandProvider": {"commands": ["do.it"]}}}
    async with several(tmp_path, {"python": {"snake": spec}, "toy": {"toy": {}}}) as scene:
        scene.editor.open("x = 1\n", PY)
        await until(lambda: "textDocument/hover" in scene.registered())
        by_method = scene.registered()
        assert by_method["textDocument/hover"] == {"documentSelector": [{"language": "python"}]}
        assert by_method["workspace/executeCommand"] == {"commands": ["do.it"]}
        assert by_method["textDocument/completion"] == {
            "triggerCharacters": ["."],
            "resolveProvider": True,
            "documentSelector": [{"language": "python"}],
        }
        result = await scene.editor.ask("workspace/executeCommand", {"command": "do.it"})
        assert result["result"] == {"echo": {"command": "do.it"}}
        refused = await scene.editor.ask("workspace/executeCommand", {"command": "else"})
        assert "'else'" in refused["error"]["message"]


async def test_capabilities_are_merged_for_an_editor_that_takes_no_registrations(tmp_path: Path) -> None:
    root = tmp_path / "project"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "a.py").write_text("x = 1\n")
    spec = {"capabilities": {"hoverProvider": True, "foldingRangeProvider": {"lineFoldingOnly": True}}}
    async with several(tmp_path, {"python": {"snake": spec}, "toy": {"toy": {}}}, client={}, root=root) as scene:
        capabilities = (await scene.editor.reply("initialize"))["result"]["capabilities"]
        assert capabilities["hoverProvider"] is True
        assert capabilities["foldingRangeProvider"] == {"lineFoldingOnly": True}
        assert capabilities["textDocumentSync"]["change"] == 2
        assert capabilities["positionEncoding"] == "utf-16"
        assert "." in capabilities["completionProvider"]["triggerCharacters"]
        assert scene.log("toy") == []  # the workspace has none of its files
        scene.editor.open("x = 1\n", PY)
        await scene.until_heard("snake", "textDocument/didOpen")
        assert [m for m in scene.editor.messages if m.get("method") == "client/registerCapability"] == []


async def test_answers_at_once_where_registrations_are_taken(tmp_path: Path) -> None:
    async with several(tmp_path, {"python": {"snake": {"hang": ["initialize"]}}}, root=tmp_path) as scene:
        assert "capabilities" in (await scene.editor.reply("initialize"))["result"]
        assert scene.log("snake") == []


async def test_a_file_without_a_folder_gets_what_any_server_may_do(tmp_path: Path) -> None:
    async with several(tmp_path, TWO, client=dynamic("completionProvider")) as scene:
        capabilities = (await scene.editor.reply("initialize"))["result"]["capabilities"]
        assert capabilities["hoverProvider"] is True
        assert "documentFormattingProvider" not in capabilities  # an editor may have another formatter


async def test_what_no_server_can_answer_is_refused(tmp_path: Path) -> None:
    async with several(tmp_path, TWO) as scene:
        other = "file:///project/c.other"
        scene.editor.open("words\n", other, "other")
        for method in ("textDocument/hover", "odd/thing"):
            assert (await scene.editor.ask(method, where(other)))["error"]["code"] == wire.METHOD_NOT_FOUND
        assert (await scene.editor.ask("textDocument/completion", where(other)))["result"] is None


async def test_a_missing_server_is_told_once_and_the_others_go_on(tmp_path: Path) -> None:
    async with several(tmp_path, TWO) as scene:
        missing = next(server for server in scene.editor.session.pool if server.handles("toy"))
        object.__setattr__(missing.plan, "command", ("no-such-server",))
        scene.editor.open("toy\n", TOY, "toy")
        scene.editor.open("toy\n", TOY + "2", "toy")
        await scene.editor.heard("window/showMessage")
        assert (await scene.editor.ask("textDocument/hover", where(TOY)))["error"]["code"] == wire.METHOD_NOT_FOUND
        scene.editor.open("x = 1\n", PY)
        assert "result" in await scene.editor.ask("textDocument/hover", where(PY))
        assert len(scene.editor.shown()) == 1
        assert "'no-such-server' was not found" in scene.editor.shown()[0]


def stand_in(folder: Path, name: str) -> Path:
    """A command of this name that only fails, as a manager of tools leaves one for what was not chosen; returns its log."""
    log, command = folder / "log", folder / name
    command.write_text(f'#!/bin/sh\necho "called with $*" >> "{log}"\nexit 1\n')
    command.chmod(0o755)
    return log


CHECKED = [(language, server) for language in languages().values() for server in language.servers if server.check]


@pytest.mark.parametrize(("language", "preset"), CHECKED, ids=lambda one: one.name)
async def test_a_stand_in_counts_as_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, language: Language, preset: ServerPreset
) -> None:
    Scene(tmp_path)  # a home of its own, without a model
    log = stand_in(tmp_path, preset.command[0])
    monkeypatch.setenv("PATH", os.pathsep.join((str(tmp_path), os.environ["PATH"])))
    wanted = f"{preset.name} is not installed"
    assert [said.remedy for said in examine(Settings(ranker="off")) if said.found == wanted] == [preset.install]
    editor = FakeEditor(Settings(ranker="off"))
    await editor.initialize(capabilities=dynamic())
    editor.open("", f"file:///project/a{language.extensions[0]}", language.language_ids[0])
    shown = (await editor.heard("window/showMessage"))["params"]["message"]
    assert shown == f"The language server '{preset.command[0]}' was not found. {preset.install}"
    assert set(log.read_text().splitlines()) == {f"called with {' '.join(preset.check)}"}  # never started as a server
    await editor.gone()


async def test_a_crash_is_that_servers_alone(tmp_path: Path) -> None:
    crashing = {"python": {"snake": {**CAN, "crash_on": ["textDocument/didSave"]}}, "toy": {"toy": CAN}}
    async with several(tmp_path, crashing) as scene:
        scene.editor.open("x = 1\n", PY)
        scene.editor.open("toy\n", TOY, "toy")
        await scene.until_heard("toy", "textDocument/didOpen")
        await scene.until_heard("snake", "textDocument/didOpen")
        scene.editor.notify("textDocument/didSave", {"textDocument": {"uri": PY}})
        await scene.editor.heard("window/showMessage")
        for uri in (TOY, PY):
            assert (await scene.editor.ask("textDocument/hover", where(uri)))["result"] == {"echo": where(uri)}
        assert [each["textDocument"]["uri"] for each in scene.heard("snake", "textDocument/didOpen")] == [PY, PY]
        assert len(scene.heard("toy", "initialize")) == 1


async def test_requests_of_servers_are_told_apart(tmp_path: Path) -> None:
    async with several(tmp_path, TWO) as scene:
        for uri, language_id in ((PY, "python"), (TOY, "toy")):
            scene.editor.open("x\n", uri, language_id)
            await scene.editor.ask("textDocument/hover", where(uri))
        scene.editor.make_server_send({"id": 1, "method": "odd/ask", "params": None})  # to both
        await scene.editor.until(lambda m: m.get("method") == "odd/ask", count=2)
        ids = [m["id"] for m in scene.editor.messages if m.get("method") == "odd/ask"]
        assert len(set(ids)) == 2
        for id in ids:
            scene.editor.say({"jsonrpc": "2.0", "id": id, "result": id})
        for name in ("snake", "toy"):
            answers = await until(lambda name=name: [m for m in scene.log(name) if "method" not in m])
            assert [(m["id"], name in m["result"] or "starling" in m["result"]) for m in answers] == [(1, True)]


async def test_an_idle_server_is_ended_and_comes_back(tmp_path: Path) -> None:
    settings = Settings(ranker="off", idle=1)
    async with several(tmp_path, TWO, settings=settings) as scene:
        scene.editor.open("x = 1\n", PY)
        await scene.until_heard("snake", "textDocument/didOpen")
        pid = next(pid for pid in scene.running().values() if pid is not None)
        scene.editor.notify("textDocument/didClose", {"textDocument": {"uri": PY}})
        await until(lambda: not psutil.pid_exists(pid))
        assert scene.heard("snake", "shutdown") == [None]
        assert scene.editor.shown() == []
        scene.editor.open("x = 2\n", PY)
        opened = await scene.until_heard("snake", "textDocument/didOpen", 2)
        assert opened[1]["textDocument"]["text"] == "x = 2\n"


async def test_shutdown_ends_every_server(tmp_path: Path) -> None:
    async with several(tmp_path, TWO) as scene:
        for uri, language_id in ((PY, "python"), (TOY, "toy")):
            scene.editor.open("x\n", uri, language_id)
            await scene.editor.ask("textDocument/hover", where(uri))
        assert (await scene.editor.ask("shutdown", None))["result"] is None
        scene.editor.notify("exit", None)
        assert await scene.editor.closed == 0
        assert set(scene.running().values()) == {None}
        assert [scene.heard(name, "shutdown") for name in ("snake", "toy")] == [[None], [None]]


async def test_a_server_that_starts_later_is_told_the_folders_as_they_are(tmp_path: Path) -> None:
    async with several(tmp_path, TWO, root=tmp_path) as scene:
        folder = {"uri": "file:///added", "name": "added"}
        scene.editor.notify("workspace/didChangeWorkspaceFolders", {"event": {"added": [folder], "removed": []}})
        scene.editor.notify("workspace/didChangeConfiguration", {"settings": {"theirs": 1}})
        scene.editor.open("x = 1\n", PY)
        await scene.until_heard("snake", "textDocument/didOpen")
        assert scene.heard("snake", "initialize")[0]["workspaceFolders"] == [folder]
        assert scene.heard("snake", "workspace/didChangeConfiguration") == [{"settings": {"theirs": 1}}]
