"""A server a language, or several for one: each request goes to those that can answer it, and several answers become one."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

import msgspec

from lsp_server.documents import synchronisation
from lsp_server.documents.editor_state import EditorState
from lsp_server.documents.positions import Encoding
from lsp_server.documents.texts import CHANGE, CLOSE, OPEN, SAVE
from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Envelope, Id, Json
from lsp_server.protocol.capabilities import COMPLETION, at, document_of
from lsp_server.protocol.editor_link import EditorLink
from lsp_server.routing import provenance, registrations, server_messages
from lsp_server.routing.diagnostics import Diagnostics
from lsp_server.routing.fanout import gathered
from lsp_server.routing.requests import Requests
from lsp_server.routing.table import OTHER, ROUTES, For, Route
from lsp_server.servers.pool import Pool
from lsp_server.servers.server import State, WrappedServer

FIRST_PATIENCE = 3.0  # seconds that the answer to initialize waits for servers which an editor must hear of in it
TRIGGER_CHARACTER = 2  # CompletionTriggerKind


class ManyServers:
    encodings: Sequence[Encoding] = ("utf-16",)
    marks_lists = True

    def __init__(self, pool: Pool, *, state: EditorState, requests: Requests, editor: EditorLink) -> None:
        self._pool, self._state, self._requests, self._editor = pool, state, requests, editor
        self._diagnostics = Diagnostics()
        self._count = itertools.count(1)

    async def initialize(self, id: Id) -> bytes:
        """At once where the editor takes registrations later; else with the workspace's servers merged."""
        client = self._state.client_capabilities
        results: list[Json] = []
        if registrations.needs_servers_first(client):
            servers = self._pool.of_workspace(self._state.roots)
            for server in servers:
                server.wake()
            answers = await asyncio.gather(*(server.answer(FIRST_PATIENCE) for server in servers))
            results = [answer for answer in answers if answer is not None] or [registrations.ANY]
        return wire.response(id, registrations.merged_result(results, client, self._pool.trigger_characters))

    async def shutdown(self, id: Id, body: bytes) -> bytes:
        await asyncio.gather(*(server.stop() for server in self._pool))
        return wire.response(id, None)

    # Requests

    def request(self, id: Id, method: str, body: bytes, envelope: Envelope) -> None:
        """To the servers that the table names: one gets the bytes as they came, several answer as one."""
        route = ROUTES.get(method, OTHER)
        if route.target is For.MARK:
            key, original = provenance.unmarked(wire.params_of(envelope))
            marked = self._pool.by_key(key)
            targets = [] if marked is None else [marked]
            body = wire.dumps({**wire.fields(body), "params": original})
        else:
            targets = self._targets(method, route, wire.loads(wire.params_of(envelope)))
        if not targets:
            self._requests.reply(id, wire.response(id, None))
        elif route.marks or route.target is For.MARK or len(targets) > 1:
            self._requests.run(id, gathered(self._requests, id, targets, body, route))
        else:
            self._requests.forward(id, targets[0], body)

    def completion_targets(self, where: Json, context: Json) -> list[WrappedServer]:
        found = self._targets(COMPLETION, ROUTES[COMPLETION], where)
        return [server for server in found if _triggered(server, context)]

    def server_of_item(self, key: str | None) -> WrappedServer | None:
        return self._pool.by_key(key)

    def _targets(self, method: str, route: Route, params: Json) -> list[WrappedServer]:
        """Whom a request goes to, the preferred server first; [] where nobody can answer it."""
        if route.target is For.EVERYONE:
            return [server for server in self._pool if _can(server, method, route)]
        if route.target is For.COMMAND:
            named = at(params, "command")
            return [server for server in self._pool if named in server.announced_commands][:1]
        uri = document_of(params)
        candidates = list(self._pool) if uri is None else self._pool.of_document(uri)
        able = [server for server in candidates if _can(server, method, route)]
        # A server that is not ready yet may be able: it is waited for where nobody else can answer.
        waking = [server for server in candidates if server.state in (State.STARTING, State.RESTARTING)]
        return able or waking[:1]

    # Documents

    def sent_first(self, method: str, body: bytes, params: msgspec.Raw) -> None:
        """Nothing goes on before it is known whose it is."""

    def initialized(self, body: bytes) -> None:
        """Each server hears it when it has started."""

    def opening(self, body: bytes, params: Json) -> tuple[bytes, Json]:
        """With a languageId that some server knows: editors have names of their own ("js"), and then a file's name tells."""
        item = params["textDocument"]
        language_id = self._pool.known_id(item.get("languageId", ""), str(item.get("uri")))
        if language_id == item.get("languageId"):
            return body, params
        params = {**params, "textDocument": {**item, "languageId": language_id}}
        return wire.dumps({**wire.fields(body), "params": params}), params

    def text(self, method: str, body: bytes, params: Json, *, cell: bool) -> None:
        """To the servers of its language, each as it wants it."""
        uri = str(document_of(params))
        language_id = params["textDocument"].get("languageId") if method == OPEN else self._state.language_of(uri)
        for server in self._pool:
            if not server.handles(language_id) or (cell and server.knows_notebooks):
                continue
            if method == OPEN:
                server.tell_open(uri, body)
            elif method == CLOSE:
                server.tell_close(uri, body)
            elif method == CHANGE:
                if server.sync_kind == synchronisation.INCREMENTAL:
                    server.tell_change(lambda: uri, body)
            elif method == SAVE:
                document = self._state.documents.get(uri)
                server.tell(synchronisation.saved(body, params, server.capabilities, document))
            else:
                server.tell(body)

    def followed(self, method: str, params: Json) -> None:
        if method == OPEN:
            self._pool.opened(params["textDocument"].get("languageId", ""))
        elif method == CLOSE:
            self._pool.closed()
        elif method == CHANGE:
            self._whole_text(params)

    def _whole_text(self, params: Json) -> None:
        """For the servers that want a changed text whole."""
        document = self._state.documents.get(params["textDocument"]["uri"])
        if document is None:
            return
        for server in self._pool.of_document(document.uri):
            if server.state is State.RUNNING and server.sync_kind == synchronisation.FULL:
                server.tell_change(lambda: document.uri, document.whole_change(params))

    def notebook(self, body: bytes) -> None:
        for server in self._pool:
            if server.knows_notebooks:
                server.tell(body)

    # From servers

    def from_server(self, server: WrappedServer, body: bytes, envelope: Envelope) -> bytes:
        if envelope.method == "textDocument/publishDiagnostics":
            params = wire.fields(wire.params_of(envelope))
            if len(self._pool.of_document(wire.loads(params["uri"]))) > 1:
                return self._diagnostics.published(server.key, params)
        elif envelope.method == "client/registerCapability":
            body = _for_its_documents(server, body, envelope)
            envelope = wire.peek(body)
        return server_messages.for_editor(server, body, envelope)

    def ready(self, server: WrappedServer) -> None:
        """Register with the editor what a server that has just started can do, once."""
        others = {command for other in self._pool if other is not server for command in other.announced_commands}
        found = registrations.registrations(
            self._state.client_capabilities,
            server.capabilities,
            key=server.key,
            language_ids=server.plan.language_ids,
            announced=server.announced,
            commands=[command for command in server.announced_commands if command not in others],
        )
        if found:
            id = f"starling-announce:{next(self._count)}"
            self._editor.send(wire.request(id, "client/registerCapability", {"registrations": found}))

    def lost(self, server: WrappedServer) -> None:
        self._diagnostics.forget(server.key, self._editor.send)


def _for_its_documents(server: WrappedServer, body: bytes, envelope: Envelope) -> bytes:
    """A server's registrations, for its own documents: with no selector they would be for those of other servers too."""
    params = wire.loads(wire.params_of(envelope))
    for registration in params.get("registrations", ()):
        options = registration.get("registerOptions")
        if registration["method"].startswith("textDocument/") and isinstance(options, dict | None):
            own = (options or {}).get("documentSelector") or registrations.selector(server.plan.language_ids)
            registration["registerOptions"] = {**(options or {}), "documentSelector": own}
    return wire.dumps({**wire.fields(body), "params": params})


def _triggered(server: WrappedServer, context: Json) -> bool:
    """Whether a server asked for completion here: the editor knows the trigger characters of all of them together."""
    if at(context, "triggerKind") != TRIGGER_CHARACTER or server.state is not State.RUNNING:
        return True
    options = server.provider("completionProvider", COMPLETION)
    return at(context, "triggerCharacter") in (at(options, "triggerCharacters") or ())


def _can(server: WrappedServer, method: str, route: Route) -> bool:
    running = server.state is State.RUNNING
    return running and (not route.provider or server.provider(route.provider, method) is not None)
