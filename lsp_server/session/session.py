"""The session of one editor. Sends each message on to the wrapped servers, to a feature, or to the ranker.

Messages that Starling does not own pass through as the bytes that were received. The features are in `features/`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Any, Protocol

import msgspec

from lsp_server.documents.editor_state import EditorState
from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.frames import Oversized
from lsp_server.jsonrpc.wire import Envelope, Id, Json
from lsp_server.protocol.editor_link import ERROR, INFO, WARNING
from lsp_server.ranking.ranker_client import RankerClient
from lsp_server.routing import server_messages
from lsp_server.routing.mode import Mode
from lsp_server.routing.notifications import TEXTS, Notifications
from lsp_server.routing.requests import Requests
from lsp_server.servers.id_mapping import Left
from lsp_server.servers.pool import Pool
from lsp_server.servers.server import WrappedServer
from lsp_server.session.authentication import Authentication
from lsp_server.session.lifecycle import Lifecycle
from lsp_server.settings import Settings, updated

log = logging.getLogger(__name__)

DEFECT = "a defect in Starling: this message was not handled"  # tests look for "a defect in Starling" in the log


class _Cancel(msgspec.Struct):
    """CancelParams of $/cancelRequest."""

    id: Id


class Client(Protocol):
    """The connection to the editor, over any transport."""

    def send(self, body: bytes) -> None: ...
    def close(self, code: int) -> None: ...
    def authenticated(self) -> None: ...


class Phase(Enum):
    NEW = "new"
    STARTING = "starting"
    RUNNING = "running"
    SHUT_DOWN = "shut_down"


class Features(Protocol):
    """The requests that Starling answers itself."""

    def load(self) -> None:
        """Start loading. Returns at once."""
        ...

    async def ready(self) -> None:
        """Wait for what must be loaded before initialize is answered."""
        ...

    def owns(self, method: str) -> bool:
        """Whether a feature answers requests of this method."""
        ...

    async def answer(self, id: Id, body: bytes, envelope: Envelope) -> bytes | None:
        """Answer a request. Returns the whole response, or None if it was passed to the wrapped servers."""
        ...

    def notify(self, method: str, params: msgspec.Raw) -> None:
        """Give a notification of the editor to the feature that listens to it."""
        ...

    def response(self, id: Id, body: bytes) -> bool:
        """Take a response of the editor. Returns False if no feature sent the request."""
        ...


class Session:
    """Runs on the event loop. No method takes long."""

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
        self.requests = Requests(self, self._request_stopped)
        self.pool = Pool(self.state, self)
        self.ranker = ranker or RankerClient(settings, self.state.ranker_snapshot, self.state.documents.whole_change)
        self.mode: Mode | None = None  # set by initialize
        self.lists: Any = None  # features.completion stores its RecentLists here
        self._notifications: Notifications | None = None
        self._features = features(self)
        self._deferred: deque[bytes | wire.WireError] = deque()  # messages to handle in the loop's next iteration
        self._resume_handle: asyncio.Handle | None = None  # that iteration
        self._phase = Phase.NEW
        self._lifecycle = Lifecycle(self.state, self.pool, self.requests, self.ranker, self)

    # From the editor

    def from_client(self, body: bytes | wire.WireError) -> None:
        """Handle one message of the editor. Never raises.

        A request that a task answers reaches the wrapped server only when the task starts, in the loop's next
        iteration. Messages after it are deferred until then, so that no didChange overtakes a request about the older
        text.
        """
        if self._resume_handle is not None:
            self._deferred.append(body)
            return
        begun = self.requests.begun
        self._dispatch(body)
        if self.requests.begun != begun:
            self._resume_handle = asyncio.get_running_loop().call_soon(self._resume)

    def _resume(self) -> None:
        self._resume_handle = None
        while self._deferred and self._resume_handle is None:
            self.from_client(self._deferred.popleft())

    def _dispatch(self, body: bytes | wire.WireError) -> None:
        if isinstance(body, wire.WireError):
            log.warning("the editor sent bytes that are not a message: %s", body)
            if isinstance(body, Oversized):
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
            log.warning("the editor sent a malformed message: %s: %s", envelope.method, error)
            self._fail_request(envelope, wire.INVALID_PARAMS, str(error))
        except Exception as error:  # a defect in Starling must not end the session
            log.exception(DEFECT)
            self._fail_request(envelope, wire.INTERNAL_ERROR, repr(error))

    def _fail_request(self, envelope: Envelope, code: int, why: str) -> None:
        """Answer the message with an error if it is a request."""
        if envelope.is_request:
            id = wire.id_of(envelope)
            self.requests.reply(id, wire.failure(id, code, why))

    def _oversized(self, error: Oversized) -> None:
        """Handle a message that was discarded for its size. The session ends if the message changed a document."""
        id, method = wire.guess(error.edges)
        if id is not msgspec.UNSET:
            failure = wire.failure(id, wire.REQUEST_FAILED, str(error))
            if method:
                self.send(failure)
            else:
                self._response(failure, wire.peek(failure))
        elif method in TEXTS:
            self.show(
                f"{method}: {error}. Starling doesn't know the document's text any more and exits. "
                "Close the document and restart the language server.",
                kind=ERROR,
            )
            self.abort()

    def _request(self, body: bytes, envelope: Envelope) -> None:
        id, method = wire.id_of(envelope), str(envelope.method)
        if not self.requests.open(id, method):
            self.send(wire.failure(id, wire.INVALID_REQUEST, f"the request id {id!r} is in use"))
            return
        problem = self._phase_error(method)
        if problem is not None:
            self.requests.reply(id, wire.failure(id, *problem))
            return
        self.ranker.look(method, wire.params_of(envelope))
        if method == "initialize":
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

    def _phase_error(self, method: str) -> tuple[int, str] | None:
        """The error (code, message) if a request is not allowed in this phase (LSP 3.18, "Server lifecycle")."""
        if method == "initialize":
            if self._phase is Phase.NEW:
                return None
            return wire.INVALID_REQUEST, "initialize was already requested"
        if self._phase in (Phase.NEW, Phase.STARTING):
            return wire.SERVER_NOT_INITIALIZED, "initialize has not been answered yet"
        if self._phase is Phase.SHUT_DOWN:
            return wire.INVALID_REQUEST, "the server has been shut down"
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
        id = wire.id_of(envelope)
        for server in self.pool:
            asked = server.names.answered(id)
            if asked is not None:
                try:
                    reply = wire.with_id(asked.rewrite(body), asked.id)
                except Exception as error:  # the server must not wait for ever
                    why = f"the editor's response to {asked.method} can't be used: {error!r}"
                    server.send(wire.failure(asked.id, wire.INTERNAL_ERROR, why))
                    raise
                server.send(reply)
                return
        self._features.response(id, body)

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
            loop.call_soon(self.ranker.start)  # after the reply is sent
            loop.call_soon(self._features.load)
        return reply

    def _undo_initialize(self) -> None:
        """initialize failed or was cancelled: end its servers. The editor may send it again (LSP 3.18)."""
        self._lifecycle.drop_servers()
        self._phase, self.mode, self._notifications = Phase.NEW, None, None

    def _request_stopped(self, method: str) -> None:
        if method == "initialize" and self._phase is Phase.STARTING:
            self._undo_initialize()

    def set_mode(self, mode: Mode) -> None:
        """Route messages by this mode from now on."""
        self.mode = mode
        self._notifications = Notifications(
            mode, self.pool, state=self.state, ranker=self.ranker, configure=self._configured
        )

    def _end(self, code: int) -> None:
        self.state.ending = True
        self._lifecycle.end(code)

    def abort(self) -> None:
        """End the session without shutdown and exit (lost connection, signal, protocol error). The exit code is 1."""
        self._end(1)

    def close(self, code: int) -> None:
        """Close the connection, after every process has ended. `code` is the exit code."""
        self.client.close(code)

    # Settings

    def configure(self, given: Json, *, trusted: bool, origin: str = "a workspace") -> None:
        """Apply settings. Show a message for each invalid one. `trusted`: they may choose commands and models."""
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

    def pause_servers(self, paused: bool) -> None:
        """Stop reading from the wrapped servers while the editor does not read, so that our buffers stay small."""
        self.state.does_not_read = paused
        for server in self.pool:
            server.pause(paused)

    # From wrapped servers (ServerEvents)

    def server_message(self, server: WrappedServer, body: bytes, envelope: Envelope) -> None:
        """Handle a request or notification of a wrapped server. Never raises."""
        try:
            told = None if self.mode is None else self.mode.from_server(server, body, envelope)
            if told is not None:
                self.send(told)
        except wire.WireError as error:
            log.warning("%s sent a malformed message: %s: %s", server.key, envelope.method, error)
            code, why = wire.INVALID_PARAMS, str(error)
        except Exception as error:  # a defect in Starling must not end the session
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
        self.show(message, kind=INFO if server.is_missing else ERROR if for_good else WARNING)
        if self.mode is not None:
            self.mode.failed(server)
