"""One editor's session: its documents, its wrapped servers, its ranker, and the messages between them.

What Starling does not own passes through as the bytes it came as. No feature is written here: `features/` has
one file each, and the table OWNED says which method goes where; `routing` says which server a method is for.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

import msgspec

from lsp_server.documents.notebooks import Notebooks
from lsp_server.documents.texts import Documents
from lsp_server.documents.uris import path_of
from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Envelope, Id, Json
from lsp_server.protocol import registrations
from lsp_server.ranking.ranker_client import RankerClient
from lsp_server.routing import client_notifications, provenance, server_messages
from lsp_server.routing.diagnostics import Diagnostics
from lsp_server.routing.fanout import gathered
from lsp_server.routing.table import OTHER, ROUTES, For
from lsp_server.servers.pool import Fleet
from lsp_server.servers.wrapped_server import Ask, State, Wrapped
from lsp_server.session.lifecycle import Lifecycle
from lsp_server.session.settings import Settings, updated

log = logging.getLogger(__name__)

CANCEL_GRACE = 0.5  # seconds a wrapped server gets to answer a cancelled request itself


class Client(Protocol):
    """The editor's end, whatever it is connected by."""

    def send(self, body: bytes) -> None: ...
    def close(self, code: int) -> None: ...
    def admitted(self) -> None: ...


class Phase(Enum):
    NEW = "before initialize"
    STARTING = "during initialize"
    RUNNING = "running"
    SHUT_DOWN = "after shutdown"


@dataclass(kw_only=True)
class Pending:
    """A client's request that is not answered yet, and the wrapped servers that were asked it."""

    id: Id
    method: str
    body: bytes
    asked: dict[Wrapped, Ask] = field(default_factory=dict[Wrapped, Ask])
    task: asyncio.Task[None] | None = None
    cancelled: bool = False

    @property
    def answered(self) -> bool:
        """Whether the wrapped servers have answered, and a feature is still at work."""
        return bool(self.asked) and all(ask.done and ask.reply is not None for ask in self.asked.values())


@dataclass(kw_only=True)
class Admission:
    """Who is at the other end. Over standard streams that is who started us; over a socket it is anyone.

    `trusting`: whether its initializationOptions may choose what runs; else only the command line does.
    """

    token: str = ""  # what initialize must bring; "" for nothing
    trusting: bool = True
    given: bool = False  # initialize has brought it

    def anew(self) -> Admission:
        """For another client."""
        return replace(self, given=False)

    def ask(self, options: Json) -> bool:
        """Whether these settings of initialize bring the token."""
        brought = options.get("token") if isinstance(options, Mapping) else None
        brought = brought if isinstance(brought, str) else ""
        self.given = not self.token or hmac.compare_digest(brought.encode(), self.token.encode())
        return self.given


Feature = Callable[["Session", Id, bytes, Envelope], Awaitable[bytes]]


