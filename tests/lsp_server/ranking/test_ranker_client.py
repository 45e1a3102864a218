"""How many lists are with the ranker at once, which of those that wait is kept, and when its deaths are forgiven."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.child import Child
from lsp_server.ranking import ranker_client
from lsp_server.ranking.ranker_client import RankerClient
from lsp_server.settings import Settings


class FakeChild:
    """A ranker process that answers when it is told to."""

    def __init__(self, **how: Any) -> None:
        self.on_body, self.on_exit, self.on_flow = how["on_body"], how["on_exit"], how["on_flow"]
        self.alive, self.pid = True, 1
        self.sent: list[Any] = []

    def send(self, body: bytes) -> None:
        self.sent.append(wire.loads(body))

    @property
    def lists(self) -> list[Any]:
        """Ids of the lists that it was asked to rank."""
        return [message["id"] for message in self.sent if message["method"] == "starling/rank"]

    def answer(self, id: int) -> None:
        ranking = {"order": [0], "p": [1.0], "places": [0], "uses_here": [0], "uses_workspace": [0], "stars": [0],
                   "ranker": "signals", "complete": True, "milliseconds": 1.0}  # fmt: skip
        self.on_body(wire.response(id, ranking))

    def kill(self) -> None:
        self.alive = False
        self.on_exit(-9)

    async def stop(self, grace: float = 0.0) -> None:
        self.alive = False


class Scene:
    def __init__(self) -> None:
        self.children: list[FakeChild] = []
        self.client = RankerClient(Settings(ranker="signals"), lambda: [b'{"method":"hello"}'])

    async def child(self, number: int = 0) -> FakeChild:
        async with asyncio.timeout(10):
            while len(self.children) <= number or self.client.pid is None:
                await asyncio.sleep(0)
        return self.children[number]

    def rank(self, deadline: float = 10_000) -> asyncio.Task[Any]:
        return asyncio.ensure_future(self.client.rank({"deadline": deadline}))  # type: ignore[arg-type]


@pytest.fixture
async def scene(monkeypatch: pytest.MonkeyPatch) -> Any:
    made = Scene()

    async def start(command: Any, **how: Any) -> FakeChild:
        made.children.append(FakeChild(**how))
        return made.children[-1]

    monkeypatch.setattr(Child, "start", start)
    monkeypatch.setattr(ranker_client, "BACK_OFF", (0.0, 0.0, 0.0))
    monkeypatch.setattr(ranker_client, "LISTS", 2)
    made.client.start()
    yield made
    await made.client.stop()


async def test_of_the_lists_that_wait_the_newest_is_kept(scene: Scene) -> None:
    child = await scene.child()
    asked = [scene.rank() for _ in range(6)]
    assert child.lists == [1, 2]
    for superseded in asked[2:5]:
        assert await asyncio.wait_for(superseded, 10) is None
    child.answer(1)
    assert (await asyncio.wait_for(asked[0], 10)).order == [0]
    assert child.lists == [1, 2, 6]
    child.answer(6)
    assert (await asyncio.wait_for(asked[5], 10)).order == [0]


async def test_a_list_whose_deadline_has_passed_is_not_sent(scene: Scene) -> None:
    child = await scene.child()
    scene.rank(), scene.rank()
    assert await asyncio.wait_for(scene.rank(deadline=0), 10) is None
    child.answer(1)
    assert child.lists == [1, 2]


async def test_nothing_waits_for_a_ranker_that_is_stuck(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    child = await scene.child()
    first = scene.rank()
    await asyncio.sleep(0)
    monkeypatch.setattr(ranker_client, "STUCK", -1.0)
    assert await asyncio.wait_for(scene.rank(), 10) is None
    child.answer(1)
    assert (await asyncio.wait_for(first, 10)).order == [0]
    again = scene.rank()
    child.answer(child.lists[-1])
    assert (await asyncio.wait_for(again, 10)).order == [0]


async def test_a_ranker_that_does_not_read_gets_no_list_and_then_the_newest(scene: Scene) -> None:
    child = await scene.child()
    child.on_flow(True)
    old, new = scene.rank(), scene.rank()
    assert child.lists == []
    assert await asyncio.wait_for(old, 10) is None
    child.on_flow(False)
    assert child.lists == [2]
    child.answer(2)
    assert (await asyncio.wait_for(new, 10)).order == [0]


async def test_one_that_answers_no_ping_is_ended_and_replaced(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    child = await scene.child()
    monkeypatch.setattr(ranker_client, "PING_EVERY", 0.001)
    child.on_body(wire.response(0, None))  # it has started
    scene.client._ping()
    second = await scene.child(1)
    assert not child.alive
    assert [message["method"] for message in second.sent[:2]] == ["hello", "starling/configure"]


async def test_deaths_are_forgiven_after_health(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranker_client, "HEALTHY", -1.0)
    for number in range(8):
        (await scene.child(number)).kill()
    assert (await scene.child(8)).alive


async def test_after_many_deaths_it_is_given_up_and_lists_are_answered(scene: Scene) -> None:
    for number in range(4):
        waiting = scene.rank() if number else None
        (await scene.child(number)).kill()
        assert waiting is None or await asyncio.wait_for(waiting, 10) is None
    await asyncio.sleep(0.05)
    assert len(scene.children) == 4
    assert await scene.rank() is None


PLACE = {"line": 3, "character": 7}
START = {"line": 1, "character": 0}


@pytest.mark.parametrize(
    ("method", "where"),
    [
        ("hover", {"position": PLACE}),
        ("documentHighlight", {"position": PLACE}),
        ("codeAction", {"range": {"start": START, "end": PLACE}, "context": {"diagnostics": []}}),
        ("selectionRange", {"positions": [PLACE, START]}),
    ],
)
async def test_requests_about_a_place_tell_it(scene: Scene, method: str, where: dict[str, Any]) -> None:
    child = await scene.child()
    scene.client.look(
        f"textDocument/{method}", msgspec.Raw(wire.dumps({"textDocument": {"uri": "file:///a"}, **where}))
    )
    (told,) = (message["params"] for message in child.sent if message["method"] == "starling/look")
    assert told == {"textDocument": {"uri": "file:///a"}, "position": PLACE}


async def test_what_tells_no_place_tells_nothing(scene: Scene) -> None:
    child = await scene.child()
    for method, params in (
        ("textDocument/hover", b'{"textDocument":1}'),
        ("textDocument/hover", b"[]"),
        ("textDocument/selectionRange", b'{"textDocument":{"uri":"file:///a"},"positions":[]}'),
        ("textDocument/definition", wire.dumps({"textDocument": {"uri": "file:///a"}, "position": PLACE})),
    ):
        scene.client.look(method, msgspec.Raw(params))
    asked = scene.rank()  # while a list is with it, it has enough to do
    scene.client.look("textDocument/hover", msgspec.Raw(wire.dumps({"textDocument": {"uri": "a"}, "position": PLACE})))
    assert "starling/look" not in [message["method"] for message in child.sent]
    child.answer(child.lists[-1])
    await asked
