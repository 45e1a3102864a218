"""One editor's session: its documents, its wrapped server, its ranker, and the messages between them.

What Starling does not own passes through as the bytes it came as. No feature is written here: `features/` has
one file each, and the table OWNED says which method goes where.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

import msgspec

from lsp_server import capabilities, wire
from lsp_server.backend import Backend
from lsp_server.documents import Documents
from lsp_server.lifecycle import Lifecycle
from lsp_server.ranker_client import RankerClient
from lsp_server.routing import SAFE_TO_RETRY, ServerNames
from lsp_server.settings import Settings, updated
from lsp_server.wire import Envelope, Id, Json

log = logging.getLogger(__name__)

CANCEL_GRACE = 0.5  # seconds a wrapped server gets to answer a cancelled request itself


class Client(Protocol):
    """The editor's end, whatever it is connected by."""

    def send(self, body: bytes) -> None: ...
    def close(self, code: int) -> None: ...


class Phase(Enum):
    NEW = "before initialize"
    STARTING = "during initialize"
    RUNNING = "running"
    SHUT_DOWN = "after shutdown"


@dataclass(kw_only=True)
class Pending:
    """A client's request that is not answered yet."""

    method: str
    body: bytes
    reply: asyncio.Future[bytes] | None = None  # set where a feature waits for the wrapped server's reply
    task: asyncio.Task[None] | None = None
    retried: bool = False
    cancelled: bool = False

    @property
    def answered(self) -> bool:
        """Whether the wrapped server has answered, and a feature is still at work."""
        return self.reply is not None and self.reply.done()


Feature = Callable[["Session", Id, bytes, Envelope], Awaitable[bytes]]


