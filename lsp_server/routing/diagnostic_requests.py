"""Handles pulled diagnostics and code actions for documents with several wrapped servers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import msgspec

from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Id
from lsp_server.routing.announcer import Announcer
from lsp_server.routing.answering import Answering, Results, Unanswered
from lsp_server.routing.diagnostics import PublishedDiagnostics, among
from lsp_server.routing.pulled_diagnostics import PulledDiagnostics, Source
from lsp_server.routing.table import ROUTES
from lsp_server.servers.server import WrappedServer

DIAGNOSTIC, WORKSPACE_DIAGNOSTIC = "textDocument/diagnostic", "workspace/diagnostic"

Raw = msgspec.Raw
Params = dict[str, Raw]
Servers = Sequence[WrappedServer]
Sources = Mapping[WrappedServer, Sequence[Source]]


class DiagnosticRequests:
    """Knows which diagnostics each server reported for each document, published or pulled."""

    def __init__(
        self, answering: Answering, announcer: Announcer, published: PublishedDiagnostics, pulled: PulledDiagnostics
    ) -> None:
        self._answering, self._announcer, self._published, self._pulled = answering, announcer, published, pulled

    def sources(self, method: str, servers: Servers, uri: str = "", language_id: str = "") -> Sources:
        """Return each server's sources of reports, one for each `identifier` that it announced.

        uri, language_id: return only the sources for this document.
        """
        found: dict[WrappedServer, list[Source]] = {}
        for server in servers:
            abilities, route = self._announcer.abilities(server), ROUTES[method]
            own = [] if abilities is None else abilities.identifiers(route, uri or None, language_id)
            found[server] = [Source(server.key, identifier) for identifier in own] or [Source(server.key)]
        return found

    async def reply(self, id: Id, method: str, body: bytes, params: Params, sources: Sources, uri: str) -> bytes:
        """Return the response to textDocument/diagnostic for a document, or to workspace/diagnostic."""

        def params_for(source: Source) -> Params:
            if method == DIAGNOSTIC:
                return self._pulled.document_params(source, uri, params)
            return self._pulled.workspace_params(source, params)

        try:
            found = await self._found(id, method, body, sources, params_for, uri)
        except Unanswered as unanswered:
            return unanswered.reply
        if method == DIAGNOSTIC:
            return wire.response(id, self._pulled.document_report(uri, params, found))
        return wire.response(id, self._pulled.workspace_report(params, found))

    async def _found(
        self,
        id: Id,
        method: str,
        body: bytes,
        sources: Sources,
        params_for: Callable[[Source], Params],
        uri: str,
    ) -> list[tuple[Source, Raw | None]]:
        """Return each source's result; None if it failed or timed out. Raises Unanswered if there is no result at all.

        A server with several identifiers gets one request for each, all at the same time.
        """

        async def results(number: int) -> Results:
            servers = [server for server, own in sources.items() if number < len(own)]
            return await self._answering.results(
                id, method, body, servers, lambda server: params_for(sources[server][number]), uri, again=number > 0
            )

        numbers = range(max(map(len, sources.values()), default=1))
        done = await asyncio.gather(*map(results, numbers), return_exceptions=True)
        failures = [each for each in done if isinstance(each, BaseException)]
        unexpected = [each for each in failures if not isinstance(each, Unanswered)]
        if unexpected or len(failures) == len(done):
            raise (unexpected or failures)[0]
        found = {
            sources[server][number]: result
            for number, results_of in enumerate(done)
            if not isinstance(results_of, BaseException)
            for server, result in results_of
        }
        return [(source, found.get(source)) for own in sources.values() for source in own]

    def own_context(self, server: WrappedServer, params: Params, uri: str) -> Params:
        """Return the params of a code action with only the diagnostics that this server made."""
        context = wire.fields(params["context"]) if "context" in params else {}
        if "diagnostics" not in context:
            return params
        own = [*self._published.items_of(server.key, uri), *self._pulled.items_of(server.key, uri)]
        context["diagnostics"] = wire.raw(among(wire.read(context["diagnostics"], list[Raw]), own))
        return {**params, "context": wire.raw(context)}
