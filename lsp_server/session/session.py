"""One editor's session: what it has said, its wrapped servers, its ranker, and which of them a message is for.

What Starling does not own passes through as the bytes it came as. No feature is written here: `features/` has one file each.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Protocol

import msgspec

from lsp_server.documents.editor_state import EditorState
from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Envelope, Id, Json
from lsp_server.protocol.editor_link import ERROR, WARNING
from lsp_server.ranking.ranker_client import RankerClient
from lsp_server.routing import server_messages
from lsp_server.routing.mode import Mode
from lsp_server.routing.notifications import TEXTS, Notifications
from lsp_server.routing.requests import Requests
from lsp_server.servers.id_mapping import Left
from lsp_server.servers.pool import Pool
from lsp_server.servers.server import WrappedServer
from lsp_server.session.lifecycle import Lifecycle
from lsp_server.settings import Settings, updated

log = logging.getLogger(__name__)

DEFECT = "a defect in Starling: this message was not handled"


class _Cancel(msgspec.Struct):
    """CancelParams."""

    id: Id


class Client(Protocol):
    """The editor's end, whatever it is connected by."""

    def send(self, body: bytes) -> None: ...
    def close(self, code: int) -> None: ...
    def authenticated(self) -> None: ...


class Phase(Enum):
    NEW = "new"
    STARTING = "starting"
    RUNNING = "running"
    SHUT_DOWN = "shut_down"


@dataclass(kw_only=True)
class Authentication:
    """What a client must send, and what it may do then. On standard streams the client is the process that started us; on a
    socket it may be anyone.

    `trusted`: the client's initializationOptions may choose which commands and models run. If not, only the command line may.
    """

    token: str = ""  # the token that initialize must contain; "" if none is needed
    trusted: bool = True
    succeeded: bool = False

    def for_new_client(self) -> Authentication:
        """The same conditions, for a client that has not authenticated yet."""
        return replace(self, succeeded=False)

    def check(self, options: Json) -> bool:
        """Whether these options (`initializationOptions.starling`) contain the token. The comparison takes constant time."""
        given = options.get("token") if wire.is_object(options) else None
        given = given if isinstance(given, str) else ""
        self.succeeded = not self.token or hmac.compare_digest(given.encode(), self.token.encode())
        return self.succeeded


class Features(Protocol):
    """What Starling answers itself."""

    def load(self) -> None:
        """Begin to get ready; returns at once."""
        ...

    async def ready(self) -> None:
        """What must be there before initialize is answered."""
        ...

    def owns(self, method: str) -> bool: ...
    async def answer(self, id: Id, body: bytes, envelope: Envelope) -> bytes | None:
        """The whole reply; None where the request was left to the wrapped servers."""
        ...

    def notify(self, method: str, params: msgspec.Raw) -> None:
        """Give a notification of the editor to the feature that listens to it."""
        ...

    def response(self, body: bytes) -> bool:
        """Take a response of the editor. Returns False if no feature sent the request."""
        ...


