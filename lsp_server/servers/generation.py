"""One process of a wrapped server. It is started and initialized, gets the session's state, and is ended; never restarted.

`server` decides whether to start another process. The phases go one way: STARTING, INITIALIZED, RUNNING, ENDED. So `initialized`
is sent once, and a document that is open in the process is never opened again.
"""

from __future__ import annotations

import logging
import time
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from lsp_server.documents.editor_state import EditorState
from lsp_server.documents.positions import Encoding
from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Envelope, Id, Json
from lsp_server.protocol.capabilities import at, encoding_of
from lsp_server.servers import configuration
from lsp_server.servers.backend import Backend, BackendError, BackendExited, BackendGarbled
from lsp_server.servers.plans import Plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from lsp_server.protocol.typed import ServerClient

log = logging.getLogger(__name__)

SHUTDOWN_PATIENCE = 5.0  # seconds to wait for the response to shutdown
INITIALIZE_PATIENCE = 120.0  # seconds to wait for the response to initialize


class Phase(Enum):
    STARTING = "starting"
    INITIALIZED = "initialized"  # initialize was answered
    RUNNING = "running"  # `initialized` was sent
    ENDED = "ended"


class ProcessEvents(Protocol):
    """Callbacks of one process."""

    def process_message(self, process: Generation, body: bytes, envelope: Envelope) -> None:
        """The process sent a request or notification."""
        ...

    def process_response(self, process: Generation, id: Id, body: bytes) -> None:
        """The process answered a request of the editor, or its answer can't be read (`body` is an error response then)."""
        ...

    def process_exited(self, process: Generation, error: BackendExited) -> None:
        """The process exited by itself. Not called if it never answered initialize: `start` raises then."""
        ...


