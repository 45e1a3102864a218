"""Ids, tokens and bytes cross Starling as they are; each request gets exactly one reply."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lsp_server.jsonrpc import wire
from lsp_server.servers.server import State
from tests.fakes.editor import URI, FakeRanker, editing, log_of, ranking, received_in
from tests.scenarios.harness import until
from tests.scenarios.several import several

COMPLETION = "textDocument/completion"
WHERE = {"textDocument": {"uri": URI}, "position": {"line": 0, "character": 2}}
ODD = '{"x":1.50,"big":123456789012345678901234567890,"e":1E400,"s":"A\\/","nested":[{"é":null}]}'


async def test_text_and_number_ids_are_two_requests(tmp_path: Path) -> None:
    async with editing(tmp_path) as editor:
        for id in (1, "1"):
            assert (await editor.ask("odd/thing", {"id": id}, id))["result"] == {"echo": {"id": id}}
        assert [len(editor.replies(id)) for id in (1, "1")] == [1, 1]


async def test_an_id_in_use_is_refused_and_the_first_request_lives_on(tmp_path: Path) -> None:
    async with editing(tmp_path, hang=["odd/slow"]) as editor:
        editor.request("odd/slow", {}, 7)
        assert "in use" in (await editor.ask("odd/other", {}, 7))["error"]["message"]
        editor.make_server_send({"id": 7, "result": "late but right"})
        late = await editor.until(lambda message: message.get("result") == "late but right")
        assert late["id"] == 7


async def test_replies_and_errors_pass_byte_for_byte(tmp_path: Path) -> None:
    async with editing(tmp_path, hang=["odd/slow"]) as editor:
        for id, member in ((7, f'"result":{ODD}'), ("7", f'"error":{{"code":-1,"message":"m","data":{ODD}}}')):
            editor.request("odd/slow", {}, id)
            body = f'{{ "jsonrpc": "2.0", "id":{json.dumps(id)},{member},"extra":1}}'.encode()
            editor.make_server_send(body)
            await editor.reply(id)
            assert editor.received[-1] == body


async def test_notifications_of_the_server_pass_byte_for_byte(tmp_path: Path) -> None:
    async with editing(tmp_path) as editor:
        body = f'{{"method":"odd/news","jsonrpc":"2.0" ,"params":{ODD},"extra":[]}}'.encode()
        editor.make_server_send(body)
        await editor.heard("odd/news")
        assert editor.received[-1] == body


async def test_ranker_off_is_byte_identical(tmp_path: Path) -> None:
    async with editing(tmp_path, hang=["textDocument/completion"]) as editor:
        editor.request("textDocument/completion", WHERE, 5)
        body = f'{{"id":5, "result":{{"items":[{{"label":"a","data":{ODD}}}],"odd":1.0}},"jsonrpc":"2.0"}}'.encode()
        editor.make_server_send(body)
        await editor.reply(5)
        assert editor.received[-1] == body


async def test_ranked_items_keep_what_starling_does_not_own(tmp_path: Path) -> None:
    async with editing(tmp_path, ranker=FakeRanker(), hang=["textDocument/completion"]) as editor:
        editor.request("textDocument/completion", WHERE, 5)
        editor.make_server_send(f'{{"id":5,"result":[{{"label":"a","data":{ODD},"odd":{ODD}}}]}}'.encode())
        (item,) = (await editor.reply(5))["result"]
        assert item["label"] == "★ a"
        assert editor.received[-1].count(ODD.encode()) == 2


@pytest.mark.parametrize(
    "result",
    [
        [{"label": "b"}, {"kind": 1}],
        [{"label": None}],
        [1, 2],
        {"items": 5},
        "a text",
        {"items": [{"label": "a"}], "itemDefaults": 3},
    ],
)
async def test_lists_that_no_ranker_understands_pass(tmp_path: Path, result: Any) -> None:
    async with editing(tmp_path, ranker=FakeRanker(), completion=result) as editor:
        reply = await editor.ask("textDocument/completion", WHERE)
        assert reply["result"] == result


@pytest.mark.parametrize(
    ("order", "stars"), [([0, 0], [0, 0]), ([0], [0]), ([5, 0], [0, 0]), ([1, 0], []), ([], [])], ids=str
)
async def test_a_wrong_ranker_costs_the_ranking_only(tmp_path: Path, order: list[int], stars: list[int]) -> None:
    items = [{"label": "a"}, {"label": "b"}]
    ranker = FakeRanker(answer=lambda count: ranking(order, stars))
    async with editing(tmp_path, ranker=ranker, completion=items) as editor:
        assert (await editor.ask("textDocument/completion", WHERE))["result"] == items


async def test_server_requests_are_answered_under_the_servers_own_ids(tmp_path: Path) -> None:
    async with editing(tmp_path) as editor:
        editor.make_server_send({"id": 1, "method": "odd/ask", "params": {"p": 1}})
        editor.make_server_send({"id": "1", "method": "odd/ask", "params": {"p": 2}})
        second = await editor.heard("odd/ask", count=2)
        first = await editor.heard("odd/ask")
        assert first["id"] != second["id"]
        editor.say({"jsonrpc": "2.0", "id": second["id"], "result": "two"})
        editor.say({"jsonrpc": "2.0", "id": first["id"], "error": {"code": 1, "message": "one"}})
        editor.say({"jsonrpc": "2.0", "id": first["id"], "result": "again"})  # nobody waits for it
        await editor.ask("odd/flush", None)
        replies = [m for line in log_of(tmp_path) if "method" not in (m := json.loads(line))]
        assert [(m["id"], m.get("result")) for m in replies] == [("1", "two"), (1, None)]


async def test_progress_of_the_server_and_of_the_client_are_told_apart(tmp_path: Path) -> None:
    async with editing(tmp_path) as editor:
        editor.make_server_send({"id": 1, "method": "window/workDoneProgress/create", "params": {"token": 3}})
        ours = (await editor.heard("window/workDoneProgress/create"))["params"]["token"]
        for token in (3, "3"):  # "3" was made by the client: partial results of one of its requests
            value = {"token": token, "value": {"kind": "report", "odd": 1.5}}
            editor.make_server_send({"method": "$/progress", "params": value})
        second = await editor.heard("$/progress", count=2)
        assert (await editor.heard("$/progress"))["params"]["token"] == ours
        assert second["params"] == {"token": "3", "value": {"kind": "report", "odd": 1.5}}
        editor.notify("window/workDoneProgress/cancel", {"token": ours})
        await editor.ask("odd/flush", None)
        assert received_in(tmp_path, "window/workDoneProgress/cancel") == [{"token": 3}]


async def test_no_change_overtakes_a_question_about_the_text(tmp_path: Path) -> None:
    """Messages that come in one piece: each reaches the server in its turn, a request that Starling works on too."""
    async with editing(tmp_path, ranker=FakeRanker(), completion=[]) as editor:
        editor.open("x")
        change = {"textDocument": {"uri": URI, "version": 2}, "contentChanges": [{"text": "y"}]}
        for number in range(3):
            editor.request(COMPLETION, WHERE, f"list {number}")
            editor.notify("textDocument/didChange", change)
            editor.request("odd/thing", {})
        await editor.flushed()
        methods = [json.loads(line)["method"] for line in log_of(tmp_path)][-10:-1]
        assert methods == [COMPLETION, "textDocument/didChange", "odd/thing"] * 3


async def test_no_change_overtakes_a_question_to_several_servers(tmp_path: Path) -> None:
    async with several(
        tmp_path, {"toy": {"one": {"capabilities": REFERENCES}, "two": {"capabilities": REFERENCES}}}
    ) as scene:
        editor = scene.editor
        editor.open("x", language_id="toy")
        servers = [server for server in editor.session.pool if server.handles("toy")]
        await until(lambda: [server.state for server in servers] == [State.RUNNING] * 2)
        change = {"textDocument": {"uri": URI, "version": 2}, "contentChanges": [{"text": "y"}]}
        editor.request("textDocument/references", WHERE, "refs")
        editor.notify("textDocument/didChange", change)
        await editor.reply("refs")
        for name in ("one", "two"):
            await scene.until_heard(name, "textDocument/didChange")
            methods = [message["method"] for message in scene.log(name) if "method" in message]
            assert methods[-2:] == ["textDocument/references", "textDocument/didChange"]


async def test_a_server_cancels_its_own_request(tmp_path: Path) -> None:
    async with editing(tmp_path) as editor:
        editor.make_server_send({"id": 9, "method": "odd/ask", "params": None})
        asked = await editor.heard("odd/ask")
        editor.make_server_send({"method": "$/cancelRequest", "params": {"id": 9}})
        assert (await editor.heard("$/cancelRequest"))["params"] == {"id": asked["id"]}


async def test_resolve_sends_each_server_its_own_item(tmp_path: Path) -> None:
    listed = {"items": [{"label": "a", "x": 1.5}, {"label": "b", "data": None}], "itemDefaults": {"data": {"d": [1]}}}
    async with editing(tmp_path, ranker=FakeRanker(), completion=listed, resolve=True) as editor:
        items = (await editor.ask("textDocument/completion", WHERE))["result"]["items"]
        for item in items:
            resolved = (await editor.ask("completionItem/resolve", item))["result"]
            assert (resolved["label"], resolved["sortText"]) == (item["label"], item["sortText"])
            assert "★ Starling: 50 % likely" in resolved["documentation"]
        sent = received_in(tmp_path, "completionItem/resolve")
        assert sent == [{"label": "a", "x": 1.5, "data": {"d": [1]}}, {"label": "b", "data": None}]


async def test_resolve_is_starlings_where_the_server_has_none(tmp_path: Path) -> None:
    async with editing(tmp_path, ranker=FakeRanker(), completion=[{"label": "a"}]) as editor:
        (item,) = (await editor.ask("textDocument/completion", WHERE))["result"]
        resolved = (await editor.ask("completionItem/resolve", item))["result"]
        assert "★ Starling: " in resolved["documentation"]["value"]
        assert received_in(tmp_path, "completionItem/resolve") == []


@pytest.mark.parametrize("data", [{"starling": [1, "0"]}, {"starling": [[1], 0]}, {"starling": [1, -1]}, [{}], 7])
async def test_items_of_others_are_resolved_untouched(tmp_path: Path, data: Any) -> None:
    async with editing(tmp_path, ranker=FakeRanker(), completion=[{"label": "a"}], resolve=True) as editor:
        await editor.ask("textDocument/completion", WHERE)
        await editor.ask("completionItem/resolve", {"label": "z", "data": data})
        assert received_in(tmp_path, "completionItem/resolve") == [{"label": "z", "data": data}]


REFERENCES = {"referencesProvider": True}
DEEP = b'{"range":{},"parent":' * 50_000 + b"null" + b"}" * 50_000


async def test_nesting_without_end_passes_in_both_directions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Selection ranges of a generated expression: a range in a range, thousands of times."""
    async with editing(tmp_path, ranker=FakeRanker(), hang=["odd/slow", COMPLETION]) as editor:
        for method, params in (("odd/slow", {}), (COMPLETION, WHERE)):
            editor.request(method, params, method)
            body = b'{"jsonrpc":"2.0","id":"%b","result":[%b]}' % (method.encode(), DEEP)
            editor.make_server_send(body)
            await until(lambda body=body: body in editor.received)
            editor.received.clear()  # this editor can't read it
        told = b'{"method":"odd/deep","params":' + DEEP + b"}"
        editor.make_server_send(told)
        await until(lambda: told in editor.received)
        editor.received.clear()
        sent: list[bytes] = []
        asked = b'{"id":1,"method":"odd/deep","params":' + DEEP + b"}"
        with monkeypatch.context() as patch:  # the fake can't read it either
            patch.setattr(editor.session.pool.servers[0], "send", sent.append)
            editor.say(asked)
        assert sent == [asked]
        assert "result" in await editor.ask("odd/thing", {})


async def test_nesting_without_end_that_starling_would_have_to_read_is_refused(tmp_path: Path) -> None:
    async with several(tmp_path, {"toy": {"toy": {}}}) as scene:
        scene.editor.say(b'{"id":1,"method":"odd/deep","params":' + DEEP + b"}")
        assert (await scene.editor.reply(1))["error"]["code"] == wire.INVALID_PARAMS
        assert (await scene.editor.ask("odd/thing", {}))["error"]["code"] == wire.METHOD_NOT_FOUND
