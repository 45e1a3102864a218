"""The server process's end of the ranker process: tells it what the editor does, asks it to rank.

Never waits for it longer than asked, and never fails because of it: no ranking is an answer (None). Bounded where it is
slow: four lists at a time are with it, of those that wait the newest is kept, and one that does not answer is replaced.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from corpus.interpreter import module_command
from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.child import Child
from lsp_server.jsonrpc.outbox import Outbox
from lsp_server.ranking.cursor_requests import place_in
from lsp_server.settings import Settings

log = logging.getLogger(__name__)

BACK_OFF = (0.2, 1.0, 5.0, 20.0, 60.0)  # seconds before each restart; after the last one we give up
HEALTHY = 3600.0  # seconds; of a ranker that lived so long the deaths before are forgiven
GRACE_MS = 15  # beyond the deadline, for the reply's own way back
LISTS = 4  # with the ranker at once: of words typed fast each list is ranked, and what waits is bounded
STUCK = 1.0  # seconds without an answer to a list: no other list waits for it meanwhile
PING_EVERY, PINGS = 5.0, 5  # seconds; so many in a row without an answer, and it is ended
FIRST_PINGS = 24  # for its first answer: it loads libraries, perhaps from a slow disk
UNREAD = 32_000_000  # bytes that it has not read when it is ended


class Ranking(msgspec.Struct, frozen=True, kw_only=True):
    """What the ranker says of a list of n items; every list but `order` is by the item's place in the reply."""

    order: list[int]  # item indices, best first
    p: list[float]  # each item's probability, n
    places: list[int]  # the wrapped server's own order, 0-based, n
    uses_here: list[int]  # with this receiver, in this file
    uses_workspace: list[int]  # with this receiver, in the other files
    stars: list[int]  # 0 for no star, else 3 to 5, n
    ranker: str  # "signals" or "model"
    complete: bool  # False when the deadline cut the model short
    milliseconds: float
    ratings: list[int] = []  # 0 to 5 stars for every item, n, or empty
    unequal: list[int] = []  # items that an editor should not take for the typed word itself
    written: str = ""  # where other projects write such names, in words
    projects: list[int] = []  # in how many of them each item's name stands there, n; empty where none are known

    def fits(self, count: int) -> bool:
        """Whether it is a ranking of a list of so many items."""
        whole = sorted(self.order) == list(range(count)) and set(self.unequal) <= set(self.order)
        by_item = (self.p, self.places, self.uses_here, self.uses_workspace, self.stars, self.ratings or self.stars)
        return whole and all(len(each) == count for each in by_item) and len(self.projects) in (0, count)


class _Reply(msgspec.Struct):
    id: int
    result: msgspec.Raw = msgspec.Raw(b"null")
    early: bool = False  # a better one may follow


_reply = msgspec.json.Decoder(_Reply)
_ranking = msgspec.json.Decoder(Ranking)


