"""The mode with one wrapped server: a command that the user gave. Messages are forwarded to it and from it unchanged.

While the server watches no files, Starling itself asks the editor to watch the source files, for the index.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

import msgspec

from lsp_server.documents import notebooks
from lsp_server.documents.editor_state import EditorState
from lsp_server.documents.positions import Encoding
from lsp_server.documents.texts import CHANGE, CLOSE, OPEN
from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Envelope, Id, Json
from lsp_server.protocol import capabilities
from lsp_server.protocol.editor_link import ERROR, EditorLink
from lsp_server.routing import server_messages
from lsp_server.routing.abilities import Abilities
from lsp_server.routing.announcer import refresh_requests, watched_files
from lsp_server.routing.diagnostics import PUBLISH, PublishedDiagnostics
from lsp_server.routing.registrations import WATCHED, takes_registration
from lsp_server.routing.requests import Requests
from lsp_server.routing.table import ROWS
from lsp_server.servers.backend import BackendError, BackendExited, BackendRefused
from lsp_server.servers.generation import SHUTDOWN_PATIENCE
from lsp_server.servers.server import State, WrappedServer


class OneCommand:
    encodings: Sequence[Encoding] = ()
    marks_lists = False

    def __init__(self, server: WrappedServer, *, state: EditorState, requests: Requests, editor: EditorLink) -> None:
        self._server, self._state, self._requests, self._editor = server, state, requests, editor
        self._published = PublishedDiagnostics(lambda uri: uri)
        self._registrations = itertools.count(1)
        self._watching = ""  # the id of Starling's own registration; "" if there is none

    async def initialize(self, id: Id) -> bytes:
        """Start the server, and return its initialize result with Starling's additions."""
        server = self._server
        try:
            result = wire.loads(await server.start())
        except BackendRefused as error:
            return wire.dumps({"jsonrpc": "2.0", "id": id, "error": error.error})
        except BackendExited as error:
            self._editor.show(f"{error}. {error.last_words}", kind=ERROR)
            return wire.failure(id, wire.REQUEST_FAILED, str(error))
        except BackendError as error:
            self._editor.show(str(error), kind=ERROR)
            return wire.response(id, capabilities.announced({}))
        self._state.documents.encoding = server.announced.encoding
        return wire.response(id, capabilities.announced(result))

    async def shutdown(self, id: Id, body: bytes) -> bytes:
        """Return the server's response. If the server has ended or is silent, return null."""
        if self._server.state is State.RUNNING and self._server.alive:
            try:
                return await asyncio.wait_for(self._requests.ask(id, self._server, body), SHUTDOWN_PATIENCE)
            except TimeoutError:
                return wire.response(id, None)
        return wire.response(id, None)

    def request(self, id: Id, method: str, body: bytes, envelope: Envelope) -> None:
        self._requests.forward(id, self._server, body)

    def completion_targets(self, where: Json, context: Json) -> list[WrappedServer]:
        return [self._server]

    def server_of_item(self, key: str | None) -> WrappedServer | None:
        return self._server

    def sent_first(self, method: str, body: bytes, params: msgspec.Raw) -> None:
        """Forward a notification unchanged. A didChange is forwarded before it is decoded."""

        def uri() -> str:
            return str(capabilities.document_of(wire.loads(params)))

        if method == CHANGE:
            self._server.tell_change(uri, body)
        elif method == OPEN:
            self._server.tell_open(uri(), body)
        elif method == CLOSE:
            self._server.tell_close(uri(), body)
        elif method.startswith(("textDocument/", notebooks.PREFIX)):
            self._server.tell(body)

    def initialized(self, body: bytes) -> None:
        self._server.tell_initialized(body)
        self._watch()

    def opening(self, body: bytes, params: Json) -> tuple[bytes, Json]:
        return body, params

    def text(self, method: str, body: bytes, params: Json, *, cell: bool) -> None:
        """Do nothing: `sent_first` has sent it."""

    def followed(self, method: str, params: Json) -> None:
        if method == OPEN:
            self._server.wake()  # if an earlier start failed

    def notebook(self, body: bytes) -> None:
        """Do nothing: `sent_first` has sent it."""

    def tell(self, method: str, body: bytes, params: msgspec.Raw) -> None:
        if method != WATCHED or not self._watching:  # otherwise only Starling registered for it
            self._server.tell(body)

    def from_server(self, server: WrappedServer, body: bytes, envelope: Envelope) -> bytes | None:
        if envelope.method == PUBLISH:
            return self._published.published(server.key, body, wire.params_of(envelope))
        forwarded = server_messages.for_editor(server, body, envelope)
        if envelope.method in ("client/registerCapability", "client/unregisterCapability"):
            self._watch()
        return forwarded

    def ready(self, server: WrappedServer) -> None:
        """Send the refresh requests after a restart. The capabilities were in the response to initialize."""
        abilities = Abilities.of(server)
        for number, method in enumerate(refresh_requests(abilities, self._state.client_capabilities)):
            self._editor.send(wire.request(f"starling-refresh:{server.names.generation}:{number}", method, None))

    def lost(self, server: WrappedServer) -> None:
        """Remove the diagnostics of the process that ended: the next process may not report on the same documents."""
        for body in self._published.forget(server.key):
            self._editor.send(body)
        self._watch()

    def failed(self, server: WrappedServer) -> None:
        """Do nothing: the editor has been told, and requests are answered with the reason."""

    def _watch(self) -> None:
        """Watch source files while the server watches no files (LSP 3.17, DidChangeWatchedFiles)."""
        takes_it = takes_registration(self._state.client_capabilities, ROWS[WATCHED])
        theirs = any(method == WATCHED for method, _ in self._server.announced.registered.values())
        if theirs and self._watching:
            given = {"unregisterations": [{"id": self._watching, "method": WATCHED}]}
            self._editor.send(wire.request(f"{self._watching}:gone", "client/unregisterCapability", given))
            self._watching = ""
        elif takes_it and not theirs and not self._watching and self._state.initialized.is_set():
            self._watching = f"starling-watch:{next(self._registrations)}"
            options = {"watchers": watched_files()}
            given = {"registrations": [{"id": self._watching, "method": WATCHED, "registerOptions": options}]}
            self._editor.send(wire.request(self._watching, "client/registerCapability", given))
