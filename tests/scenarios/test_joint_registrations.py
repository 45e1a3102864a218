"""What the editor is told that servers offer: once a method however many there are, renewed as they come, go and change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lsp_server.jsonrpc import wire
from lsp_server.settings import Settings
from tests.fakes.editor import FakeEditor, FakeRanker
from tests.scenarios.harness import until
from tests.scenarios.several import Several, dynamic, no_other_languages, refreshing, several, where
from tests.scenarios.test_servers_together import PY, both_ready

TOY = "file:///project/b.toy"
PYTHON = [{"language": "python"}]
Spec = dict[str, Any]


def registers(method: str, options: Any, id: str = "r") -> Spec:
    """A server that registers this when it is sent a document."""
    registrations = [{"id": id, "method": method, "registerOptions": options}]
    return {"on_open": {"id": 1, "method": "client/registerCapability", "params": {"registrations": registrations}}}


async def until_registered(scene: Several, method: str, options: Any) -> None:
    await until(lambda: scene.registered().get(method) == options)


async def test_two_servers_are_one_registration_with_the_options_of_both(tmp_path: Path) -> None:
    specs: dict[str, Spec] = {
        "one": {
            "capabilities": {
                "completionProvider": {"triggerCharacters": ["."]},
                "codeActionProvider": {"codeActionKinds": ["quickfix"], "resolveProvider": True},
                "documentOnTypeFormattingProvider": {"firstTriggerCharacter": "}"},
                "executeCommandProvider": {"commands": ["a"]},
            }
        },
        "two": {
            "capabilities": {
                "completionProvider": {"triggerCharacters": ["@"]},
                "codeActionProvider": True,
                "documentOnTypeFormattingProvider": {"firstTriggerCharacter": ";", "moreTriggerCharacter": ["}"]},
                "executeCommandProvider": {"commands": ["b"]},
            }
        },
    }
    async with several(tmp_path, {"python": specs}) as scene:
        await both_ready(scene, *specs)
        characters = {"triggerCharacters": [".", "@"], "resolveProvider": True, "documentSelector": PYTHON}
        await until_registered(scene, "textDocument/completion", characters)
        found = scene.registered()
        assert found["textDocument/codeAction"] == {"resolveProvider": True, "documentSelector": PYTHON}  # any kind
        typed = {"firstTriggerCharacter": "}", "moreTriggerCharacter": [";"], "documentSelector": PYTHON}
        assert found["textDocument/onTypeFormatting"] == typed
        assert found["workspace/executeCommand"] == {"commands": ["a", "b"]}


async def test_selectors_of_servers_are_kept_within_their_languages(tmp_path: Path) -> None:
    options = {"documentSelector": [{"scheme": "file", "pattern": "**/b.*"}]}
    spec = registers("textDocument/hover", options)
    async with several(tmp_path, {"python": {"one": spec}}) as scene:
        scene.editor.open("x = 1\n", PY)
        own = {"documentSelector": [{"language": "python", "scheme": "file", "pattern": "**/b.*"}]}
        await until_registered(scene, "textDocument/hover", own)
        other = PY.replace("a.py", "b.py")
        scene.editor.open("x = 1\n", other)
        assert (await scene.editor.ask("textDocument/hover", where(other)))["result"] == {"echo": where(other)}
        assert (await scene.editor.ask("textDocument/hover", where(PY)))["result"] is None


async def test_what_is_registered_twice_counts_together(tmp_path: Path) -> None:
    spec = {
        **registers("textDocument/completion", {"triggerCharacters": [":"]}),
        "capabilities": {"completionProvider": {"triggerCharacters": ["."]}},
        "completion": [{"label": "a"}],
    }
    async with several(tmp_path, {"python": {"one": spec}}) as scene:
        scene.editor.open("x = 1\n", PY)
        both = {"triggerCharacters": [".", ":"], "resolveProvider": True, "documentSelector": PYTHON}
        await until_registered(scene, "textDocument/completion", both)
        for character, count in ((".", 1), (":", 1), ("#", 0)):
            context = {"triggerKind": 2, "triggerCharacter": character}
            found = (await scene.editor.ask("textDocument/completion", {**where(PY), "context": context}))["result"]
            assert len(found or []) == count, character


LATER = {
    "textDocument/rename": ("textDocument/prepareRename", {"prepareProvider": True}),
    "textDocument/semanticTokens": ("textDocument/semanticTokens/full", {"legend": {}, "full": True}),
    "textDocument/diagnostic": ("workspace/diagnostic", {"workspaceDiagnostics": True}),
    "textDocument/documentColor": ("textDocument/colorPresentation", {}),
    "textDocument/rangeFormatting": ("textDocument/rangesFormatting", {"rangesSupport": True}),
    "textDocument/prepareTypeHierarchy": ("textDocument/prepareTypeHierarchy", {}),
}


@pytest.mark.parametrize("registered", LATER)
async def test_a_later_registration_brings_all_its_requests(tmp_path: Path, registered: str) -> None:
    asked, options = LATER[registered]
    async with several(tmp_path, {"python": {"one": registers(registered, options)}}) as scene:
        scene.editor.open("x = 1\n", PY)
        await until(lambda: registered in scene.registered())
        assert (await scene.editor.ask(asked, where(PY)))["result"] is not None
        assert len(scene.heard("one", asked)) == 1


async def test_what_was_announced_under_an_id_can_be_unregistered(tmp_path: Path) -> None:
    spec = {"capabilities": {"hoverProvider": {"id": "static"}, "renameProvider": True}}
    async with several(tmp_path, {"python": {"one": spec}}) as scene:
        scene.editor.open("x = 1\n", PY)
        await until(lambda: "textDocument/hover" in scene.registered())
        gone = [{"id": "static", "method": "textDocument/hover"}]
        scene.editor.make_server_send(
            {"id": 2, "method": "client/unregisterCapability", "params": {"unregisterations": gone}}
        )
        await until(lambda: "textDocument/hover" not in scene.registered())
        assert "textDocument/rename" in scene.registered()
        assert (await scene.editor.ask("textDocument/hover", where(PY)))["error"]["code"] == wire.METHOD_NOT_FOUND


async def test_a_server_that_rests_takes_its_registrations_back(tmp_path: Path) -> None:
    specs = {"python": {"one": {"capabilities": {"hoverProvider": True}}}}
    async with several(tmp_path, specs, settings=Settings(ranker="off", idle=1)) as scene:
        for _ in range(2):
            scene.editor.open("x = 1\n", PY)
            await until(lambda: "textDocument/hover" in scene.registered())
            scene.editor.notify("textDocument/didClose", {"textDocument": {"uri": PY}})
            await until(lambda: "textDocument/hover" not in scene.registered())


async def test_files_folders_and_saving_are_announced(tmp_path: Path) -> None:
    operations = {name: {"filters": []} for name in ("willRename", "didCreate")}
    sync = {"openClose": True, "change": 2, "willSave": True, "willSaveWaitUntil": True}
    spec = {
        "capabilities": {
            "workspace": {"fileOperations": operations},
            "textDocumentSync": sync,
            "inlineCompletionProvider": True,
        }
    }
    client = dynamic()
    client["workspace"]["workspaceFolders"] = True
    async with several(tmp_path, {"python": {"one": spec}}, client=client) as scene:
        capabilities = (await scene.editor.reply("initialize"))["result"]["capabilities"]
        assert capabilities["workspace"]["workspaceFolders"] == {"supported": True, "changeNotifications": True}
        await until(lambda: "workspace/didChangeWatchedFiles" in scene.registered())  # for the index, before any server
        scene.editor.open("x = 1\n", PY)
        wanted = {"workspace/willRenameFiles", "workspace/didCreateFiles", "textDocument/inlineCompletion"}
        await until(
            lambda: wanted | {"textDocument/willSave", "textDocument/willSaveWaitUntil"} <= set(scene.registered())
        )


REFRESHES = ("workspace/diagnostic/refresh", "workspace/inlayHint/refresh", "workspace/semanticTokens/refresh")


async def test_the_editor_asks_again_when_a_server_is_there_again(tmp_path: Path) -> None:
    offers = {"diagnosticProvider": {}, "inlayHintProvider": True, "semanticTokensProvider": {"legend": {}}}
    spec = {"capabilities": offers, "crash_on": ["die"]}
    async with several(tmp_path, {"python": {"one": spec}}, client=refreshing()) as scene:
        scene.editor.open("x = 1\n", PY)
        await until(lambda: all(scene.told(method) for method in REFRESHES))
        before = [len(scene.told(method)) for method in REFRESHES]
        scene.editor.notify("die", {})
        await until(lambda: all(len(scene.told(m)) > b for m, b in zip(REFRESHES, before, strict=True)))
        assert scene.told("workspace/codeLens/refresh") == []


SLOW = {"capabilities": {"renameProvider": True}, "slow": {"initialize": 3.5}}


async def test_a_slow_start_loses_no_capability_without_registrations(tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "a.py").write_text("x = 1\n")
    (tmp_path / "w" / "b.sh").write_text("ls\n")
    quick = {"capabilities": {"hoverProvider": True}}
    specs = {"python": {"slow": SLOW}, "bash": {"quick": quick}}
    async with several(tmp_path, specs, client={}, root=tmp_path / "w") as scene:
        capabilities = (await scene.editor.reply("initialize"))["result"]["capabilities"]
        assert (capabilities["renameProvider"], capabilities["hoverProvider"]) == (True, True)


async def test_a_server_that_is_not_installed_is_no_matter_until_a_file_needs_it(tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "a.py").write_text("x = 1\n")
    servers = {**no_other_languages(), "python": [["not-installed-here"]]}
    editor = FakeEditor(Settings(ranker="off"))
    await editor.initialize({"starling": {"servers": servers}}, rootUri=(tmp_path / "w").as_uri())
    assert editor.shown() == []
    for name in ("a", "b"):
        editor.open("x = 1\n", f"file:///project/{name}.py")
    told = await editor.heard("window/showMessage")
    assert (told["params"]["type"], len(editor.shown())) == (3, 1)  # information, once
    await editor.gone()


async def test_a_language_of_one_servers_second_choice_keeps_its_own_order(tmp_path: Path) -> None:
    def spec(name: str) -> Spec:
        return {"capabilities": {"renameProvider": True}, "results": {"textDocument/rename": {"by": name}}}

    async with several(tmp_path, {"python": {"one": spec("one"), "two": spec("two")}}) as scene:
        commands = [list(server.plan.command) for server in scene.editor.session.pool if server.handles("python")]
    servers = {**no_other_languages(), "python": commands, "toy": commands[::-1]}
    editor = FakeEditor(Settings(ranker="off"), FakeRanker())
    await editor.initialize({"starling": {"servers": servers}}, capabilities=dynamic())
    found = {}
    for uri, language_id in ((PY, "python"), (TOY, "toy")):
        editor.open("x\n", uri, language_id)
        await until(lambda: [s.state.value for s in editor.session.pool] == ["running"] * 2)
        found[language_id] = (await editor.ask("textDocument/rename", where(uri)))["result"]["by"]
    assert found == {"python": "one", "toy": "two"}
    await editor.gone()
