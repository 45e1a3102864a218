"""Requests in which diagnostics go both ways, where a document has several wrapped servers: pulled reports and code actions."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Id
from lsp_server.routing.announcer import Announcer
from lsp_server.routing.answering import Answering, Results, Unanswered
from lsp_server.routing.diagnostics import PublishedDiagnostics, among
from lsp_server.routing.pulled_diagnostics import PulledDiagnostics
from lsp_server.routing.table import ROUTES
from lsp_server.servers.server import WrappedServer

DIAGNOSTIC, WORKSPACE_DIAGNOSTIC = "textDocument/diagnostic", "workspace/diagnostic"

Raw = msgspec.Raw
Params = dict[str, Raw]
Servers = Sequence[WrappedServer]


class DiagnosticRequests:
    """Knows what each server said of each document, pushed or pulled."""

    def __init__(
        self, answering: Answering, announcer: Announcer, published: PublishedDiagnostics, pulled: PulledDiagnostics
    ) -> None:
        self._answering, self._announcer, self._published, self._pulled = answering, announcer, published, pulled

    async def document(self, id: Id, body: bytes, params: Params, servers: Servers, uri: str) -> bytes:
        """The reply to textDocument/diagnostic."""

        def params_for(server: WrappedServer) -> Params:
            return self._pulled.document_params(server.key, uri, params, self._identifier(server))

        try:
            results = await self._answering.results(id, DIAGNOSTIC, body, servers, params_for, uri)
        except Unanswered as unanswered:
            return unanswered.reply
        return wire.response(id, self._pulled.document_report(uri, params, _by_key(results, servers)))

    async def workspace(self, id: Id, body: bytes, params: Params, servers: Servers) -> bytes:
        """The reply to workspace/diagnostic."""

        def params_for(server: WrappedServer) -> Params:
            return self._pulled.workspace_params(server.key, params, self._identifier(server))

        try:
            results = await self._answering.results(id, WORKSPACE_DIAGNOSTIC, body, servers, params_for)
        except Unanswered as unanswered:
            return unanswered.reply
        return wire.response(id, self._pulled.workspace_report(params, _by_key(results, servers)))

    def own_context(self, server: WrappedServer, params: Params, uri: str) -> Params:
        """Params of a code action with those diagnostics alone that the server made."""
        context = wire.fields(params["context"]) if "context" in params else {}
        if "diagnostics" not in context:
            return params
        own = [*self._published.items_of(server.key, uri), *self._pulled.items_of(server.key, uri)]
        context["diagnostics"] = wire.raw(among(wire.read(context["diagnostics"], list[Raw]), own))
        return {**params, "context": wire.raw(context)}

    def _identifier(self, server: WrappedServer) -> str | None:
        abilities = self._announcer.abilities(server)
        given = (
            [] if abilities is None else [each.get("identifier") for each in abilities.options_of(ROUTES[DIAGNOSTIC])]
        )
        return next((each for each in given if isinstance(each, str)), None)


def _by_key(results: Results, servers: Servers) -> list[tuple[str, Raw | None]]:
    """Each server's result by its key; None for one that gave an error, or nothing in time."""
    found = {server.key: result for server, result in results}
    return [(server.key, found.get(server.key)) for server in servers]
