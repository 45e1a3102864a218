"""A server a language, or several for one: each request goes to those that can answer it, and several answers become one."""

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
from lsp_server.routing.requests import Requests
from lsp_server.routing.semantic_tokens import DELTA, FULL, SemanticTokens
from lsp_server.routing.table import OTHER, ROUTES, For
from lsp_server.routing.targets import FILE_OPERATIONS, FOLDERS, WATCHED, Targets
from lsp_server.servers import configuration
from lsp_server.servers.pool import Pool
from lsp_server.servers.server import State, WrappedServer

FIRST_PATIENCE = 15.0  # seconds that the answer to initialize waits for servers which an editor must hear of in it
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
                    f"{server.key}: `only` and `without` name methods that LSP does not have: {', '.join(sorted(unknown))}."
                )
        self._news = asyncio.Event()  # set, and replaced, when a server has started or will not

    async def initialize(self, id: Id) -> bytes:
        """At once where the editor takes registrations later; else with the workspace's servers merged."""
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
        """To the servers that the table names: one gets the bytes as they came, several answer as one."""
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
            raise wire.Malformed(f"{method} takes an object")
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
            self._requests.reply(id, self._nobody(id, method, params))

    async def _when_ready(self, id: Id, method: str, body: bytes, params: Raw) -> bytes:
        """The reply to a request that no server can answer yet: one that starts may be able to."""
        given, route = wire.loads(params), ROUTES.get(method, OTHER)
        while not (servers := self._targets.of_request(method, given)):
            if self._state.ending or not self._targets.waking(route, given):
                return self._nobody(id, method, params)
            await self._news.wait()
        answer = self._answer(id, method, body, params, servers)
        return await (self._requests.ask(id, servers[0], body) if answer is None else answer)

    def _answer(
        self, id: Id, method: str, body: bytes, params: Raw, servers: Servers
    ) -> Coroutine[Any, Any, bytes] | None:
        """How the reply is made; None where it is one server's own, byte for byte, or there is no server."""
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

    def _nobody(self, id: Id, method: str, params: Raw) -> bytes:
        """The reply where no server can answer: nothing, if the editor had to expect an answer; else why not."""
        if self._state.ending:
            return wire.failure(id, wire.REQUEST_CANCELLED, "the session is ending")
        route = ROUTES.get(method, OTHER)
        if route.target is For.COMMAND:
            command = at(wire.loads(params), "command")
            return wire.failure(id, wire.INVALID_PARAMS, f"no wrapped server has the command {command!r}")
        if route.target is For.ITEM:
            return wire.failure(id, wire.INVALID_PARAMS, f"{method}: no wrapped server made this item, or it is gone")
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
        """Nothing is sent on before it is known which servers it is for."""

    def initialized(self, body: bytes) -> None:
        """Each server gets its own when it has started; the editor gets the registrations that need no server."""
        self._announcer.renew()

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
        """For the servers that want a changed text whole."""
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
        """Of files and folders to the servers that asked to hear of them, anything else to all."""
        for server in self._pool:
            if server.state is not State.RUNNING:
                continue
            if method == FOLDERS and not self._targets.hears_of_folders(server):
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
        params = wire.params_of(envelope)
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
        elif envelope.method == configuration.METHOD and configuration.has_settings(server.plan):
            return self._configuration(server, body, envelope)
        else:
            return server_messages.for_editor(server, body, envelope)
        server.send(wire.response(wire.id_of(envelope), None))
        return None

    def _configuration(self, server: WrappedServer, body: bytes, envelope: Envelope) -> bytes | None:
        """Put a server's workspace/configuration to an editor that takes it; else answer from what the editor has sent."""
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
        """Register what it offers, and have the editor ask again for what only requests bring."""
        self._announcer.changed(server)
        self._tell_waiting()
        abilities = self._announcer.abilities(server)
        if abilities is not None:
            for method in refresh_requests(abilities, self._state.client_capabilities):
                self._ask_editor(method)

    def lost(self, server: WrappedServer) -> None:
        """Take back what it published; what it registered only where it is not started again by itself."""
        self._answering.late.forget(server)
        self._pulled.forget(server.key)
        for body in self._published.forget(server.key):
            self._editor.send(body)
        asyncio.get_running_loop().call_soon(self._settled, server)

    def failed(self, server: WrappedServer) -> None:
        """It does not start."""
        asyncio.get_running_loop().call_soon(self._settled, server)

    def _settled(self, server: WrappedServer) -> None:
        if server.state in (State.IDLE, State.FAILED):
            had = self._announcer.abilities(server)
            self._announcer.left(server)
            if had is not None and not self._state.ending:
                self._refresh(DIAGNOSTIC)
        self._tell_waiting()

    def _tell_waiting(self) -> None:
        """Requests that wait for a server look again."""
        self._news.set()
        self._news = asyncio.Event()

    def _refresh(self, method: str) -> None:
        request = refresh_request(method, self._state.client_capabilities)
        if request:
            self._ask_editor(request)

    def _ask_editor(self, method: str) -> None:
        """Send a request whose reply says nothing, after the registrations that are due."""
        body = wire.request(f"starling-refresh:{next(self._count)}", method, None)
        asyncio.get_running_loop().call_soon(self._editor.send, body)