class Generation:
    """One process. `capabilities` and `encoding` are set by `start`."""

    def __init__(self, plan: Plan, editor: EditorState, events: ProcessEvents) -> None:
        self.phase = Phase.STARTING
        self.capabilities: dict[str, Any] = {}
        self.encoding: Encoding = "utf-16"
        self._plan, self._editor, self._events = plan, editor, events
        self._since = time.monotonic()
        self._client: ServerClient | None = None
        self._open: set[str] = set()  # URIs of the documents that are open in the process
        self._folder = plan.starts_in(editor.working_folder)
        self._backend = Backend(
            plan.started_by(self._folder),
            install=plan.install,
            check=plan.check,
            on_message=self._received,
            on_unreadable=self._unreadable,
            on_exit=self._exited,
            whole=editor.documents.whole_change,
        )

    @property
    def alive(self) -> bool:
        return self._backend.alive

    @property
    def pid(self) -> int:
        return self._backend.pid

    @property
    def age(self) -> float:
        """Seconds since the process was started."""
        return time.monotonic() - self._since

    @property
    def client(self) -> ServerClient:
        """The process as a pygls client. Loads pygls, which is slow."""
        if self._client is None:
            from lsp_server.protocol.typed import ServerClient

            self._client = ServerClient(self._backend.send)
        return self._client

    async def start(self) -> msgspec.Raw:
        """Start the process and send initialize. Returns the undecoded result. Raises BackendError; no process is left then."""
        backend = self._backend
        try:
            folder = None if self._folder is None else str(self._folder)
            await backend.start(cwd=folder, env=self._plan.environment())
            self._since = time.monotonic()
            result = await backend.request_raw(
                "initialize",
                configuration.initialize_params(self._plan, self._editor.initialize_params()),
                INITIALIZE_PATIENCE,
            )
            decoded = self._decoded(result)
            if backend.exited is not None:  # it exited right after its response
                raise backend.exited
        except BaseException:
            self.kill()
            raise
        capabilities = at(decoded, "capabilities")
        self.capabilities = capabilities if isinstance(capabilities, dict) else {}
        self.encoding = encoding_of(decoded)
        self.phase = Phase.INITIALIZED
        return result

    def send_state(self, is_for: Callable[[str, str], bool], *, notebooks: bool) -> None:
        """Send `initialized`, the configuration and the open documents.

        `is_for`: whether the server is for a document, by URI and languageId. `notebooks`: whether it supports notebooks.
        """
        editor, backend = self._editor, self._backend
        self.initialized(wire.notification("initialized", {}))
        settings = configuration.changed(self._plan, editor.configuration)
        if settings is not None:
            backend.send(settings)
        cells: frozenset[str] = frozenset()
        if notebooks:
            for params, uris in editor.notebooks.openings(editor.documents):
                if any(is_for(item["uri"], item["languageId"]) for item in params["cellTextDocuments"]):
                    backend.notify("notebookDocument/didOpen", params)
                    cells |= uris
        for document in editor.documents:
            if is_for(document.uri, document.language_id) and document.uri not in cells:
                opening = {"textDocument": document.as_item()}
                self.open(document.uri, wire.notification("textDocument/didOpen", opening))

    def initialized(self, body: bytes) -> None:
        """Send `initialized` (`body`). Does nothing the second time."""
        if self.phase is Phase.INITIALIZED:
            self.phase = Phase.RUNNING
            self._backend.send(body)

    def open(self, uri: str, body: bytes) -> None:
        """Send a didOpen (`body`). If the document is open already, send didClose first."""
        if uri in self._open:
            self._backend.notify("textDocument/didClose", {"textDocument": {"uri": uri}})
        self._open.add(uri)
        self._backend.send(body)

    def close(self, uri: str, body: bytes) -> None:
        """Send a didClose (`body`)."""
        self._open.discard(uri)
        self._backend.send(body)

    def send(self, body: bytes) -> None:
        self._backend.send(body)

    def change(self, uri: Callable[[], str], body: bytes) -> None:
        """Send a document's didChange; see Outbox."""
        self._backend.change(uri, body)

    def forget_changes(self, uri: str) -> None:
        self._backend.forget_changes(uri)

    def pause(self, paused: bool) -> None:
        self._backend.pause(paused)

    async def end(self, *, politely: bool) -> None:
        """Send shutdown (if `politely`) and exit, then end the process whether it obeys or not."""
        self.phase = Phase.ENDED
        if politely and self._backend.alive:
            try:
                await self._backend.request("shutdown", None, SHUTDOWN_PATIENCE)
            except BackendError as error:
                log.info("%s: %s", self._plan.name, error)
        self._backend.notify("exit", None)
        await self._backend.stop()

    def kill(self) -> None:
        """Kill the process at once."""
        self.phase = Phase.ENDED
        self._backend.kill()

    def fail_client(self, reason: str) -> None:
        """Fail the requests of features that are not answered yet."""
        if self._client is not None:
            self._client.protocol.fail_pending(reason)

    def _decoded(self, result: msgspec.Raw) -> Json:
        try:
            return wire.loads(result)
        except wire.WireError as error:
            raise BackendGarbled(self._plan.command[0], "initialize", error) from error

    def _received(self, body: bytes, envelope: Envelope) -> None:
        if envelope.is_response:
            self._answered(wire.id_of(envelope), body)
        elif self.phase is not Phase.ENDED:
            self._events.process_message(self, body, envelope)
        elif envelope.is_request:  # it may wait for the response before it exits
            refused = wire.failure(wire.id_of(envelope), wire.REQUEST_FAILED, "the session with this server has ended")
            self._backend.send(refused)

    def _unreadable(self, id: Id | msgspec.UnsetType, method: str, error: wire.WireError) -> None:
        """Answer a message that can't be decoded, so that nobody waits for it. `id` and `method` are what could be read."""
        if isinstance(id, msgspec.UnsetType):
            return
        if method:
            self._backend.send(wire.failure(id, wire.PARSE_ERROR, str(error)))
        else:
            failure = wire.failure(id, wire.INTERNAL_ERROR, f"the server's response can't be read: {error}")
            self._answered(id, failure)

    def _answered(self, id: Id, body: bytes) -> None:
        """Give a response to the feature or to the editor, whichever sent the request."""
        if self._client is None or not self._client.protocol.response(id, body):
            self._events.process_response(self, id, body)

    def _exited(self, error: BackendExited) -> None:
        was, self.phase = self.phase, Phase.ENDED
        self.fail_client(str(error))
        # During STARTING, `start` raises instead. ENDED means that we ended it.
        if was in (Phase.INITIALIZED, Phase.RUNNING):
            self._events.process_exited(self, error)
