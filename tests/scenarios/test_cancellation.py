"""Cancelled and hanging requests: the server is asked first, the editor never waits, nothing is answered twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from lsp_server.jsonrpc import wire
from lsp_server.routing import requests
from tests.fakes.editor import URI, FakeRanker, editing, ranking, received_in
from tests.scenarios.several import several

WHERE = {"textDocument": {"uri": URI}, "position": {"line": 0, "character": 2}}
HOVER = "textDocument/hover"


async def test_a_server_that_hangs_in_one_request_answers_others(tmp_path: Path) -> None:
    async with editing(tmp_path, hang=[HOVER], completion=[{"label": "a"}]) as editor:
        editor.request(HOVER, WHERE, "hover")
        assert (await editor.ask("textDocument/completion", WHERE))["result"] == [{"label": "a"}]
        assert editor.replies("hover") == []


async def test_cancel_is_forwarded_and_a_silent_server_is_answered_for(tmp_path: Path) -> None:
    async with editing(tmp_path, hang=[HOVER]) as editor:
        editor.request(HOVER, WHERE, 5)
        editor.notify("$/cancelRequest", {"id": 5})
        editor.notify("$/cancelRequest", {"id": 5})
        reply = await editor.reply(5)
        assert reply["error"]["code"] == wire.REQUEST_CANCELLED
        assert received_in(tmp_path, "$/cancelRequest") == [{"id": 5}]
        editor.make_server_send({"id": 5, "result": "late"})
        await editor.ask("odd/flush", None)
        assert len(editor.replies(5)) == 1


async def test_a_cancelled_completion_has_one_reply(tmp_path: Path) -> None:
    async with editing(tmp_path, ranker=FakeRanker(), hang=["textDocument/completion"]) as editor:
        editor.request("textDocument/completion", WHERE, "5")
        editor.notify("$/cancelRequest", {"id": "5"})
        assert (await editor.reply("5"))["error"]["code"] == wire.REQUEST_CANCELLED
        editor.make_server_send({"id": "5", "result": [{"label": "late"}]})
        await editor.ask("odd/flush", None)
        assert len(editor.replies("5")) == 1


async def test_the_servers_own_answer_to_a_cancel_is_passed_on(tmp_path: Path) -> None:
    async with editing(tmp_path, hang=[HOVER]) as editor:
        editor.request(HOVER, WHERE, 5)
        editor.notify("$/cancelRequest", {"id": 5})
        editor.make_server_send({"id": 5, "error": {"code": wire.REQUEST_CANCELLED, "message": "as you wish"}})
        assert (await editor.reply(5))["error"]["message"] == "as you wish"


@pytest.mark.parametrize("method", ["textDocument/completion", HOVER])
async def test_what_is_cancelled_while_its_server_starts_is_answered_at_once_and_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr(requests, "CANCEL_GRACE", 1000.0)
    async with several(tmp_path, {"python": {"late": {"slow": {"initialize": 0.5}}}}) as scene:
        scene.editor.open("x")
        scene.editor.request(method, WHERE, 5)
        scene.editor.notify("$/cancelRequest", {"id": 5})
        assert (await scene.editor.reply(5))["error"]["code"] == wire.REQUEST_CANCELLED
        await scene.until_heard("late", "textDocument/didOpen")
        scene.editor.notify("textDocument/didClose", {"textDocument": {"uri": URI}})
        scene.editor.session.pool.servers[0].rest_after(0)
        await scene.until_heard("late", "shutdown")  # no request keeps it
        assert scene.heard("late", method) == []


async def test_cancelling_what_nobody_asked_is_no_error(tmp_path: Path) -> None:
    async with editing(tmp_path) as editor:
        for params in ({"id": 99}, {"id": "5"}, {}, {"id": None}):
            editor.notify("$/cancelRequest", params)
        assert "result" in await editor.ask("odd/thing", {})


async def test_a_ranker_without_an_answer_leaves_the_list_as_it_came(tmp_path: Path) -> None:
    items = [{"label": "a", "preselect": True}]
    async with editing(tmp_path, ranker=FakeRanker(answer=lambda count: None), completion=items) as editor:
        assert (await editor.ask("textDocument/completion", WHERE))["result"] == items


async def test_an_id_is_free_again_after_its_reply(tmp_path: Path) -> None:
    ranker = FakeRanker(answer=lambda count: ranking([0], [0]))
    async with editing(tmp_path, ranker=ranker, completion=[{"label": "a"}]) as editor:
        for count in (1, 2, 3):
            editor.request("textDocument/completion", WHERE, 5)
            await editor.until(lambda message: message.get("id") == 5, count=count)
        assert len(editor.replies(5)) == 3