@dataclass(eq=False, kw_only=True)
class _Asked:
    """A request to the ranker: the last reply, None where there is none."""

    id: int
    body: bytes
    until: float
    early: bytes | None = None
    reply: asyncio.Future[bytes | None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def settle(self, reply: bytes | None) -> None:
        if not self.reply.done():
            self.reply.set_result(reply)


class RankerClient:
    """The ranker process, restarted when it dies. `snapshot` yields the messages that bring a new one up to date;
    `whole` gives a document's whole text as a change (see Outbox)."""

    def __init__(
        self,
        settings: Settings,
        snapshot: Callable[[], Sequence[bytes]],
        whole: Callable[[str], bytes | None] = lambda uri: None,
    ) -> None:
        self.settings = settings
        self._snapshot, self._whole = snapshot, whole
        self._child: Child | None = None
        self._outbox = self._new_outbox()
        self._asked: dict[int, _Asked] = {}  # waited for
        self._lists: dict[int, float] = {}  # with the ranker, answered in time or not: since when
        self._next: _Asked | None = None  # the newest list that waits for its turn
        self._count = 0
        self._deaths = 0
        self._since = 0.0
        self._unanswered_pings = 0
        self._heard = False  # this process has answered something
        self._closing = False
        self._starting: asyncio.Task[None] | None = None
        self._pinging: asyncio.TimerHandle | None = None

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
            self._outbox.send(body)

    def forward_change(self, uri: Callable[[], str], body: bytes) -> None:
        """Pass a document's change on; see Outbox."""
        if self._child is not None:
            self._outbox.change(uri, body)

    def forget_changes(self, uri: str) -> None:
        self._outbox.forget(uri)

    def tell(self, method: str, params: Any) -> None:
        self.forward(wire.notification(method, params))

    def prepare(self, where: dict[str, Any]) -> None:
        """A list will come: let it read the text meanwhile, unless it has enough to do."""
        if not self._lists and not self._outbox.held:
            self.tell("starling/prepare", where)

    def look(self, method: str, params: msgspec.Raw) -> None:
        """The editor asks a request: where it is about a place, the ranker hears of it, unless it has enough to do."""
        if self._child is None or self._lists or self._outbox.held:
            return
        place = place_in(method, params)
        if place is not None:
            self.tell("starling/look", place)

    def rank(self, params: dict[str, Any]) -> Awaitable[Ranking | None]:
        """Rank a list; None where there is no ranking in time (deadline and a little). Asked at once, not when awaited:
        the caller has other work to do meanwhile."""
        asked = self.ask("starling/rank", params, (params["deadline"] + GRACE_MS) / 1000, is_list=True)

        async def ranking() -> Ranking | None:
            reply = await asked
            return None if reply is None or reply == b"null" else _ranking.decode(reply)

        return ranking()

    def ask(
        self, method: str, params: dict[str, Any], seconds: float, *, is_list: bool = False
    ) -> Awaitable[bytes | None]:
        """A request to the ranker, sent at once: its reply, or after `seconds` its early one; None when there is neither."""
        now = time.monotonic()
        if self._child is None or not self._child.alive or (is_list and self._stuck(now)):
            return _nothing()
        self._count += 1
        body = wire.request(self._count, method, {**params, "asked": now} if is_list else params)
        asked = _Asked(id=self._count, body=body, until=now + seconds)
        if not is_list:
            self._asked[asked.id] = asked
            self._outbox.send(body)
        elif len(self._lists) < LISTS and not self._outbox.held:
            self._send_list(asked)
        else:
            if self._next is not None:
                self._next.settle(None)
            self._next = asked
        return self._answer(asked, seconds)

    def _stuck(self, now: float) -> bool:
        return any(now - since > STUCK for since in self._lists.values())

    def _send_list(self, asked: _Asked) -> None:
        self._asked[asked.id] = asked
        self._lists[asked.id] = time.monotonic()
        self._outbox.send(asked.body)

    def _send_next(self) -> None:
        """The ranker has room for a list: the one that waits goes, unless nobody waits for it any more."""
        asked, self._next = self._next, None
        if asked is not None and not asked.reply.done() and time.monotonic() < asked.until:
            self._send_list(asked)
        elif asked is not None:
            asked.settle(None)

    async def _answer(self, asked: _Asked, seconds: float) -> bytes | None:
        try:
            return await asyncio.wait_for(asked.reply, seconds)
        except TimeoutError:
            log.debug("no last word on request %d within %.0f ms", asked.id, seconds * 1000)
            return asked.early
        finally:
            self._asked.pop(asked.id, None)
            if self._next is asked:
                self._next = None

    async def stop(self) -> None:
        self._closing = True
        self._stop_pinging()
        if self._starting is not None:
            self._starting.cancel()
        if self._child is not None:
            await self._child.stop(grace=0.5)

    async def _start(self, delay: float) -> None:
        await asyncio.sleep(delay)
        settings = self.settings
        env = {**os.environ, "TOKENIZERS_PARALLELISM": "false", "TRANSFORMERS_VERBOSITY": "error"}
        env.setdefault(
            "OPENBLAS_NUM_THREADS", "1"
        )  # numpy's products are small here, and its threads would wait in a loop
        words: list[str] = []
        for flag, value in (
            ("--base", settings.base),
            ("--adapter", settings.adapter),
            ("--remote", settings.remote),
            ("--remote-model", settings.remote_model),
            ("--remote-token-file", settings.remote_token_file),
            ("--remote-off", settings.remote_off),
        ):
            if value:
                words.append(f"{flag}={value}")
        if settings.log_accepted:
            words.append("--log-accepted")
        outbox = self._new_outbox()
        try:
            child = await Child.start(
                module_command("lsp_server.ranking.ranker_process", *words),
                name="ranker",
                on_body=self._received,
                on_exit=self._exited,
                on_flow=lambda held: self._flow(outbox, held),
                guarded=False,  # it starts no process
                stderr_level=logging.INFO,
                env=env,
            )
        except OSError as error:
            log.error("the ranker process can't be started (%s): items keep the server's order", error)
            return
        self._child, self._outbox = child, outbox
        self._since = time.monotonic()
        for body in self._snapshot():
            self.forward(body)
        self.tell("starling/configure", {"ranker": settings.ranker, "deadline": settings.deadline})
        self._unanswered_pings, self._heard = 0, False
        self._pinging = asyncio.get_running_loop().call_later(PING_EVERY, self._ping)

    def _new_outbox(self) -> Outbox:
        return Outbox(self._write, whole=self._whole, on_full=lambda: self._replace("does not read"), limit=UNREAD)

    def _write(self, body: bytes) -> None:
        if self._child is not None:
            self._child.send(body)

    def _flow(self, outbox: Outbox, held: bool) -> None:
        outbox.flow(held)
        if outbox is self._outbox and not outbox.held and len(self._lists) < LISTS:
            self._send_next()

    def _ping(self) -> None:
        allowed = PINGS if self._heard else FIRST_PINGS
        if self._unanswered_pings >= allowed:
            self._replace(f"has not answered for {PING_EVERY * allowed:g} s")
            return
        self._unanswered_pings += 1
        self._pinging = asyncio.get_running_loop().call_later(PING_EVERY, self._ping)
        if not self._outbox.held:
            self._outbox.send(wire.request(0, "starling/ping", None))

    def _stop_pinging(self) -> None:
        if self._pinging is not None:
            self._pinging.cancel()

    def _replace(self, why: str) -> None:
        """End a ranker that hangs; another is started when it has ended."""
        log.warning("the ranker process %s: it is ended", why)
        if self._child is not None:
            self._child.kill()

    def _received(self, body: bytes | wire.WireError) -> None:
        if isinstance(body, wire.WireError):
            log.warning("the ranker process sent bytes that are no message: %s", body)
            return
        self._unanswered_pings, self._heard = 0, True
        reply = _reply.decode(body)
        asked = self._asked.get(reply.id)
        if reply.early:
            if asked is not None:
                asked.early = bytes(reply.result)
            return
        if asked is not None:
            asked.settle(bytes(reply.result))
        if self._lists.pop(reply.id, None) is not None and not self._outbox.held:
            self._send_next()

    def _exited(self, code: int) -> None:
        self._stop_pinging()
        for asked in (*self._asked.values(), *filter(None, (self._next,))):
            asked.settle(asked.early)
        self._lists.clear()
        self._next = None
        self._child = None
        if self._closing:
            return
        if time.monotonic() - self._since > HEALTHY:
            self._deaths = 0
        if self._deaths >= len(BACK_OFF):
            log.error("the ranker process ended %d times; items keep the server's order", self._deaths + 1)
            return
        delay = BACK_OFF[self._deaths]
        self._deaths += 1
        log.warning("the ranker process ended with exit code %d; again in %.1f s", code, delay)
        self._starting = asyncio.get_running_loop().create_task(self._start(delay))


async def _nothing() -> None:
    """No ranker, no answer."""
