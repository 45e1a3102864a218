"""The editor's requests that are not answered yet: each gets exactly one reply."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Id
from lsp_server.protocol.editor_link import EditorLink
from lsp_server.routing.table import OTHER, ROUTES
from lsp_server.servers.asks import Ask
from lsp_server.servers.server import WrappedServer

log = logging.getLogger(__name__)

CANCEL_GRACE = 0.5  # seconds a wrapped server gets to answer a cancelled request itself


@dataclass(kw_only=True)
class Pending:
    """A request, and the wrapped servers that it was put to."""

    id: Id
    method: str
    asked: dict[WrappedServer, Ask] = field(default_factory=dict[WrappedServer, Ask])
    waiting: int = 0  # servers that have not answered
    task: asyncio.Task[None] | None = None
    cancelled: bool = False


class Requests:
    """`on_stopped` hears the method of a request whose work was stopped because it had been answered otherwise."""

    def __init__(self, editor: EditorLink, on_stopped: Callable[[str], None]) -> None:
        self._editor = editor
        self._on_stopped = on_stopped
        self._pending: dict[tuple[type, Id], Pending] = {}
        self.begun = 0  # tasks that `run` has made: each starts at the loop's next turn
        self._background: set[asyncio.Task[object]] = set()

    def open(self, id: Id, method: str) -> bool:
        """A request has come. False for an id that is in use."""
        if wire.key_of(id) in self._pending:
            return False
        self._pending[wire.key_of(id)] = Pending(id=id, method=method)
        return True

    def reply(self, id: Id, body: bytes) -> None:
        """Answer a request, unless it has been answered."""
        pending = self._pending.pop(wire.key_of(id), None)
        if pending is None:
            return
        self._editor.send(body)
        if pending.task is not None and pending.task is not asyncio.current_task():
            pending.task.cancel()
            self._on_stopped(pending.method)

    def run(self, id: Id, answer: Awaitable[bytes | None]) -> None:
        """Have a request answered with what this comes to (None: it is answered otherwise); a defect in it is an error reply."""

        async def work() -> None:
            try:
                body = await answer
            except Exception as error:  # the editor must not be left without a reply
                log.exception("a request could not be answered")
                body = wire.failure(id, wire.INTERNAL_ERROR, repr(error))
            if body is not None:
                self.reply(id, body)

        self._pending[wire.key_of(id)].task = asyncio.get_running_loop().create_task(work())
        self.begun += 1

    def background(self, work: Coroutine[Any, Any, object]) -> None:
        """Something that no request waits for; a defect in it is logged."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background_done)

    def _background_done(self, task: asyncio.Task[object]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a feature failed", exc_info=error)

    def forward(self, id: Id, server: WrappedServer, body: bytes) -> None:
        """To one server, whose reply goes on as the bytes it comes as."""
        self._put(id, server, body, lambda reply: self.reply(id, reply))

    def ask(self, id: Id, server: WrappedServer, body: bytes) -> asyncio.Future[bytes]:
        """Put a request to a server at once, under the editor's own id: its whole reply, when it comes."""
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._put(id, server, body, lambda reply: None if future.done() else future.set_result(reply))
        return future

    def _put(self, id: Id, server: WrappedServer, body: bytes, on_reply: Callable[[bytes], None]) -> None:
        pending = self._pending[wire.key_of(id)]
        pending.waiting += 1

        def replied(reply: bytes) -> None:
            pending.waiting -= 1
            on_reply(reply)

        ask = pending.asked[server] = Ask(
            id=id, body=body, on_reply=replied, reads=ROUTES.get(pending.method, OTHER).reads
        )
        server.ask(ask)

    def give_up_on(self, id: Id, server: WrappedServer) -> None:
        """A server took too long beside others: its answer is not waited for any more."""
        pending = self._pending.get(wire.key_of(id))
        ask = None if pending is None else pending.asked.get(server)
        if pending is not None and ask is not None and server.forget(ask):
            pending.waiting -= 1

    def cancel(self, id: Id, body: bytes) -> None:
        """The editor cancels a request ($/cancelRequest, whose whole message `body` is)."""
        pending = self._pending.get(wire.key_of(id))
        if pending is None or pending.cancelled:
            return
        pending.cancelled = True
        for server, ask in pending.asked.items():
            server.cancel(ask, body)
        cancelled = wire.failure(pending.id, wire.REQUEST_CANCELLED, "cancelled")
        if pending.asked and not pending.waiting:  # a feature is still at work, for nobody
            self.reply(id, cancelled)
        else:
            asyncio.get_running_loop().call_later(CANCEL_GRACE, self._overdue, pending, cancelled)

    def _overdue(self, pending: Pending, cancelled: bytes) -> None:
        if self._pending.get(wire.key_of(pending.id)) is pending:
            self.reply(pending.id, cancelled)

    async def drop(self) -> None:
        """The session ends: what is not answered yet is answered so, and what is at work on an answer stops."""
        open_ones = list(self._pending.values())
        for pending in open_ones:
            ended = wire.failure(pending.id, wire.REQUEST_CANCELLED, "the session has ended")
            self.reply(pending.id, wire.response(pending.id, None) if pending.method == "shutdown" else ended)
        tasks = [pending.task for pending in open_ones if pending.task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)
