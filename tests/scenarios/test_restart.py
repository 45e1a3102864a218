"""A wrapped server that dies: what waits, what fails, what the new one hears, and when Starling gives up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lsp_server.jsonrpc import wire
from lsp_server.servers import server as server_module
from tests.fakes.editor import URI, FakeEditor, FakeRanker, editing, log_of
from tests.scenarios.harness import until

COMPLETION = "textDocument/completion"
WHERE = {"textDocument": {"uri": URI}, "position": {"line": 0, "character": 2}}
LIST = [{"label": "a"}]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "BACK_OFF", (0.05, 0.05, 0.05))


def second_life(folder: Path) -> list[dict[str, Any]]:
    """What the newest process was sent, from its initialize on."""
    messages = [json.loads(line) for line in log_of(folder)]
    starts = [place for place, message in enumerate(messages) if message.get("method") == "initialize"]
    assert len(starts) > 1
    return messages[starts[-1] :]


async def crashed(editor: FakeEditor) -> None:
    editor.notify("die", {})
    await editor.heard("window/showMessage")


async def test_requests_while_it_starts_wait_for_the_documents(tmp_path: Path) -> None:
    async with editing(tmp_path, ranker=FakeRanker(), crash_on=["die"], completion=LIST) as editor:
        editor.open("old")
        await crashed(editor)
        span = {"start": {"line": 0, "character": 0}, "end": {"line": 0, "character": 3}}
        change = {"textDocument": {"uri": URI, "version": 2}, "contentChanges": [{"range": span, "text": "new"}]}
        editor.notify("textDocument/didChange", change)
        editor.request("textDocument/hover", WHERE, "hover")
        refused = await editor.ask("textDocument/rename", {})
        assert refused["error"]["code"] == wire.REQUEST_FAILED
        assert "exit code 3" in refused["error"]["message"]
        assert (await editor.ask(COMPLETION, WHERE))["result"][0]["label"] == "★ a"
        assert (await editor.reply("hover"))["result"] == {"echo": WHERE}
        heard = second_life(tmp_path)
        assert [message["method"] for message in heard] == [
            "initialize", "initialized", "textDocument/didOpen", "textDocument/hover", COMPLETION,
        ]  # fmt: skip
        assert heard[2]["params"]["textDocument"]["text"] == "new"
        assert heard[2]["params"]["textDocument"]["version"] == 2
        assert len(editor.replies("hover")) == 1


async def test_the_last_configuration_is_told_again_without_our_key(tmp_path: Path) -> None:
    async with editing(tmp_path, crash_on=["die"]) as editor:
        settings = {"theirs": {"x": 1}, "starling": {"deadline": 9}}
        editor.notify("workspace/didChangeConfiguration", {"settings": settings})
        await crashed(editor)
        await editor.ask("textDocument/hover", WHERE)
        told = [m["params"] for m in second_life(tmp_path) if m["method"] == "workspace/didChangeConfiguration"]
        assert told == [{"settings": {"theirs": {"x": 1}}}]
        assert editor.session.state.settings.deadline == 9


async def test_a_request_of_the_dead_server_is_cancelled_and_its_late_answer_dropped(tmp_path: Path) -> None:
    async with editing(tmp_path, crash_on=["die"]) as editor:
        editor.make_server_send({"id": 1, "method": "odd/ask", "params": None})
        asked = await editor.heard("odd/ask")
        await crashed(editor)
        assert (await editor.heard("$/cancelRequest"))["params"] == {"id": asked["id"]}
        await editor.ask("textDocument/hover", WHERE)
        editor.say({"jsonrpc": "2.0", "id": asked["id"], "result": "late"})
        await editor.ask("odd/flush", None)
        assert [m for m in second_life(tmp_path) if "method" not in m] == []


async def test_it_gives_up_after_repeated_crashes_and_the_session_goes_on(tmp_path: Path) -> None:
    async with editing(tmp_path, crash_on=["initialized"]) as editor:
        last = await editor.until(lambda m: "not started again" in str(m.get("params")))
        assert "4 times" in last["params"]["message"]
        assert "crashing as told" in last["params"]["message"]
        assert len(editor.shown()) == 2  # one when it began, one when it ended
        reply = await editor.ask(COMPLETION, WHERE)
        assert reply["error"]["code"] == wire.REQUEST_FAILED
        assert (await editor.ask("shutdown", None))["result"] is None


class CrashesWhileRanking(FakeRanker):
    """The wrapped server dies when its list is here and not yet ranked."""

    editor: FakeEditor

    async def rank(self, params: Any) -> Any:
        await crashed(self.editor)
        return await super().rank(params)


@pytest.mark.parametrize("back_off", [(0.05,), ()], ids=["starts again", "gives up"])
async def test_a_list_that_is_being_ranked_survives_the_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, back_off: tuple[float, ...]
) -> None:
    monkeypatch.setattr(server_module, "BACK_OFF", back_off)
    ranker = CrashesWhileRanking()
    async with editing(tmp_path, ranker=ranker, crash_on=["die"], completion=LIST) as editor:
        ranker.editor = editor
        assert (await editor.ask(COMPLETION, WHERE, "list"))["result"][0]["label"] == "★ a"
        await editor.ask("textDocument/hover", WHERE)
        assert len(editor.replies("list")) == 1
        asked = [line for line in log_of(tmp_path) if json.loads(line).get("method") == COMPLETION]
        assert len(asked) == 1  # not again


async def test_shutdown_while_it_starts_again_is_answered(tmp_path: Path) -> None:
    async with editing(tmp_path, crash_on=["die"]) as editor:
        await crashed(editor)
        assert (await editor.ask("shutdown", None))["result"] is None
        editor.notify("exit", None)
        assert await editor.closed == 0


@pytest.mark.parametrize("params", [None, [], "x", {"workspaceFolders": True}])
async def test_initialize_may_be_tried_again_after_an_error(tmp_path: Path, params: Any) -> None:
    async with editing(tmp_path) as running:
        editor = FakeEditor(running.session.state.settings)
        assert "error" in await editor.ask("initialize", params)
        assert "result" in await editor.initialize()
        assert "result" in await editor.ask("odd/thing", {})
        await editor.gone()


async def test_requests_during_a_restart_wait_for_the_new_process(tmp_path: Path) -> None:
    async with editing(tmp_path, slow={"shutdown": 0.3}) as editor:
        editor.open("text")
        restarting = editor.request("starling/restart", {})
        await until(lambda: any(json.loads(line).get("method") == "shutdown" for line in log_of(tmp_path)))
        assert (await editor.ask("textDocument/rename", WHERE))["result"] == {"echo": WHERE}
        assert "result" in await editor.reply(restarting)
        heard = second_life(tmp_path)
        assert [message["method"] for message in heard] == [
            "initialize", "initialized", "textDocument/didOpen", "textDocument/rename",
        ]  # fmt: skip


async def test_a_process_hears_initialized_once_and_no_document_opened_twice(tmp_path: Path) -> None:
    async with editing(tmp_path) as editor:
        editor.open("one")
        editor.notify("initialized", {})
        editor.open("two")
        await editor.ask("textDocument/hover", WHERE)
        heard = [json.loads(line) for line in log_of(tmp_path)]
        methods = [message["method"] for message in heard if message.get("method") != "textDocument/hover"]
        assert methods == [
            "initialize",
            "initialized",
            "textDocument/didOpen",
            "textDocument/didClose",
            "textDocument/didOpen",
        ]
        assert heard[-2]["params"]["textDocument"]["text"] == "two"