class Session:
    """Routes messages of one client. Everything happens on the event loop; nothing here computes for long."""

    def __init__(self, client: Client, settings: Settings, owned: Mapping[str, Feature]) -> None:
        self.client = client
        self.settings = settings
        self.documents = Documents()
        self.names = ServerNames()
        self.ranker = RankerClient(settings, self.ranker_snapshot)
        self.lifecycle = Lifecycle(self)
        self.phase = Phase.NEW
        self.backend: Backend | None = None
        self.client_capabilities: Json = {}
        self.server_resolves = False
        self.roots: list[str] = []
        self.lists: Any = None  # features.completion keeps its recent lists here
        self._owned = owned
        self._pending: dict[tuple[type, Id], Pending] = {}
        self._closed = False

    # From the client

    def from_client(self, body: bytes | wire.WireError) -> None:
        """One message of the editor. Never raises."""
        if isinstance(body, wire.WireError):
            log.warning("the editor sent bytes that are no message: %s", body)
            return
        try:
            envelope = wire.peek(body)
        except wire.WireError as error:
            self.client.send(wire.failure(None, wire.PARSE_ERROR, str(error)))
            return
        try:
            if envelope.is_request:
                self._request(body, envelope)
            elif envelope.is_notification:
                self._notification(body, envelope)
            else:
                self._response(body, envelope)
        except (wire.WireError, LookupError, TypeError, ValueError, AttributeError) as error:
            log.exception("a message of the editor could not be handled")
            if envelope.is_request:
                self.reply(_id(envelope), wire.failure(_id(envelope), wire.INVALID_PARAMS, repr(error)))

    def _request(self, body: bytes, envelope: Envelope) -> None:
        id, method = _id(envelope), str(envelope.method)
        if _key(id) in self._pending:
            self.client.send(wire.failure(id, wire.INVALID_REQUEST, f"request id {id!r} is in use"))
            return
        self._pending[_key(id)] = Pending(method=method, body=body)
        if method == "initialize":
            if self.phase is not Phase.NEW:
                self.reply(id, wire.failure(id, wire.INVALID_REQUEST, "initialize was called before"))
            else:
                self.phase = Phase.STARTING
                self._run(id, self.lifecycle.initialize(id, body, envelope))
        elif self.phase in (Phase.NEW, Phase.STARTING):
            self.reply(id, wire.failure(id, wire.SERVER_NOT_INITIALIZED, "initialize has not been answered yet"))
        elif self.phase is Phase.SHUT_DOWN:
            self.reply(id, wire.failure(id, wire.INVALID_REQUEST, "the server was shut down"))
        elif method == "shutdown":
            self.phase = Phase.SHUT_DOWN
            self._run(id, self.lifecycle.shutdown(id, body))
        elif method in self._owned:
            self._run(id, self._owned[method](self, id, body, envelope))
        else:
            self._forward(id, body)

    def _forward(self, id: Id, body: bytes) -> None:
        if self._waits(self._pending[_key(id)]):
            return
        if self.backend is None or not self.backend.alive:
            reason = self.lifecycle.why_no_backend
            self.reply(id, wire.failure(id, wire.REQUEST_FAILED, reason))
        else:
            self.backend.send(body)

    def _notification(self, body: bytes, envelope: Envelope) -> None:
        method = str(envelope.method)
        if method == "exit":
            self.lifecycle.exit()
        elif method == "$/cancelRequest":
            self._cancelled_by_client(body, envelope)
        elif self.phase is not Phase.NEW:
            observe = OBSERVED.get(method)
            forwarded = body if observe is None else observe(self, body, envelope)
            if self.backend is not None and forwarded is not None and not self.lifecycle.starting_again:
                self.backend.send(forwarded)
            if method == "workspace/didChangeConfiguration" and forwarded is not None:
                self.lifecycle.configured(forwarded)
            if method in FOLLOWED_BY_RANKER:
                self.ranker.forward(body)
            if method in DOCUMENT_EVENTS:  # after the bytes went on: it costs time on long texts
                DOCUMENT_EVENTS[method](self.documents, wire.loads(_params(envelope)))

    def _response(self, body: bytes, envelope: Envelope) -> None:
        asked = self.names.answered(_id(envelope))
        if asked is not None and self.backend is not None:
            self.backend.send(wire.with_id(body, asked.id))

    def _cancelled_by_client(self, body: bytes, envelope: Envelope) -> None:
        id = wire.loads(_params(envelope)).get("id")
        pending = self._pending.get(_key(id))
        if pending is None or pending.cancelled:
            return
        pending.cancelled = True
        if self.backend is not None and pending.method != "initialize":
            self.backend.send(body)
        asyncio.get_running_loop().call_later(CANCEL_GRACE, self._cancel_overdue, id, pending)
        if pending.answered:  # ranking: nobody waits for it any more
            self.reply(id, wire.failure(id, wire.REQUEST_CANCELLED, "cancelled"))

    def _cancel_overdue(self, id: Id, pending: Pending) -> None:
        if self._pending.get(_key(id)) is pending:
            self.reply(id, wire.failure(id, wire.REQUEST_CANCELLED, "cancelled"))

    # From the wrapped server

    def from_backend(self, body: bytes, envelope: Envelope) -> None:
        """One message of the wrapped server. Never raises."""
        try:
            if envelope.is_response:
                self._backend_reply(body, envelope)
            else:
                rewrite = FROM_SERVER.get(str(envelope.method))
                if rewrite is not None:
                    body = rewrite(self, body, envelope)
                elif envelope.is_request:
                    body = wire.with_id(body, self.names.ask(_id(envelope), str(envelope.method)))
                self.client.send(body)
        except (wire.WireError, LookupError, TypeError, ValueError, AttributeError):
            log.exception("a message of the wrapped server could not be handled")
            if envelope.is_request and self.backend is not None:
                self.backend.send(wire.failure(_id(envelope), wire.INVALID_PARAMS, "not understood"))

    def _backend_reply(self, body: bytes, envelope: Envelope) -> None:
        id = _id(envelope)
        pending = self._pending.get(_key(id))
        if pending is None:
            log.info("the wrapped server answered %r, which nobody waits for", id)
        elif pending.reply is None:
            self.reply(id, body)
        elif not pending.reply.done():
            pending.reply.set_result(body)

    # For features and the lifecycle

    def reply(self, id: Id, body: bytes) -> None:
        """Answer a client's request, unless it has been answered: exactly one reply each."""
        pending = self._pending.pop(_key(id), None)
        if pending is None:
            return
        self.client.send(body)
        if pending.task is not None and pending.task is not asyncio.current_task():
            pending.task.cancel()

    async def ask_backend(self, id: Id, body: bytes) -> bytes:
        """Send a client's request on and wait for the whole reply, under the client's own id."""
        pending = self._pending[_key(id)]
        waits = self._waits(pending)
        if not waits and (self.backend is None or not self.backend.alive):
            return wire.failure(id, wire.REQUEST_FAILED, self.lifecycle.why_no_backend)
        pending.body = body
        pending.reply = asyncio.get_running_loop().create_future()
        if not waits and self.backend is not None:
            self.backend.send(body)
        return await pending.reply

    def _waits(self, pending: Pending) -> bool:
        """Whether a request is kept for the server that is starting again, which gets it after its documents."""
        return self.lifecycle.starting_again and pending.method in SAFE_TO_RETRY

    def pending(self) -> list[tuple[Id, Pending]]:
        return [(key[1], pending) for key, pending in self._pending.items()]

    def notify(self, method: str, params: Json) -> None:
        self.client.send(wire.notification(method, params))

    def show(self, message: str, *, kind: int = 2) -> None:
        """window/showMessage: 1 error, 2 warning, 3 information."""
        log.warning("%s", message)
        self.notify("window/showMessage", {"type": kind, "message": message})

    def configure(self, given: Json, *, trusted: bool) -> None:
        """Take settings, and say of each bad one what it allows."""
        self.settings, problems = updated(self.settings, given, trusted=trusted)
        for problem in problems:
            self.show(problem)

    def ranker_snapshot(self) -> list[bytes]:
        """What a new ranker process must hear first."""
        opening = {"roots": self.roots, "encoding": self.documents.encoding}
        return [
            wire.notification("starling/open", opening),
            *(
                wire.notification("textDocument/didOpen", {"textDocument": document.as_item()})
                for document in self.documents
            ),
        ]

    def closed_by_client(self) -> None:
        """The connection has gone without a word: every child ends."""
        if not self._closed:
            self._closed = True
            self.lifecycle.abandon()

    def _run(self, id: Id, feature: Awaitable[bytes]) -> None:
        async def answer() -> None:
            try:
                body = await feature
            except asyncio.CancelledError:
                raise
            except Exception as error:  # a defect here must not leave the editor without a reply
                log.exception("a request could not be answered")
                body = wire.failure(id, wire.INTERNAL_ERROR, repr(error))
            self.reply(id, body)

        self._pending[_key(id)].task = asyncio.get_running_loop().create_task(answer())


