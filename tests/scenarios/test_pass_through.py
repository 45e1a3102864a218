"""What Starling does not own passes through, both ways."""

import asyncio
import sys
from pathlib import Path

import pytest

from corpus.syntax.language import languages
from lsp_server.probe import Probe
from lsp_server.servers.backend import BackendRefused, BackendSilent
from tests.scenarios.harness import SIGNALS, URI, Scene, ranking, until
from tests.scenarios.several import dynamic

ITEMS = [
    {"label": name, "kind": 2, "sortText": f"{10 - place:02}"} for place, name in enumerate(["one", "two", "three"])
]


async def test_unknown_request_with_unknown_fields(tmp_path: Path) -> None:
    params = {"odd": [1, 2.50, None, {"é": "\U0001f600"}], "big": 12345678901234567890, "textDocument": {"uri": URI}}
    async with Scene(tmp_path).starling() as probe:
        assert await probe.backend.request("some/unknown", params, 10) == {"echo": params}


async def test_initialize_result_is_the_servers_own(tmp_path: Path) -> None:
    async with Scene(tmp_path).starling() as probe:
        assert probe.result["odd"] == {"kept": True}
        assert probe.result["capabilities"]["completionProvider"] == {
            "triggerCharacters": ["."],
            "resolveProvider": True,
        }


