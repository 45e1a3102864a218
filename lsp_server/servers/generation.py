"""One process of a wrapped server: started, initialized, told what the session knows, ended. It is never started twice.

Its owner (`server`) decides whether to start another one. Phases go one way: STARTING, INITIALIZED, RUNNING, ENDED; so
`initialized` is sent once, and a document that the process has open is never opened again.
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
from lsp_server.servers.backend import Backend, BackendError, BackendExited, BackendGarbled
from lsp_server.servers.plans import Plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from lsp_server.protocol.typed import ServerClient

log = logging.getLogger(__name__)

SHUTDOWN_PATIENCE = 5.0  # seconds for its answer to shutdown
INITIALIZE_PATIENCE = 120.0


class Phase(Enum):
    STARTING = "starting"
    INITIALIZED = "initialized"  # it has answered initialize
    RUNNING = "running"  # it has been sent `initialized`
    ENDED = "ended"


class Owner(Protocol):
    """Whose process it is."""

    def process_said(self, process: Generation, body: bytes, envelope: Envelope) -> None:
        """A request or notification of its own."""
        ...

    def process_replied(self, process: Generation, id: Id, body: bytes) -> None:
        """A reply to a request of the editor, or why there is none."""
        ...

    def process_exited(self, process: Generation, error: BackendExited) -> None:
        """It ended, and nobody had ended it; not said of one that never answered initialize."""
        ...


class Generation:
    """`capabilities` and `encoding` are its own from `start` on."""

    def __init__(self, plan: Plan, editor: EditorState, owner: Owner) -> None:
        self.phase = Phase.STARTING
        self.capabilities: dict[str, Any] = {}
        self.encoding: Encoding = "utf-16"
        self._plan, self._editor, self._owner = plan, editor, owner
        self._since = time.monotonic()
        self._client: ServerClient | None = None
        self._open: set[str] = set()  # URIs of the documents that it has open
        self._folder = editor.working_folder
        self._backend = Backend(
            plan.started_by(self._folder),
            install=plan.install,
            check=plan.check,
            on_message=self._received,
            on_lost=self._lost,
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
        """Seconds since it was started."""
        return time.monotonic() - self._since

    @property
    def client(self) -> ServerClient:
        """It as pygls shows a server. Loads pygls."""
        if self._client is None:
            from lsp_server.protocol.typed import ServerClient

            self._client = ServerClient(self._backend.send)
        return self._client

    async def start(self) -> msgspec.Raw:
        """Start the process and have it answer initialize. Returns its result. Raises BackendError, and leaves no process then."""
        backend = self._backend
        try:
            await backend.start(cwd=None if self._folder is None else str(self._folder))
            self._since = time.monotonic()
            result = await backend.request_raw("initialize", self._editor.initialize_params(), INITIALIZE_PATIENCE)
            decoded = self._decoded(result)
            if backend.exited is not None:  # right after its answer
                raise backend.exited
        except BaseException:
            self.kill()
            raise
        capabilities = at(decoded, "capabilities")
        self.capabilities = capabilities if isinstance(capabilities, dict) else {}
        self.encoding = encoding_of(decoded)
        self.phase = Phase.INITIALIZED
        return result

    def introduce(self, handles: Callable[[str], bool], *, notebooks: bool) -> None:
        """Send `initialized`, the configuration and the open documents of the languages that it handles."""
        editor, backend = self._editor, self._backend
        self.initialized(wire.notification("initialized", {}))
        if editor.configuration is not None:
            backend.send(editor.configuration)
        cells: frozenset[str] = frozenset()
        if notebooks:
            for params, uris in editor.notebooks.openings(editor.documents):
                if any(handles(item["languageId"]) for item in params["cellTextDocuments"]):
                    backend.notify("notebookDocument/didOpen", params)
                    cells |= uris
        for document in editor.documents:
            if handles(document.language_id) and document.uri not in cells:
                opening = {"textDocument": document.as_item()}
                self.open(document.uri, wire.notification("textDocument/didOpen", opening))

    def initialized(self, body: bytes) -> None:
        """Send `initialized` (`body`); a second one is dropped."""
        if self.phase is Phase.INITIALIZED:
            self.phase = Phase.RUNNING
            self._backend.send(body)

    def open(self, uri: str, body: bytes) -> None:
        """Send a didOpen (`body`); a document that is open is closed first."""
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
        """shutdown (where it is to be asked), exit, and the process ended whatever it says."""
        self.phase = Phase.ENDED
        if politely and self._backend.alive:
            try:
                await self._backend.request("shutdown", None, SHUTDOWN_PATIENCE)
            except BackendError as error:
                log.info("%s: %s", self._plan.name, error)
        self._backend.notify("exit", None)
        await self._backend.stop()

    def kill(self) -> None:
        """End it at once, without a word."""
        self.phase = Phase.ENDED
        self._backend.kill()

    def fail_client(self, reason: str) -> None:
        """What features asked it is not answered any more."""
        if self._client is not None:
            self._client.protocol.fail_pending(reason)

    def _decoded(self, result: msgspec.Raw) -> Json:
        try:
            return wire.loads(result)
        except wire.WireError as error:
            raise BackendGarbled(self._plan.command[0], "initialize", error) from error

    def _received(self, body: bytes, envelope: Envelope) -> None:
        if envelope.is_response:
            if self._client is None or not self._client.protocol.response(body):
                self._owner.process_replied(self, wire.id_of(envelope), body)
        elif self.phase is not Phase.ENDED:
            self._owner.process_said(self, body, envelope)
        elif envelope.is_request:  # it may wait for a reply before it ends
            refused = wire.failure(wire.id_of(envelope), wire.REQUEST_FAILED, "the session with this server has ended")
            self._backend.send(refused)

    def _lost(self, id: Id | msgspec.UnsetType, method: str, error: wire.WireError) -> None:
        """A message that can't be read, of which this much can be told: nobody waits for it any more."""
        if isinstance(id, msgspec.UnsetType):
            return
        if method:
            self._backend.send(wire.failure(id, wire.PARSE_ERROR, str(error)))
        else:
            failure = wire.failure(id, wire.INTERNAL_ERROR, f"the answer can't be read: {error}")
            self._owner.process_replied(self, id, failure)

    def _exited(self, error: BackendExited) -> None:
        was, self.phase = self.phase, Phase.ENDED
        self.fail_client(str(error))
        if was in (
            Phase.INITIALIZED,
            Phase.RUNNING,
        ):  # while it starts, `start` raises; an end that was asked for is no news
            self._owner.process_exited(self, error)
