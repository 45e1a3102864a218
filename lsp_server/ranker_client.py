"""The server process's end of the ranker process: tells it what the editor does, asks it to rank.

Never waits for it longer than asked, and never fails because of it: no ranking is an answer (None).
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from lsp_server import wire
from lsp_server.child import Child
from lsp_server.settings import Settings

log = logging.getLogger(__name__)

RESTARTS = 5
BACK_OFF = (0.2, 1.0, 5.0, 20.0, 60.0)
GRACE_MS = 15  # beyond the deadline, for the reply's own way back


class Ranking(msgspec.Struct, frozen=True, kw_only=True):
    """What the ranker says of a list of n items; every list but `order` is by the item's place in the reply."""

    order: list[int]  # item indices, best first
    p: list[float]  # each item's probability, n
    places: list[int]  # the wrapped server's own order, 0-based, n
    uses_here: list[int]  # with this receiver, in this file
    uses_workspace: list[int]  # with this receiver, in the other files
    stars: list[int]  # 0 for no star, else 1 to 5, n
    ranker: str  # "signals" or "model"
    complete: bool  # False when the deadline cut the model short
    milliseconds: float
    unequal: list[int] = []  # items that an editor should not take for the typed word itself


class _Reply(msgspec.Struct):
    id: int
    result: msgspec.Raw = msgspec.Raw(b"null")
    early: bool = False  # a better one may follow


_reply = msgspec.json.Decoder(_Reply)
_ranking = msgspec.json.Decoder(Ranking)


class RankerClient:
    """The ranker process, restarted when it dies. `snapshot` yields the messages that bring a new one up to date."""

    def __init__(self, settings: Settings, snapshot: Callable[[], Sequence[bytes]]) -> None:
        self.settings = settings
        self._snapshot = snapshot
        self._child: Child | None = None
        self._pending: dict[int, asyncio.Future[bytes | None]] = {}
        self._early: dict[int, bytes] = {}
        self._count = 0
        self._deaths = 0
        self._closing = False
        self._starting: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child is not None and self._child.alive else None

    def start(self) -> None:
        """Begin starting it; returns at once. No effect where ranking is off or it runs already."""
        if self.settings.ranker != "off" and not self._closing and self._starting is None:
            self._starting = asyncio.get_running_loop().create_task(self._start(0.0))

    def configure(self, settings: Settings) -> None:
        self.settings = settings
        if self._child is None:
            self.start()
        else:
            self.tell("starling/configure", {"ranker": settings.ranker, "deadline": settings.deadline})

    def forward(self, body: bytes) -> None:
        """Pass a document notification on as it came."""
        if self._child is not None:
            self._child.send(body)

    def tell(self, method: str, params: Any) -> None:
        self.forward(wire.notification(method, params))

    def rank(self, params: dict[str, Any]) -> Awaitable[Ranking | None]:
        """Rank a list; None where there is no ranking in time (deadline and a little). Asked at once, not when awaited:
        the caller has other work to do meanwhile."""
        asked = self.ask("starling/rank", params, (params["deadline"] + GRACE_MS) / 1000)

        async def ranking() -> Ranking | None:
            reply = await asked
            return None if reply is None or reply == b"null" else _ranking.decode(reply)

        return ranking()

    def ask(self, method: str, params: dict[str, Any], seconds: float) -> Awaitable[bytes | None]:
        """A request to the ranker, sent at once: its reply, or after `seconds` its early one; None when there is neither."""
        if self._child is None or not self._child.alive:
            return _nothing()
        self._count += 1
        id = self._count
        future: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._pending[id] = future
        self._child.send(wire.request(id, method, params))
        return self._answer(id, method, future, seconds)

    async def _answer(self, id: int, method: str, future: asyncio.Future[bytes | None], seconds: float) -> bytes | None:
        try:
            return await asyncio.wait_for(future, seconds)
        except TimeoutError:
            log.info("no last word on %s within %.0f ms", method, seconds * 1000)
            return self._early.get(id)
        finally:
            self._pending.pop(id, None)
            self._early.pop(id, None)

    async def stop(self) -> None:
        self._closing = True
        if self._starting is not None:
            self._starting.cancel()
        if self._child is not None:
            await self._child.stop(grace=0.5)

    def kill(self) -> None:
        self._closing = True
        if self._child is not None:
            self._child.kill()

    async def _start(self, delay: float) -> None:
        await asyncio.sleep(delay)
        settings = self.settings
        env = {**os.environ, "TOKENIZERS_PARALLELISM": "false", "TRANSFORMERS_VERBOSITY": "error"}
        command = [sys.executable, "-P", "-m", "lsp_server.ranker_process"]
        for flag, value in (("--base", settings.base), ("--adapter", settings.adapter)):
            if value:
                command += [flag, value]
        if settings.log_accepted:
            command.append("--log-accepted")
        try:
            self._child = await Child.start(command, on_body=self._received, on_exit=self._exited, env=env, cwd=None)
        except OSError as error:
            log.error("the ranker process can't be started (%s): items keep the server's order", error)
            return
        self._child.name = "ranker"
        for body in self._snapshot():
            self._child.send(body)
        self.tell("starling/configure", {"ranker": settings.ranker, "deadline": settings.deadline})

    def _received(self, body: bytes) -> None:
        reply = _reply.decode(body)
        future = self._pending.get(reply.id)
        if future is None or future.done():
            return
        if reply.early:
            self._early[reply.id] = bytes(reply.result)
        else:
            future.set_result(bytes(reply.result))

    def _exited(self, code: int) -> None:
        for future in self._pending.values():
            if not future.done():
                future.set_result(None)
        self._child = None
        if self._closing:
            return
        if self._deaths >= RESTARTS:
            log.error("the ranker process ended %d times; items keep the server's order", self._deaths)
            return
        delay = BACK_OFF[min(self._deaths, len(BACK_OFF) - 1)]
        self._deaths += 1
        log.warning("the ranker process ended with exit code %d; again in %.1f s", code, delay)
        self._starting = asyncio.get_running_loop().create_task(self._start(delay))


async def _nothing() -> None:
    """No ranker, no answer."""