async def test_own_options_stay_here_and_others_go_on(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.starling(options={"starling": {"deadline": 5}, "theirs": {"a": 1}}):
        assert scene.received("initialize")[0]["initializationOptions"] == {"theirs": {"a": 1}}


async def test_notifications_and_requests_of_the_server(tmp_path: Path) -> None:
    async with Scene(tmp_path).starling() as probe:
        probe.backend.notify("fake/send", {"jsonrpc": "2.0", "method": "odd/news", "params": {"x": 1}})
        assert (await probe.heard("odd/news"))[0] == {"x": 1}
        probe.backend.notify(
            "fake/send", {"jsonrpc": "2.0", "id": 7, "method": "workspace/configuration", "params": {"items": [{}]}}
        )
        await probe.heard("workspace/configuration")


async def test_server_gets_replies_under_its_own_id(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.starling() as probe:
        for id in (1, "1"):
            probe.backend.notify(
                "fake/send", {"jsonrpc": "2.0", "id": id, "method": "workspace/configuration", "params": {"items": []}}
            )
        await probe.heard("workspace/configuration", count=2)
        import json

        def replies():
            lines = [json.loads(line) for line in scene.log.read_text().splitlines()]
            return [line["id"] for line in lines if "result" in line and "method" not in line]

        await until(lambda: len(replies()) == 2)
        assert replies() == [1, "1"]


async def test_registered_completion_resolves_here(tmp_path: Path) -> None:
    registration = {"id": "r", "method": "textDocument/completion", "registerOptions": {"triggerCharacters": ["."]}}
    async with Scene(tmp_path).starling() as probe:
        probe.backend.notify(
            "fake/send",
            {
                "jsonrpc": "2.0",
                "id": 1,
                "method": "client/registerCapability",
                "params": {"registrations": [registration]},
            },
        )
        got = (await probe.heard("client/registerCapability"))[0]["registrations"][0]
        assert got["registerOptions"] == {"triggerCharacters": ["."], "resolveProvider": True}


async def test_ranker_off_leaves_lists_alone(tmp_path: Path) -> None:
    async with Scene(tmp_path, completion=ITEMS).starling() as probe:
        probe.open(URI, "x.\n", "python")
        assert await probe.complete(URI, 0, 2) == ITEMS


@pytest.mark.parametrize("result", [None, [], {"isIncomplete": True, "items": []}])
async def test_empty_lists_pass(tmp_path: Path, result: object) -> None:
    async with Scene(tmp_path, completion=result).starling(*SIGNALS) as probe:
        probe.open(URI, "x.\n", "python")
        await ranking(probe)
        assert await probe.complete(URI, 0, 2) == result


async def test_ranked_list_has_the_same_items_in_the_same_places(tmp_path: Path) -> None:
    scene = Scene(tmp_path, completion={"isIncomplete": True, "items": ITEMS}, resolve=True)
    async with scene.starling(*SIGNALS) as probe:
        probe.open(URI, "x.two()\nx.two()\nx.\n", "python")
        await ranking(probe)
        result = await probe.complete(URI, 2, 2)
        items = result["items"]
        assert [item["label"].removeprefix("★ ") for item in items] == ["one", "two", "three"]
        first = min(items, key=lambda item: item["sortText"])
        assert first["label"].endswith("two")
        resolved = await probe.backend.request("completionItem/resolve", first, 10)
        assert " % likely" in resolved["documentation"]
        assert scene.received("completionItem/resolve") == [ITEMS[1]]


async def test_partial_results_are_not_asked_for(tmp_path: Path) -> None:
    scene = Scene(tmp_path, completion=ITEMS)
    async with scene.starling(*SIGNALS) as probe:
        params = {
            "textDocument": {"uri": URI},
            "position": {"line": 0, "character": 0},
            "partialResultToken": 1,
            "z": 2,
        }
        await probe.backend.request("textDocument/completion", params, 10)
        del params["partialResultToken"]
        assert scene.received("textDocument/completion") == [params]


async def test_rank_request(tmp_path: Path) -> None:
    async with Scene(tmp_path).starling(*SIGNALS) as probe:
        probe.open(URI, "x.two()\nx.two()\nx.\n", "python")
        await ranking(probe)
        where = {"textDocument": {"uri": URI}, "position": {"line": 2, "character": 2}}
        got = await probe.backend.request("starling/rank", {**where, "items": ITEMS}, 10)
        assert got["order"][0] == 1
        assert sorted(got["order"]) == [0, 1, 2]
        with pytest.raises(BackendRefused, match="'items' must be an array"):
            await probe.backend.request("starling/rank", where, 10)


async def test_rank_request_for_a_language_without_a_server(tmp_path: Path) -> None:
    """What an editor does that keeps its own language service, and asks for the order alone."""
    Scene(tmp_path)  # a home of its own
    probe = Probe([sys.executable, "-m", "lsp_server", "--stdio", *SIGNALS])
    nothing = {language_id: [] for language in languages().values() for language_id in language.language_ids}
    await probe.start(tmp_path, options={"starling": {"servers": nothing}}, capabilities=dynamic())
    assert "completionProvider" not in probe.result["capabilities"]
    probe.open(URI, "x.two()\nx.two()\nx.\n", "python")
    await ranking(probe)
    where = {"textDocument": {"uri": URI}, "position": {"line": 2, "character": 2}}
    got = await probe.backend.request("starling/rank", {**where, "items": ITEMS}, 10)
    assert got["order"][0] == 1
    status = await probe.backend.request("starling/status", {}, 10)
    assert status["servers"] == []
    assert (status["ranker"]["last"]["items"], status["ranker"]["last"]["ranker"]) == (3, "signals")
    assert await probe.complete(URI, 2, 2) is None
    await probe.stop()


async def test_lists_of_a_language_that_is_off_stay_as_they_came(tmp_path: Path) -> None:
    scene = Scene(tmp_path, completion=ITEMS)
    async with scene.starling(*SIGNALS, "--off", "java, python") as probe:
        probe.open(URI, "x.two()\nx.two()\nx.\n", "python")
        await ranking(probe)
        assert await probe.complete(URI, 2, 2) == ITEMS
        probe.backend.notify("workspace/didChangeConfiguration", {"settings": {"starling": {"off": "java"}}})
        assert any("sortText" in item for item in await probe.complete(URI, 2, 2))


async def test_bad_setting_is_named_with_what_it_allows(tmp_path: Path) -> None:
    async with Scene(tmp_path).starling() as probe:
        settings = {"starling": {"deadline": "soon", "base": "/evil"}}
        probe.backend.notify("workspace/didChangeConfiguration", {"settings": settings})
        shown = [message["message"] for message in await probe.heard("window/showMessage", count=2)]
        assert "'deadline' is 'soon'; it must be a whole number" in shown[0]
        assert "'base'" in shown[1]
        assert "not from a workspace" in shown[1]


async def test_cancelling_a_hung_request(tmp_path: Path) -> None:
    async with Scene(tmp_path, hang=["textDocument/hover"], completion=ITEMS).starling() as probe:
        hover = asyncio.create_task(probe.backend.request_raw("textDocument/hover", {}, 0.2))
        with pytest.raises(BackendSilent):
            await hover
        assert await probe.complete(URI, 0, 0) == ITEMS