def _id(envelope: Envelope) -> Id:
    assert not isinstance(envelope.id, msgspec.UnsetType)
    return envelope.id


def _key(id: Id) -> tuple[type, Id]:
    return type(id), id


def _params(envelope: Envelope) -> msgspec.Raw:
    return envelope.params if isinstance(envelope.params, msgspec.Raw) else msgspec.Raw(b"{}")


# Notifications of the client that Starling reads; each returns what goes on to the wrapped server.


def _configuration(session: Session, body: bytes, envelope: Envelope) -> bytes | None:
    params = wire.loads(_params(envelope))
    settings = params.get("settings") if isinstance(params, dict) else None
    if not isinstance(settings, dict) or capabilities.KEY not in settings:
        return body
    session.configure(settings.pop(capabilities.KEY), trusted=False)
    session.ranker.configure(session.settings)
    return wire.dumps({**wire.fields(body), "params": {**params, "settings": settings}})


def _progress_cancelled(session: Session, body: bytes, envelope: Envelope) -> bytes | None:
    params = wire.loads(_params(envelope))
    theirs = session.names.token_of(params.get("token"))
    return body if theirs is None else wire.notification(str(envelope.method), {**params, "token": theirs})


OBSERVED: Mapping[str, Callable[[Session, bytes, Envelope], bytes | None]] = {
    "workspace/didChangeConfiguration": _configuration,
    "window/workDoneProgress/cancel": _progress_cancelled,
}
DOCUMENT_EVENTS: Mapping[str, Callable[[Documents, Any], None]] = {
    "textDocument/didOpen": Documents.did_open,
    "textDocument/didChange": Documents.did_change,
    "textDocument/didClose": Documents.did_close,
}
FOLLOWED_BY_RANKER = frozenset(
    (
        *DOCUMENT_EVENTS,
        "textDocument/didSave",
        "workspace/didChangeWatchedFiles",
        "workspace/didChangeWorkspaceFolders",
    )
)


# Messages of the wrapped server that carry its own names, or announce completion.


def _registering(session: Session, body: bytes, envelope: Envelope) -> bytes:
    params = wire.loads(_params(envelope))
    for registration in params.get("registrations", ()):
        ours = session.names.registration(registration["id"])
        registration["id"] = ours
        session.names.register(ours, registration["method"])
        if registration["method"] == capabilities.COMPLETION:
            options = registration.get("registerOptions")
            session.server_resolves = capabilities.resolves(options)
            registration["registerOptions"] = capabilities.with_resolve(options)
    return _asked(session, body, envelope, params)


def _unregistering(session: Session, body: bytes, envelope: Envelope) -> bytes:
    params = wire.loads(_params(envelope))
    for unregistration in params.get("unregisterations", ()):  # the specification's own spelling
        unregistration["id"] = session.names.registration(unregistration["id"])
        session.names.unregister(unregistration["id"])
    return _asked(session, body, envelope, params)


def _progress_created(session: Session, body: bytes, envelope: Envelope) -> bytes:
    params = wire.loads(_params(envelope))
    return _asked(session, body, envelope, {**params, "token": session.names.token(params["token"])})


def _progress(session: Session, body: bytes, envelope: Envelope) -> bytes:
    params = wire.fields(_params(envelope))
    theirs = wire.loads(params["token"])
    ours = session.names.known_token(theirs)
    if ours is None:  # a token that the client made
        return body
    if capabilities.at(wire.loads(params.get("value", b"null")), "kind") == "end":
        session.names.token_ended(theirs)
    return wire.dumps({**wire.fields(body), "params": {**params, "token": ours}})


def _cancelled_by_server(session: Session, body: bytes, envelope: Envelope) -> bytes:
    ours = session.names.asked_as(wire.loads(_params(envelope)).get("id"))
    return body if ours is None else wire.notification("$/cancelRequest", {"id": ours})


def _asked(session: Session, body: bytes, envelope: Envelope, params: Json) -> bytes:
    ours = session.names.ask(_id(envelope), str(envelope.method))
    return wire.dumps({**wire.fields(body), "id": ours, "params": params})


FROM_SERVER: Mapping[str, Callable[[Session, bytes, Envelope], bytes]] = {
    "client/registerCapability": _registering,
    "client/unregisterCapability": _unregistering,
    "window/workDoneProgress/create": _progress_created,
    "$/progress": _progress,
    "$/cancelRequest": _cancelled_by_server,
}
