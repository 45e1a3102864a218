"""The mode with one or more wrapped servers per language.

Routes each request to the servers that support it, and merges their answers.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

import msgspec

from lsp_server.documents import synchronisation
from lsp_server.documents.editor_state import EditorState
from lsp_server.documents.positions import Encoding
from lsp_server.documents.texts import CHANGE, CLOSE, OPEN, SAVE, WILL_SAVE
from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Envelope, Id, Json
from lsp_server.protocol.capabilities import at, document_of
from lsp_server.protocol.editor_link import EditorLink
from lsp_server.routing import provenance, registrations, server_messages
from lsp_server.routing.announcer import Announcer, refresh_request, refresh_requests
from lsp_server.routing.answering import Answering
from lsp_server.routing.diagnostic_requests import DIAGNOSTIC, WORKSPACE_DIAGNOSTIC, DiagnosticRequests
from lsp_server.routing.diagnostics import PUBLISH, PublishedDiagnostics
from lsp_server.routing.pulled_diagnostics import PulledDiagnostics
from lsp_server.routing.registrations import WATCHED
from lsp_server.routing.requests import Requests
from lsp_server.routing.semantic_tokens import DELTA, FULL, SemanticTokens
from lsp_server.routing.table import OTHER, ROUTES, For
from lsp_server.routing.targets import FILE_OPERATIONS, FOLDERS, Targets
from lsp_server.servers import configuration
from lsp_server.servers.pool import Pool
from lsp_server.servers.server import State, WrappedServer

FIRST_PATIENCE = 15.0  # seconds that initialize waits for servers, if the editor does not support dynamic registration
CODE_ACTION = "textDocument/codeAction"

Raw = msgspec.Raw
Servers = Sequence[WrappedServer]


class ManyServers:
    encodings: Sequence[Encoding] = ("utf-16",)
    marks_lists = True

    def __init__(self, pool: Pool, *, state: EditorState, requests: Requests, editor: EditorLink) -> None:
        self._pool, self._state, self._requests, self._editor = pool, state, requests, editor
        self._published = PublishedDiagnostics(state.documents.spelled)
        self._pulled = PulledDiagnostics()
        self._tokens = SemanticTokens()
        self._announcer = Announcer(pool, state, editor)
        self._targets = Targets(pool, state, self._announcer)
        self._answering = Answering(
            requests,
            refresh=self._refresh,
            can_refresh=lambda method: bool(refresh_request(method, state.client_capabilities)),
            text_version=state.documents.changes_of,
        )
        self._diagnostics = DiagnosticRequests(self._answering, self._announcer, self._published, self._pulled)
        self._count = itertools.count(1)
        for server in pool:
            unknown = [*map(repr, {*server.plan.given.only, *server.plan.given.without} - {*ROUTES, PUBLISH})]
            if unknown:
                editor.show(
                    f"{server.key}: `only` and `without` contain unknown LSP methods: {', '.join(sorted(unknown))}."
                )
        self._news = asyncio.Event()  # set and replaced when a server has started or failed to start

    async def initialize(self, id: Id) -> bytes:
        """Answer at once if the editor supports dynamic registration.

        If it does not, wait for the workspace's servers and merge their capabilities into the response.
        """
        client = self._state.client_capabilities
        results: list[Json] = []
        if registrations.needs_servers_first(client):
            servers = [server for server in self._pool.of_workspace(self._state.roots) if server.is_installed]
            for server in servers:
                server.wake()
            answers = await asyncio.gather(*(server.answer(FIRST_PATIENCE) for server in servers))
            results = [answer for answer in answers if answer is not None]
            slow = [server for server, answer in zip(servers, answers, strict=True) if answer is None]
            if not results or any(server.state is State.STARTING for server in slow):
                results.append(registrations.ANY)
        result = registrations.merged_result(results, client, self._pool.trigger_characters)
        self._announcer.answered(at(result, "capabilities"))
        return wire.response(id, result)

    async def shutdown(self, id: Id, body: bytes) -> bytes:
        self._tell_waiting()
        await asyncio.gather(*(server.stop() for server in self._pool))
        return wire.response(id, None)

    # Requests

    def request(self, id: Id, method: str, body: bytes, envelope: Envelope) -> None:
        """Send a request to the servers that the table selects.

        A single server gets the original bytes. The answers of several servers are merged.
        """
        route = ROUTES.get(method, OTHER)
        params = wire.params_of(envelope)
        if route.target is For.ITEM:
            key, params = provenance.unmarked(params, route.item)
            server = self._pool.by_key(key)
            body = wire.dumps({**wire.fields(body), "params": params})
            self._ask(id, method, body, params, [] if server is None else [server])
            return
        given = wire.loads(params)
        if method in ROUTES and not wire.is_object(given):
            raise wire.Malformed(f"the params of {method} must be an object")
        servers = self._targets.of_request(method, given)
        if not servers and self._targets.waking(route, given):
            self._requests.run(id, self._when_ready(id, method, body, params))
        else:
            self._ask(id, method, body, params, servers)

    def _ask(self, id: Id, method: str, body: bytes, params: Raw, servers: Servers) -> None:
        answer = self._answer(id, method, body, params, servers)
        if answer is not None:
            self._requests.run(id, answer)
        elif servers:
            self._requests.forward(id, servers[0], body)
        else:
            self._requests.reply(id, self._unanswerable(id, method, params))

    async def _when_ready(self, id: Id, method: str, body: bytes, params: Raw) -> bytes:
        """Return the response to a request that no running server can answer. Waits for servers that are starting."""
        given, route = wire.loads(params), ROUTES.get(method, OTHER)
        while not (servers := self._targets.of_request(method, given)):
            if self._state.ending or not self._targets.waking(route, given):
                return self._unanswerable(id, method, params)
            await self._news.wait()
        answer = self._answer(id, method, body, params, servers)
        return await (self._requests.ask(id, servers[0], body) if answer is None else answer)

    def _answer(
        self, id: Id, method: str, body: bytes, params: Raw, servers: Servers
    ) -> Coroutine[Any, Any, bytes] | None:
        """Return a coroutine that makes the response.

        Returns None if there is no server, or if one server's response is forwarded unchanged.
        """
        if not servers:
            return None
        uri = document_of(wire.loads(params)) or ""
        several = len(self._pool.of_document(uri) if uri else self._pool.servers) > 1
        if method in (DIAGNOSTIC, WORKSPACE_DIAGNOSTIC):
            sources = self._diagnostics.sources(method, servers, uri, self._state.language_of(uri) if uri else "")
            if several or any(len(own) > 1 for own in sources.values()):
                return self._diagnostics.reply(id, method, body, wire.fields(params), sources, uri)
        if several and method in (FULL, DELTA):
            abilities = self._announcer.abilities(servers[0])
            return self._tokens.reply(self._requests, id, body, servers[0], abilities, uri)
        own_params = method in FILE_OPERATIONS or (several and method == CODE_ACTION)
        if len(servers) == 1 and ROUTES.get(method, OTHER).marks is None and not own_params:
            return None

        def params_for(server: WrappedServer) -> Mapping[str, Raw]:
            given = wire.fields(params)
            if not own_params:
                return given
            if method == CODE_ACTION:
                return self._diagnostics.own_context(server, given, uri)
            return self._targets.own_files(server, method, given)

        return self._answering.reply(id, method, body, servers, params_for, uri)

    def _unanswerable(self, id: Id, method: str, params: Raw) -> bytes:
        """Return the response if no server can answer.

        It is null if the method was announced to the editor, and an error with the reason if it was not.
        """
        if self._state.ending:
            return wire.failure(id, wire.REQUEST_CANCELLED, "the session is ending")
        route = ROUTES.get(method, OTHER)
        if route.target is For.COMMAND:
            command = at(wire.loads(params), "command")
            return wire.failure(id, wire.INVALID_PARAMS, f"no wrapped server has the command {command!r}")
        if route.target is For.ITEM:
            return wire.failure(
                id, wire.INVALID_PARAMS, f"{method}: no wrapped server has made this item, or that server is gone"
            )
        failed = [one for one in self._targets.candidates(route, wire.loads(params)) if one.state is State.FAILED]
        if failed and not failed[0].is_missing:
            return wire.failure(id, wire.REQUEST_FAILED, failed[0].why_not)
        if self._announcer.announced(method):
            return wire.response(id, None)
        return wire.failure(id, wire.METHOD_NOT_FOUND, f"no wrapped server answers {method} here")

    def completion_targets(self, where: Json, context: Json) -> list[WrappedServer]:
        return self._targets.of_completion(where, context)

    def server_of_item(self, key: str | None) -> WrappedServer | None:
        return self._pool.by_key(key)

    # Documents

    def sent_first(self, method: str, body: bytes, params: Raw) -> None:
        """Do nothing: a notification is sent only when it is known which servers it is for."""

    def initialized(self, body: bytes) -> None:
        """Send the registrations that need no server. Each server gets its own `initialized` when it has started."""
        self._announcer.renew()

    def opening(self, body: bytes, params: Json) -> tuple[bytes, Json]:
        """Replace a languageId that no server knows by one that is inferred from the file name.

        Some editors send "js".
        """
        item = params["textDocument"]
        language_id = self._pool.known_id(item.get("languageId", ""), str(item.get("uri")))
        if language_id == item.get("languageId"):
            return body, params
        params = {**params, "textDocument": {**item, "languageId": language_id}}
        return wire.dumps({**wire.fields(body), "params": params}), params

    def text(self, method: str, body: bytes, params: Json, *, cell: bool) -> None:
        """Send a notification to the document's servers, in the form that each server asked for."""
        uri = str(document_of(params))
        language_id = params["textDocument"].get("languageId") if method == OPEN else self._state.language_of(uri)
        for server in self._pool:
            if not server.is_for(uri, language_id) or (cell and server.announced.knows_notebooks):
                continue
            if method == OPEN:
                server.tell_open(uri, body)
            elif method == CLOSE:
                server.tell_close(uri, body)
            elif method == CHANGE:
                if server.announced.sync_kind == synchronisation.INCREMENTAL:
                    server.tell_change(lambda: uri, body)
            elif method not in (SAVE, WILL_SAVE):
                server.tell(body)
            elif self._targets.hears_of_saving(server, method, uri):
                document = (
                    self._state.documents.get(uri) if method == SAVE and self._targets.wants_text(server) else None
                )
                server.tell(body if document is None else synchronisation.with_text(body, params, document))

    def followed(self, method: str, params: Json) -> None:
        uri = str(document_of(params))
        if method == OPEN:
            self._pool.opened(uri, params["textDocument"].get("languageId", ""))
        elif method == CLOSE:
            self._pool.closed()
            self._pulled.forget_document(uri)
            self._tokens.forget_document(uri)
            self._answering.late.forget_document(uri)
        elif method == CHANGE:
            self._whole_text(params)

    def _whole_text(self, params: Json) -> None:
        """Send the whole text after a change to the servers that asked for full synchronization."""
        document = self._state.documents.get(params["textDocument"]["uri"])
        if document is None:
            return
        for server in self._pool.of_document(document.uri):
            if server.state is State.RUNNING and server.announced.sync_kind == synchronisation.FULL:
                server.tell_change(lambda: document.uri, document.whole_change(params))

    def notebook(self, body: bytes) -> None:
        for server in self._pool:
            if server.announced.knows_notebooks:
                server.tell(body)

    def tell(self, method: str, body: bytes, params: Raw) -> None:
        """Send a notification to every server.

        If it is about files or folders, send it to the servers that asked for it.
        """
        for server in self._pool:
            if server.state is not State.RUNNING:
                continue
            if method == FOLDERS and (server.plan.folder is not None or not self._targets.hears_of_folders(server)):
                continue
            if method == configuration.CHANGED:
                server.tell(configuration.changed(server.plan, body) or body)
            elif method == WATCHED or method in FILE_OPERATIONS:
                own = self._targets.own_files(server, method, wire.fields(params))
                if own:
                    server.tell(wire.dumps({**wire.fields(body), "params": own}))
            else:
                server.tell(body)

    # From servers

    def from_server(self, server: WrappedServer, body: bytes, envelope: Envelope) -> bytes | None:
        params, answer = wire.params_of(envelope), None
        if envelope.method == PUBLISH:
            if not server.plan.answers(PUBLISH):
                return None
            return self._published.published(server.key, body, params)
        if envelope.method == "client/registerCapability":
            self._announcer.register(server, params)
        elif envelope.method == "client/unregisterCapability":
            self._announcer.unregister(server, params)
        elif envelope.method == "$/progress" and server_messages.is_anothers_progress(server, envelope, self._pool):
            return None
        elif envelope.method == "workspace/workspaceFolders" and server.plan.folder is not None:
            answer = configuration.workspace_folders(server.plan.folder)
        elif envelope.method == configuration.METHOD and configuration.has_settings(server.plan):
            return self._configuration(server, body, envelope)
        else:
            return server_messages.for_editor(server, body, envelope)
        server.send(wire.response(wire.id_of(envelope), answer))
        return None

    def _configuration(self, server: WrappedServer, body: bytes, envelope: Envelope) -> bytes | None:
        """Forward a server's workspace/configuration.

        If the editor does not support it, answer with its last configuration.
        """
        sections = configuration.sections_of(wire.params_of(envelope))
        if at(self._state.client_capabilities, "workspace", "configuration"):

            def rewrite(reply: bytes) -> bytes:
                return configuration.answer(server.plan, sections, reply)

            return wire.with_id(body, server.names.ask(wire.id_of(envelope), configuration.METHOD, rewrite))
        server.send(
            wire.response(
                wire.id_of(envelope), configuration.of_sections(server.plan, sections, self._state.configuration)
            )
        )
        return None

    def ready(self, server: WrappedServer) -> None:
        """Register the server's capabilities, and send the refresh requests for them."""
        self._announcer.changed(server)
        self._tell_waiting()
        abilities = self._announcer.abilities(server)
        if abilities is not None:
            for method in refresh_requests(abilities, self._state.client_capabilities):
                self._ask_editor(method)

    def lost(self, server: WrappedServer) -> None:
        """Remove the server's diagnostics. Its registrations are removed only if it does not restart by itself."""
        self._answering.late.forget(server)
        self._pulled.forget(server.key)
        for body in self._published.forget(server.key):
            self._editor.send(body)
        asyncio.get_running_loop().call_soon(self._settled, server)

    def failed(self, server: WrappedServer) -> None:
        """Remove the registrations of a server that can't be started."""
        asyncio.get_running_loop().call_soon(self._settled, server)

    def _settled(self, server: WrappedServer) -> None:
        if server.state in (State.IDLE, State.FAILED):
            had = self._announcer.abilities(server)
            self._announcer.left(server)
            if had is not None and not self._state.ending:
                self._refresh(DIAGNOSTIC)
        self._tell_waiting()

    def _tell_waiting(self) -> None:
        """Wake the requests that wait for a server."""
        self._news.set()
        self._news = asyncio.Event()

    def _refresh(self, method: str) -> None:
        request = refresh_request(method, self._state.client_capabilities)
        if request:
            self._ask_editor(request)

    def _ask_editor(self, method: str) -> None:
        """Send a request to the editor after the registrations that are due. Its response is ignored."""
        body = wire.request(f"starling-refresh:{next(self._count)}", method, None)
        asyncio.get_running_loop().call_soon(self._editor.send, body)
