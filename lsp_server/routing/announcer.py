"""Keeps the editor's registrations up to date when a wrapped server starts, stops, or changes its capabilities."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from typing import Any

import msgspec

from corpus.syntax.language import languages
from lsp_server.documents.editor_state import EditorState
from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Json
from lsp_server.protocol.capabilities import at
from lsp_server.protocol.editor_link import EditorLink
from lsp_server.routing.abilities import Abilities
from lsp_server.routing.registrations import Wanted, wanted, without
from lsp_server.routing.table import ROUTES, TABLE, Capability
from lsp_server.servers.pool import Pool
from lsp_server.servers.server import WrappedServer

log = logging.getLogger(__name__)

DELETE = 4  # WatchKind
TOKENS = ROUTES["textDocument/semanticTokens/full"]


class _Registration(msgspec.Struct, rename="camel"):
    id: str
    method: str
    register_options: Any = None


class _Registrations(msgspec.Struct):
    registrations: list[_Registration]


class _Unregistration(msgspec.Struct):
    id: str
    method: str


class _Unregistrations(msgspec.Struct):
    unregisterations: list[_Unregistration]  # the specification's own spelling


class Announcer:
    """Tracks the capabilities of each server, as the editor knows them. A server that never ran has none."""

    def __init__(self, pool: Pool, state: EditorState, editor: EditorLink) -> None:
        self._pool, self._state, self._editor = pool, state, editor
        self._abilities: dict[str, Abilities] = {}
        self._registered: dict[str, tuple[str, Wanted]] = {}  # by `Wanted.place`: the id, and the registration
        self._static: Json = {}  # the capabilities in the response to initialize
        self._count = itertools.count(1)

    def answered(self, capabilities: Json) -> None:
        """Remember the capabilities in the response to initialize."""
        self._static = capabilities

    def abilities(self, server: WrappedServer) -> Abilities | None:
        return self._abilities.get(server.key)

    def register(self, server: WrappedServer, params: msgspec.Raw) -> None:
        """Handle a server's client/registerCapability. Raises Malformed."""
        for each in wire.read(params, _Registrations).registrations:
            server.announced.registered[each.id] = each.method, each.register_options
        self.changed(server)

    def unregister(self, server: WrappedServer, params: msgspec.Raw) -> None:
        """Handle a server's client/unregisterCapability. Raises Malformed.

        The id may be that of a registration, or one that the server announced in its initialize result.
        """
        for each in wire.read(params, _Unregistrations).unregisterations:
            if server.announced.registered.pop(each.id, None) is None:
                for row in TABLE:
                    if row.key and at(server.announced.capabilities, *row.key.split("."), "id") == each.id:
                        server.announced.capabilities = without(server.announced.capabilities, row.key)
        self.changed(server)

    def changed(self, server: WrappedServer) -> None:
        """Update the registrations after a server started, or registered or unregistered a capability."""
        self._abilities[server.key] = Abilities.of(server)
        self.renew()

    def left(self, server: WrappedServer) -> None:
        """Remove the registrations of a server that stopped and does not restart by itself."""
        if self._abilities.pop(server.key, None) is not None:
            self.renew()

    def renew(self) -> None:
        """Send the registrations that changed.

        Sends nothing before the editor is initialized or while the session is ending.
        """
        if self._state.initialized.is_set() and not self._state.ending:
            self._renew()

    def announced(self, method: str) -> bool:
        """Whether the editor may send this request for some document.

        It may if a server offers it, or if the response to initialize announced it.
        """
        route = ROUTES.get(method)
        if route is None:
            return False
        return at(self._static, *route.key.split(".")) not in (None, False) or any(
            one.wanted(method) and one.can(route) for one in self._abilities.values()
        )

    def of_legend(self, servers: Sequence[WrappedServer]) -> WrappedServer | None:
        """Return the first of these servers with the semantic token legend that the editor knows.

        Returns None if there is none. Every server matches if the response to initialize had no legend.
        """
        announced = at(self._static, "semanticTokensProvider", "legend")
        for server in servers:
            abilities = self._abilities.get(server.key)
            legends = [] if abilities is None else [options.get("legend") for options in abilities.options_of(TOKENS)]
            if legends and (announced is None or announced in legends):
                return server
        return None

    def _renew(self) -> None:
        new = {each.place: each for each in self._wanted()}
        gone = {place: id for place, (id, old) in self._registered.items() if new.get(place) != old}
        self._ask("client/unregisterCapability", "unregisterations", [
            {"id": id, "method": self._registered.pop(place)[1].method} for place, id in gone.items()
        ])  # fmt: skip
        come = {place: each for place, each in new.items() if place not in self._registered}
        for place, each in come.items():
            self._registered[place] = f"starling:{next(self._count)}:{each.method}", each
        self._ask("client/registerCapability", "registrations", [
            {"id": self._registered[place][0], "method": each.method, "registerOptions": each.options}
            for place, each in come.items()
        ])  # fmt: skip

    def _wanted(self) -> list[Wanted]:
        by_language = {
            language_id: [
                self._abilities[s.key] for s in self._pool.of_language(language_id) if s.key in self._abilities
            ]
            for language_id in {language_id for one in self._abilities.values() for language_id in one.language_ids}
        }
        everyone = [self._abilities[server.key] for server in self._pool if server.key in self._abilities]
        return wanted(by_language, everyone, self._state.client_capabilities, watched_files())

    def _ask(self, method: str, member: str, given: Sequence[Json]) -> None:
        if given:
            self._editor.send(wire.request(f"starling-announce:{next(self._count)}", method, {member: given}))


def watched_files() -> list[Json]:
    """Return watchers for the files that the workspace index contains.

    Of a folder that was deleted, an editor may report the folder alone: deletions of all names are watched.
    """
    suffixes = sorted({suffix.removeprefix(".") for language in languages().values() for suffix in language.extensions})
    return [{"globPattern": f"**/*.{{{','.join(suffixes)}}}"}, {"globPattern": "**/*", "kind": DELETE}]


def refresh_request(method: str, client: Json) -> str:
    """Return the request that makes the editor send a method again; "" if the editor supports none."""
    route = ROUTES.get(method)
    row = next((row for row in TABLE if route is not None and row.key == route.key), None)
    return row.refresh if row is not None and _refreshes(row, client) else ""


def refresh_requests(abilities: Abilities, client: Json) -> list[str]:
    """Return the refresh requests that the editor supports for the capabilities of a server."""
    return [row.refresh for row in TABLE if _refreshes(row, client) and abilities.offers(row)]


def _refreshes(row: Capability, client: Json) -> bool:
    return bool(row.refresh) and bool(at(client, *row.refresh_client.split("."), "refreshSupport"))