class Session:
    """Routes messages of one client. Everything happens on the event loop; nothing here computes for long."""

    def __init__(
        self, client: Client, settings: Settings, owned: Mapping[str, Feature], admission: Admission | None = None
    ) -> None:
        self.client = client
        self.admission = admission or Admission()
        self.settings = settings
        self.documents = Documents()
        self.notebooks = Notebooks()
        self.diagnostics = Diagnostics()
        self.ranker = RankerClient(settings, self.ranker_snapshot, self.documents.whole_change)
        self.lifecycle = Lifecycle(self)
        self.fleet = Fleet(self)
        self.phase = Phase.NEW
        self.initialized = asyncio.Event()  # the editor has our answer to initialize
        self.client_capabilities: Json = {}
        self.server_params: dict[str, msgspec.Raw] = {}  # what each wrapped server's initialize gets
        self.configuration: bytes | None = None  # the last, for servers that start later
        self.roots: list[str] = []
        self.lists: Any = None  # features.completion keeps its recent lists here
        self._owned = owned
        self._pending: dict[tuple[type, Id], Pending] = {}
        self._count = 0
        self._closed = False

    @property
    def working_folder(self) -> Path | None:
        """Where wrapped servers start: the workspace's first folder, where it is one of this machine."""
        folder = path_of(self.roots[0]) if self.roots else None
        return folder if folder is not None and folder.is_dir() else None

    @property
    def ending(self) -> bool:
        return self.lifecycle.ending is not None or self.phase is Phase.SHUT_DOWN

    async def drop_requests(self) -> None:
        """The session ends: what is not answered yet is answered so, and what is at work on an answer stops."""
        tasks = [pending.task for pending in self._pending.values() if pending.task is not None]
        for key, pending in list(self._pending.items()):
            ended = wire.failure(pending.id, wire.REQUEST_CANCELLED, "the session has ended")
            self._reply(key, wire.response(pending.id, None) if pending.method == "shutdown" else ended)
        await asyncio.gather(*tasks, return_exceptions=True)

    # From the client

    def from_client(self, body: bytes | wire.WireError) -> None:
        """One message of the editor. Never raises."""
        if isinstance(body, wire.WireError):
            log.warning("the editor sent bytes that are no message: %s", body)
            if isinstance(body, wire.Oversized):
                self._oversized(body)
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
        except wire.SENSELESS as error:
            log.exception("a message of the editor could not be handled")
            if envelope.is_request:
                self.reply(wire.id_of(envelope), wire.failure(wire.id_of(envelope), wire.INVALID_PARAMS, repr(error)))

    def _oversized(self, error: wire.Oversized) -> None:
        """A message that was thrown away: whoever waits for it is told. A document's text that is lost ends the session."""
        id, method = wire.guess(error.edges)
        if id is not msgspec.UNSET:
            failure = wire.failure(id, wire.REQUEST_FAILED, str(error))
            if method:
                self.client.send(failure)
            else:
                self._response(failure, wire.peek(failure))
        elif method in client_notifications.FOLLOWED:
            self.show(f"{method}: {error}. Starling can't follow the text any more and ends.", kind=1)
            self.closed_by_client()

    def _request(self, body: bytes, envelope: Envelope) -> None:
        id, method = wire.id_of(envelope), str(envelope.method)
        if _key(id) in self._pending:
            self.client.send(wire.failure(id, wire.INVALID_REQUEST, f"request id {id!r} is in use"))
            return
        self._pending[_key(id)] = Pending(id=id, method=method, body=body)
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
        elif self.fleet.one is not None:
            self._forward(id, self.fleet.one, body)
        else:
            self._route(id, method, body, envelope)

    def _route(self, id: Id, method: str, body: bytes, envelope: Envelope) -> None:
        """To the servers that the table names: one gets the bytes as they came, several answer as one."""
        route = ROUTES.get(method, OTHER)
        if route.target is For.MARK:
            key, original = provenance.unmarked(wire.params_of(envelope))
            marked = self.fleet.by_key(key)
            targets = [] if marked is None else [marked]
            body = wire.dumps({**wire.fields(body), "params": original})
        else:
            targets = self.fleet.targets(method, route, wire.loads(wire.params_of(envelope)))
        if not targets:
            self.reply(id, wire.response(id, None))
        elif route.marks or route.target is For.MARK or len(targets) > 1:
            self._run(id, gathered(self, id, targets, body, route))
        else:
            self._forward(id, targets[0], body)

    def _forward(self, id: Id, server: Wrapped, body: bytes) -> None:
        """To one server, whose reply goes on as the bytes it comes as."""
        pending = self._pending[_key(id)]
        ask = pending.asked[server] = Ask(body=body)
        why_not = server.request(pending.method, ask)
        if why_not:
            self.reply(id, wire.failure(id, wire.REQUEST_FAILED, why_not))

    def _notification(self, body: bytes, envelope: Envelope) -> None:
        method = str(envelope.method)
        if method == "exit":
            self.lifecycle.exit()
        elif method == "$/cancelRequest":
            self._cancelled_by_client(body, envelope)
        elif self.phase is not Phase.NEW:
            if method == "initialized":
                self.initialized.set()
            client_notifications.pass_on(self, method, body, wire.params_of(envelope))

    def _response(self, body: bytes, envelope: Envelope) -> None:
        for server in self.fleet:
            asked = server.names.answered(wire.id_of(envelope))
            if asked is not None:
                server.send(wire.with_id(body, asked.id))

    def _cancelled_by_client(self, body: bytes, envelope: Envelope) -> None:
        id = wire.loads(wire.params_of(envelope)).get("id")
        pending = self._pending.get(_key(id))
        if pending is None or pending.cancelled:
            return
        pending.cancelled = True
        for server, ask in pending.asked.items():
            if not ask.done and server.state is State.RUNNING:
                server.send(body)
        asyncio.get_running_loop().call_later(CANCEL_GRACE, self._cancel_overdue, id, pending)
        if pending.answered:  # ranking: nobody waits for it any more
            self.reply(id, wire.failure(id, wire.REQUEST_CANCELLED, "cancelled"))

    def _cancel_overdue(self, id: Id, pending: Pending) -> None:
        if self._pending.get(_key(id)) is pending:
            self.reply(id, wire.failure(id, wire.REQUEST_CANCELLED, "cancelled"))

    # From a wrapped server

    def from_server(self, server: Wrapped, body: bytes, envelope: Envelope) -> None:
        """One message of a wrapped server. Never raises."""
        try:
            if envelope.is_response:
                self.answered(server, wire.id_of(envelope), body)
            else:
                self.client.send(server_messages.for_client(self, server, body, envelope))
        except wire.SENSELESS:
            log.exception("a message of the wrapped server could not be handled")
            if envelope.is_request:
                server.send(wire.failure(wire.id_of(envelope), wire.INVALID_PARAMS, "not understood"))

    def answered(self, server: Wrapped, id: Id, body: bytes) -> None:
        """A server's reply to a client's request, or why there is none."""
        pending = self._pending.get(_key(id))
        ask = None if pending is None else pending.asked.get(server)
        if ask is None or ask.done:
            log.debug("the wrapped server answered %r, which nobody waits for", id)
            return
        ask.done = True
        if ask.reply is None:
            self.reply(id, body)
        elif not ask.reply.done():
            ask.reply.set_result(body)

    def lost_of_server(self, server: Wrapped, id: Id | msgspec.UnsetType, method: str, error: wire.WireError) -> None:
        """A message of a wrapped server that can't be read, of which this much can be told: nobody waits for it any more."""
        if isinstance(id, msgspec.UnsetType):
            return
        if method:
            server.send(wire.failure(id, wire.PARSE_ERROR, str(error)))
        else:
            self.answered(server, id, wire.failure(id, wire.INTERNAL_ERROR, f"the answer can't be read: {error}"))

    # For features and the lifecycle

    def reply(self, id: Id, body: bytes) -> None:
        """Answer a client's request, unless it has been answered: exactly one reply each."""
        self._reply(_key(id), body)

    def _reply(self, key: tuple[type, Id], body: bytes) -> None:
        pending = self._pending.pop(key, None)
        if pending is None:
            return
        self.client.send(body)
        if pending.task is not None and pending.task is not asyncio.current_task():
            pending.task.cancel()
            if pending.method == "initialize" and self.phase is Phase.STARTING:
                self.lifecycle.undo_initialize()

    async def ask(self, id: Id, server: Wrapped, body: bytes) -> bytes:
        """Send a client's request to a server and wait for the whole reply, under the client's own id."""
        pending = self._pending[_key(id)]
        ask = Ask(body=body, reply=asyncio.get_running_loop().create_future())
        pending.asked[server] = ask
        why_not = server.request(pending.method, ask)
        if why_not:
            ask.done = True
            return wire.failure(id, wire.REQUEST_FAILED, why_not)
        assert ask.reply is not None
        return await ask.reply

    def give_up_on(self, id: Id, server: Wrapped) -> None:
        """A server took too long beside others: its answer is not waited for any more."""
        pending = self._pending.get(_key(id))
        ask = None if pending is None else pending.asked.get(server)
        if ask is not None and not ask.done:
            ask.done = True
            server.tell(wire.notification("$/cancelRequest", {"id": id}))

    def pending(self) -> list[tuple[Id, Pending]]:
        return [(pending.id, pending) for pending in self._pending.values()]

    def notify(self, method: str, params: Json) -> None:
        self.client.send(wire.notification(method, params))

    def show(self, message: str, *, kind: int = 2) -> None:
        """window/showMessage: 1 error, 2 warning, 3 information."""
        log.warning("%s", message)
        self.notify("window/showMessage", {"type": kind, "message": message})

    def selector(self, server: Wrapped) -> Json:
        """The documents of a server, as registrations name them."""
        return [{"language": language_id} for language_id in sorted(server.plan.language_ids)]

    def announce(self, server: Wrapped) -> None:
        """Register with the editor what a server that has just started can do, once."""
        found = registrations.registrations(self, server)
        if found:
            self._count += 1
            params = {"registrations": found}
            self.client.send(wire.request(f"starling-announce:{self._count}", "client/registerCapability", params))

    def change_folders(self, event: Json) -> None:
        """Folders of the workspace came and went."""
        gone = {folder["uri"] for folder in event.get("removed") or ()}
        come = list(event.get("added") or ())
        self.roots = [uri for uri in self.roots if uri not in gone] + [folder["uri"] for folder in come]
        known = wire.loads(self.server_params.get("workspaceFolders", wire.raw(None))) or []
        folders = [folder for folder in known if folder["uri"] not in gone] + come
        self.server_params["workspaceFolders"] = wire.raw(folders)

    def configure(self, given: Json, *, trusted: bool, origin: str = "a workspace") -> None:
        """Take settings, and say of each bad one what it allows."""
        self.settings, problems = updated(self.settings, given, trusted=trusted, origin=origin)
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


def _key(id: Id) -> tuple[type, Id]:
    """1 is not "1"; 1.0 is 1, as JSON has it: a server may answer either with the other."""
    if isinstance(id, float) and id.is_integer():
        id = int(id)
    return type(id), id