class Session:
    """Everything happens on the event loop; nothing here computes for long."""

    def __init__(
        self,
        client: Client,
        settings: Settings,
        features: Callable[[Session], Features],
        authentication: Authentication | None = None,
        *,
        ranker: RankerClient | None = None,
    ) -> None:
        self.client = client
        self.authentication = authentication or Authentication()
        self.state = EditorState(settings=settings)
        self.requests = Requests(self, self._stopped)
        self.pool = Pool(self.state, self)
        self.ranker = ranker or RankerClient(settings, self.state.ranker_snapshot, self.state.documents.whole_change)
        self.mode: Mode | None = None  # from initialize on
        self.lists: Any = None  # features.completion keeps its recent lists here
        self._notifications: Notifications | None = None
        self._features = features(self)
        self._later: deque[bytes | wire.WireError] = deque()  # messages that wait for the loop's next turn
        self._turn: asyncio.Handle | None = None
        self._phase = Phase.NEW
        self._lifecycle = Lifecycle(self.state, self.pool, self.requests, self.ranker, self)

    # From the editor

    def from_client(self, body: bytes | wire.WireError) -> None:
        """One message of the editor. Never raises.

        A request that a task answers reaches the wrapped server when the task starts, at the loop's next turn; what comes
        after it waits for that, so that no change of a text overtakes a question about it.
        """
        if self._turn is not None:
            self._later.append(body)
            return
        begun = self.requests.begun
        self._take(body)
        if self.requests.begun != begun:
            self._turn = asyncio.get_running_loop().call_soon(self._next_turn)

    def _next_turn(self) -> None:
        self._turn = None
        while self._later and self._turn is None:
            self.from_client(self._later.popleft())

    def _take(self, body: bytes | wire.WireError) -> None:
        if isinstance(body, wire.WireError):
            log.warning("the editor sent bytes that are no message: %s", body)
            if isinstance(body, wire.Oversized):
                self._oversized(body)
            return
        try:
            envelope = wire.peek(body)
        except wire.WireError as error:
            self.send(wire.failure(None, wire.PARSE_ERROR, str(error)))
            return
        try:
            if envelope.is_request:
                self._request(body, envelope)
            elif envelope.is_notification:
                self._notification(body, envelope)
            else:
                self._response(body, envelope)
        except wire.WireError as error:
            log.warning("a message of the editor is malformed: %s: %s", envelope.method, error)
            self._refuse(envelope, wire.INVALID_PARAMS, str(error))
        except Exception as error:  # a defect of ours: it must not cost the session
            log.exception(DEFECT)
            self._refuse(envelope, wire.INTERNAL_ERROR, repr(error))

    def _refuse(self, envelope: Envelope, code: int, why: str) -> None:
        """Answer a message with an error, if it is a request."""
        if envelope.is_request:
            id = wire.id_of(envelope)
            self.requests.reply(id, wire.failure(id, code, why))

    def _oversized(self, error: wire.Oversized) -> None:
        """A message that was thrown away: whoever waits for it is told. A document's text that is lost ends the session."""
        id, method = wire.guess(error.edges)
        if id is not msgspec.UNSET:
            failure = wire.failure(id, wire.REQUEST_FAILED, str(error))
            if method:
                self.send(failure)
            else:
                self._response(failure, wire.peek(failure))
        elif method in TEXTS:
            self.show(f"{method}: {error}. Starling can't follow the text any more and ends.", kind=ERROR)
            self.closed_by_client()

    def _request(self, body: bytes, envelope: Envelope) -> None:
        id, method = wire.id_of(envelope), str(envelope.method)
        if not self.requests.open(id, method):
            self.send(wire.failure(id, wire.INVALID_REQUEST, f"request id {id!r} is in use"))
            return
        refused = self._refusal(method)
        if refused is not None:
            self.requests.reply(id, wire.failure(id, *refused))
        elif method == "initialize":
            self._phase = Phase.STARTING
            self.requests.run(id, self._initialize(id, body))
        elif method == "shutdown":
            assert self.mode is not None
            self._phase, self.state.ending = Phase.SHUT_DOWN, True
            self.requests.run(id, self.mode.shutdown(id, body))
        elif self._features.owns(method):
            self.requests.run(id, self._features.answer(id, body, envelope))
        else:
            assert self.mode is not None
            self.mode.request(id, method, body, envelope)

    def _refusal(self, method: str) -> tuple[int, str] | None:
        """Why a request makes no sense now (LSP 3.18, "Server lifecycle")."""
        if method == "initialize":
            if self._phase is Phase.NEW:
                return None
            return wire.INVALID_REQUEST, "initialize was called before"
        if self._phase in (Phase.NEW, Phase.STARTING):
            return wire.SERVER_NOT_INITIALIZED, "initialize has not been answered yet"
        if self._phase is Phase.SHUT_DOWN:
            return wire.INVALID_REQUEST, "the server was shut down"
        return None

    def _notification(self, body: bytes, envelope: Envelope) -> None:
        method = str(envelope.method)
        if method == "exit":
            self._end(0 if self._phase is Phase.SHUT_DOWN else 1)  # LSP 3.18
        elif method == "$/cancelRequest":
            self.requests.cancel(wire.read(wire.params_of(envelope), _Cancel).id, body)
        elif self._notifications is not None and self._phase is not Phase.NEW:
            if method == "initialized":
                self.state.initialized.set()
            self._notifications.take(method, body, wire.params_of(envelope))
            self._features.notify(method, wire.params_of(envelope))

    def _response(self, body: bytes, envelope: Envelope) -> None:
        for server in self.pool:
            asked = server.names.answered(wire.id_of(envelope))
            if asked is not None:
                server.send(wire.with_id(body, asked.id))
                return
        self._features.response(body)

    # Beginning and end

    async def _initialize(self, id: Id, body: bytes) -> bytes:
        try:
            reply = await self._lifecycle.initialize(id, body)
            await self._features.ready()
        except Exception:
            self._undo_initialize()
            raise
        if "error" in wire.fields(reply):
            self._undo_initialize()
        else:
            self._phase = Phase.RUNNING
            loop = asyncio.get_running_loop()
            loop.call_soon(self.ranker.start)  # after this reply is on its way
            loop.call_soon(self._features.load)
        return reply

    def _undo_initialize(self) -> None:
        """It was refused or cancelled: its servers end, and the editor may try again (LSP 3.18)."""
        self._lifecycle.drop_servers()
        self._phase, self.mode, self._notifications = Phase.NEW, None, None

    def _stopped(self, method: str) -> None:
        if method == "initialize" and self._phase is Phase.STARTING:
            self._undo_initialize()

    def begin(self, mode: Mode) -> None:
        """How messages go from here on."""
        self.mode = mode
        self._notifications = Notifications(
            mode, self.pool, state=self.state, ranker=self.ranker, configure=self._configured
        )

    def _end(self, code: int) -> None:
        self.state.ending = True
        self._lifecycle.end(code)

    def closed_by_client(self) -> None:
        """The connection has gone without a word: every child ends."""
        self._end(1)

    def close(self, code: int) -> None:
        """Everything has ended."""
        self.client.close(code)

    # Settings

    def configure(self, given: Json, *, trusted: bool, origin: str = "a workspace") -> None:
        """Take settings, and say of each bad one what it allows."""
        self.state.settings, problems = updated(self.state.settings, given, trusted=trusted, origin=origin)
        for problem in problems:
            self.show(problem)

    def _configured(self, given: Json) -> None:
        self.configure(given, trusted=False)
        self.ranker.configure(self.state.settings)

    # To the editor (EditorLink)

    def send(self, body: bytes) -> None:
        self.client.send(body)

    def notify(self, method: str, params: Json) -> None:
        self.send(wire.notification(method, params))

    def show(self, message: str, *, kind: int = WARNING) -> None:
        log.warning("%s", message)
        self.notify("window/showMessage", {"type": kind, "message": message})

    # From wrapped servers (ServerEvents)

    def server_said(self, server: WrappedServer, body: bytes, envelope: Envelope) -> None:
        """A request or notification of a wrapped server. Never raises."""
        try:
            told = None if self.mode is None else self.mode.from_server(server, body, envelope)
            if told is not None:
                self.send(told)
        except wire.WireError as error:
            log.warning("a message of %s is malformed: %s: %s", server.key, envelope.method, error)
            code, why = wire.INVALID_PARAMS, str(error)
        except Exception as error:  # a defect of ours: it must not cost the session
            log.exception(DEFECT)
            code, why = wire.INTERNAL_ERROR, repr(error)
        else:
            return
        if envelope.is_request:
            server.send(wire.failure(wire.id_of(envelope), code, why))

    def server_ready(self, server: WrappedServer) -> None:
        if self.mode is not None:
            self.mode.ready(server)

    def server_lost(self, server: WrappedServer, left: Left) -> None:
        server_messages.take_back(server, left, self)
        if self.mode is not None:
            self.mode.lost(server)

    def server_failed(self, server: WrappedServer, message: str, *, for_good: bool) -> None:
        self.show(message, kind=ERROR if for_good else WARNING)
        if self.mode is not None:
            self.mode.failed(server)
