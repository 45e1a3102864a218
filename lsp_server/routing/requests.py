"""The editor's requests that are not answered yet. Each request gets exactly one response."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Id
from lsp_server.protocol.editor_link import EditorLink
from lsp_server.routing.table import OTHER, ROUTES
from lsp_server.servers.forwarded_requests import ForwardedRequest
from lsp_server.servers.server import WrappedServer

log = logging.getLogger(__name__)

APART = "starling-apart:"  # prefix of the ids of requests that may be answered after the editor's own request
CANCEL_GRACE = 0.5  # seconds that a wrapped server gets to answer a cancelled request itself


@dataclass(kw_only=True)
class Pending:
    """A request, and the wrapped servers that it was sent to."""

    id: Id
    method: str
    asked: list[tuple[WrappedServer, ForwardedRequest]] = field(
        default_factory=list[tuple[WrappedServer, ForwardedRequest]]
    )
    waiting: int = 0  # number of servers that have not answered
    task: asyncio.Task[None] | None = None
    cancelled: bool = False


class Requests:
    """`on_stopped` gets the method of a request if its task is stopped because it was answered another way."""

    def __init__(self, editor: EditorLink, on_stopped: Callable[[str], None]) -> None:
        self._editor = editor
        self._on_stopped = on_stopped
        self._pending: dict[tuple[type, Id], Pending] = {}
        self._asks: dict[
            asyncio.Future[bytes], tuple[Pending, WrappedServer, ForwardedRequest]
        ] = {}  # requests that a server has not answered
        self._count = itertools.count(1)
        self.begun = 0  # number of tasks that `run` has created; each starts in the loop's next iteration
        self._background: set[asyncio.Task[object]] = set()

    def open(self, id: Id, method: str) -> bool:
        """Add a request of the editor. Returns False if its id is in use."""
        if wire.key_of(id) in self._pending:
            return False
        self._pending[wire.key_of(id)] = Pending(id=id, method=method)
        return True

    def reply(self, id: Id, body: bytes) -> None:
        """Answer a request, unless it was already answered."""
        pending = self._pending.pop(wire.key_of(id), None)
        if pending is None:
            return
        self._editor.send(body)
        if pending.task is not None and pending.task is not asyncio.current_task():
            pending.task.cancel()
            self._on_stopped(pending.method)

    def run(self, id: Id, answer: Awaitable[bytes | None]) -> None:
        """Run `answer` in a task, and answer a request with its result. None: the request is answered another way.

        An exception in `answer` becomes an error response.
        """

        async def work() -> None:
            try:
                body = await answer
            except wire.WireError as error:
                log.warning("%s could not be answered: a message is malformed: %s", method, error)
                body = wire.failure(id, wire.INVALID_PARAMS, str(error))
            except Exception as error:  # the editor must not be left without a reply
                log.exception("a defect in Starling: %s could not be answered", method)
                body = wire.failure(id, wire.INTERNAL_ERROR, repr(error))
            if body is not None:
                self.reply(id, body)

        method = self._pending[wire.key_of(id)].method
        self._pending[wire.key_of(id)].task = asyncio.get_running_loop().create_task(work())
        self.begun += 1

    def background(self, work: Coroutine[Any, Any, object]) -> None:
        """Run work that no request waits for. A failure is logged."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background_done)

    def _background_done(self, task: asyncio.Task[object]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a feature failed", exc_info=error)

    def forward(self, id: Id, server: WrappedServer, body: bytes) -> None:
        """Send a request to one server, and forward its response unchanged."""
        self._put(id, server, body, lambda reply: self.reply(id, reply), id)

    def ask(self, id: Id, server: WrappedServer, body: bytes, *, apart: bool = False) -> asyncio.Future[bytes]:
        """Send a request to a server now. Returns a future of the whole response.

        apart: use an id of ours instead of the editor's, so that the answer may come after the editor has its response.
        """
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        own = f"{APART}{next(self._count)}" if apart else id
        sent = wire.with_id(body, own) if apart else body
        ask = self._put(id, server, sent, lambda reply: None if future.done() else future.set_result(reply), own)
        if not future.done():
            self._asks[future] = self._pending[wire.key_of(id)], server, ask
            future.add_done_callback(lambda done: self._asks.pop(done, None))
        return future

    def _put(
        self, id: Id, server: WrappedServer, body: bytes, on_reply: Callable[[bytes], None], own: Id
    ) -> ForwardedRequest:
        pending = self._pending[wire.key_of(id)]
        pending.waiting += 1

        def replied(reply: bytes) -> None:
            pending.waiting -= 1
            on_reply(reply)

        ask = ForwardedRequest(id=own, body=body, on_reply=replied, reads=ROUTES.get(pending.method, OTHER).reads)
        if pending.cancelled:  # the editor cancelled it before it could be sent
            replied(wire.failure(own, wire.REQUEST_CANCELLED, "cancelled"))
            return ask
        pending.asked.append((server, ask))
        server.forward(ask)
        return ask

    def is_cancelled(self, id: Id) -> bool:
        """Whether the editor has cancelled a request, or already has the response."""
        pending = self._pending.get(wire.key_of(id))
        return pending is None or pending.cancelled

    def give_up(self, server: WrappedServer, answer: asyncio.Future[bytes]) -> None:
        """Stop waiting for an answer, and tell the server."""
        pending, _, ask = self._asks.pop(answer, (None, None, None))
        if pending is not None and ask is not None and server.forget(ask):
            pending.waiting -= 1
        answer.cancel()

    def cancel(self, id: Id, body: bytes) -> None:
        """Handle the editor's $/cancelRequest. `body`: the whole message."""
        pending = self._pending.get(wire.key_of(id))
        if pending is None or pending.cancelled:
            return
        pending.cancelled = True
        for server, ask in pending.asked:
            server.cancel(ask, body if ask.id == pending.id else wire.notification("$/cancelRequest", {"id": ask.id}))
        cancelled = wire.failure(pending.id, wire.REQUEST_CANCELLED, "cancelled")
        if not pending.waiting:  # no server that was asked may still answer
            self.reply(id, cancelled)
        else:
            asyncio.get_running_loop().call_later(CANCEL_GRACE, self._overdue, pending, cancelled)

    def _overdue(self, pending: Pending, cancelled: bytes) -> None:
        if self._pending.get(wire.key_of(pending.id)) is pending:
            self.reply(pending.id, cancelled)

    async def drop(self) -> None:
        """Answer all open requests and stop their tasks, because the session ends."""
        open_ones = list(self._pending.values())
        for pending in open_ones:
            ended = wire.failure(pending.id, wire.REQUEST_CANCELLED, "the session has ended")
            self.reply(pending.id, wire.response(pending.id, None) if pending.method == "shutdown" else ended)
        tasks = [pending.task for pending in open_ones if pending.task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)
