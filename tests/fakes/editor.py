"""An editor without a process around it: a Session in this one, and what it was sent, as bytes and decoded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lsp_server.features.loading import LazyFeatures
from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.frames import frame
from lsp_server.ranking.ranker_client import Ranking
from lsp_server.session.session import Session
from lsp_server.settings import Settings
from tests.scenarios.harness import Scene

PATIENCE = 20.0
URI = "file:///project/shop.py"
Message = dict[str, Any]


class FakeEditor:
    """The client of a session: `say` and `ask` go in, `received` holds what came out."""

    def __init__(self, settings: Settings, ranker: FakeRanker | None = None) -> None:
        self.received: list[bytes] = []
        self.closed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.session = Session(self, settings, LazyFeatures, ranker=ranker)  # type: ignore[arg-type]
        self._news = asyncio.Event()
        self._count = 0

    # What a Session asks of its client

    def send(self, body: bytes) -> None:
        self.received.append(body)
        self._news.set()

    def close(self, code: int) -> None:
        if not self.closed.done():
            self.closed.set_result(code)

    def authenticated(self) -> None: ...

    # What a test asks of its editor

    @property
    def messages(self) -> list[Message]:
        return [json.loads(body) for body in self.received]

    def say(self, message: bytes | Message) -> None:
        self.session.from_client(message if isinstance(message, bytes) else wire.dumps(message))

    def notify(self, method: str, params: Any) -> None:
        self.say({"jsonrpc": "2.0", "method": method, "params": params})

    def request(self, method: str, params: Any, id: Any = None) -> Any:
        """Ask, and go on; returns the id."""
        self._count += 1
        id = self._count if id is None else id
        self.say({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
        return id

    async def ask(self, method: str, params: Any, id: Any = None) -> Message:
        """Ask, and wait for the whole reply."""
        return await self.reply(self.request(method, params, id))

    async def reply(self, id: Any) -> Message:
        return await self.until(lambda m: "method" not in m and same(m["id"], id))

    async def until(self, wanted: Callable[[Message], bool], *, count: int = 1) -> Message:
        """The first (or count-th) message like this, once it is there."""
        async with asyncio.timeout(PATIENCE):
            while len(found := [message for message in self.messages if wanted(message)]) < count:
                self._news.clear()
                await self._news.wait()
        return found[count - 1]

    async def heard(self, method: str, *, count: int = 1) -> Message:
        return await self.until(lambda m: m.get("method") == method, count=count)

    def replies(self, id: Any) -> list[Message]:
        return [message for message in self.messages if "method" not in message and same(message["id"], id)]

    def shown(self) -> list[str]:
        """What the user was told."""
        found = [m["params"]["message"] for m in self.messages if m.get("method") == "window/showMessage"]
        return [str(message) for message in found]

    async def initialize(self, options: Any = None, **more: Any) -> Message:
        params = {"processId": None, "rootUri": None, "capabilities": {}, **more}
        if options is not None:
            params["initializationOptions"] = options
        reply = await self.ask("initialize", params, "initialize")
        self.notify("initialized", {})
        await self.session._features._loaded()  # type: ignore[attr-defined]  (a request that waits for it is asked later)
        return reply

    def open(self, text: str, uri: str = URI, language_id: str = "python") -> None:
        item = {"uri": uri, "languageId": language_id, "version": 1, "text": text}
        self.notify("textDocument/didOpen", {"textDocument": item})

    def make_server_send(self, message: bytes | Message) -> None:
        """Have the fake server send a message: as bytes, exactly these."""
        if isinstance(message, bytes):
            self.notify("fake/bytes", {"text": frame(message).decode()})
        else:
            self.notify("fake/send", {"jsonrpc": "2.0", **message})

    async def flushed(self) -> None:
        """Until the wrapped server has seen all that was said so far."""
        await self.ask("fake/flush", None)

    async def gone(self) -> int:
        self.session.abort()
        return await asyncio.wait_for(self.closed, PATIENCE)


@dataclass
class FakeRanker:
    """Stands in for the ranker's client: ranks lists as told, and notes what it was told."""

    answer: Callable[[int], Ranking | None] | None = None
    told: list[tuple[str, Any]] = field(default_factory=list)
    forwarded: list[tuple[str, Any]] = field(default_factory=list)  # the editor's own notifications
    settings: Settings = field(default_factory=Settings)
    pid: int | None = None

    async def rank(self, params: Mapping[str, Any]) -> Ranking | None:
        items = wire.loads(wire.raw(params["result"]))
        items = items.get("items") if isinstance(items, dict) else items
        if not isinstance(items, list):
            return None  # as the real one answers what is no list
        count = len(items)
        return reversing(count) if self.answer is None else self.answer(count)

    async def ask(self, method: str, params: Mapping[str, Any], seconds: float) -> bytes | None:
        return None

    def tell(self, method: str, params: Any) -> None:
        self.told.append((method, params))

    def prepare(self, where: Any) -> None:
        self.told.append(("starling/prepare", where))

    def look(self, method: str, params: Any) -> None:
        self.told.append(("starling/look", method))

    def forward(self, body: bytes) -> None:
        message = wire.loads(body)
        self.forwarded.append((message["method"], message.get("params")))

    def forward_change(self, uri: Callable[[], str], body: bytes) -> None: ...
    def forget_changes(self, uri: str) -> None: ...
    def start(self) -> None: ...
    def configure(self, settings: Settings) -> None: ...
    async def stop(self) -> None: ...


def ranking(order: Sequence[int], stars: Sequence[int]) -> Ranking:
    """A ranking of this order; `stars` by item."""
    count = len(order)
    return Ranking(
        order=list(order), p=[0.5] * count, places=list(range(count)), uses_here=[1] * count,
        uses_workspace=[2] * count, stars=list(stars), ranker="signals", complete=True, milliseconds=1.0,
    )  # fmt: skip


def reversing(count: int) -> Ranking:
    """Last item first, and five stars for it."""
    return ranking(list(reversed(range(count))), [0] * (count - 1) + [5])


def same(one: Any, other: Any) -> bool:
    """Equal as JSON ids: 1 is not "1"."""
    return type(one) is type(other) and one == other


@asynccontextmanager
async def editing(
    folder: Path,
    settings: Settings | None = None,
    *,
    ranker: FakeRanker | None = None,
    client: dict[str, Any] | None = None,
    **spec: Any,
) -> AsyncIterator[FakeEditor]:
    """An initialized session in front of the fake server with this specification. client: the editor's capabilities."""
    command = tuple(Scene(folder, **spec).fake)
    chosen = settings or Settings(ranker="off" if ranker is None else "signals")
    editor = FakeEditor(replace(chosen, command=command), ranker)
    await editor.initialize(**({} if client is None else {"capabilities": client}))
    try:
        yield editor
    finally:
        await editor.gone()


def log_of(folder: Path) -> list[str]:
    """The messages that the fake server got, over all its lives, one JSON text each."""
    log = folder / "log.jsonl"
    return log.read_text(encoding="utf-8").split("\n")[:-1] if log.exists() else []  # the last one may be half written


def received_in(folder: Path, method: str) -> list[Any]:
    """Params of each message of this method that the fake server got."""
    return [m.get("params") for line in log_of(folder) if (m := json.loads(line)).get("method") == method]
