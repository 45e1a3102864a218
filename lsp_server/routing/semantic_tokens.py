"""Handles semantic tokens for documents with several wrapped servers.

A delta request goes only to the process that returned the result id. Any other process is asked for all tokens, which
is a valid answer to a delta request (LSP 3.18, "Semantic Tokens").
"""

from __future__ import annotations

import msgspec

from lsp_server.documents.uris import key_of
from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Id
from lsp_server.protocol.capabilities import at
from lsp_server.routing.abilities import Abilities
from lsp_server.routing.requests import Requests
from lsp_server.routing.table import ROUTES
from lsp_server.servers.server import WrappedServer

FULL = "textDocument/semanticTokens/full"
DELTA = f"{FULL}/delta"


class _Tokens(msgspec.Struct, rename="camel"):
    result_id: str | None = None


class SemanticTokens:
    """Remembers for each document which process returned the last result id."""

    def __init__(self) -> None:
        self._given: dict[
            str, tuple[WrappedServer, int, str]
        ] = {}  # by document key: server, generation of its process, result id

    async def reply(
        self, requests: Requests, id: Id, body: bytes, server: WrappedServer, abilities: Abilities | None, uri: str
    ) -> bytes:
        """Return the server's response to a request for all tokens, or for the changes since a result id."""
        members = wire.fields(body)
        if wire.loads(members["method"]) == DELTA:
            params = wire.fields(members["params"])
            previous = wire.loads(params.pop("previousResultId", msgspec.Raw(b"null")))
            known = self._given.get(key_of(uri)) == (server, server.names.generation, previous)
            if not known or abilities is None or not _has_delta(abilities):
                body = wire.dumps({**members, "method": FULL, "params": params})
        reply = await requests.ask(id, server, body)
        self._note(reply, server, uri)
        return reply

    def forget_document(self, uri: str) -> None:
        self._given.pop(key_of(uri), None)

    def _note(self, reply: bytes, server: WrappedServer, uri: str) -> None:
        result = wire.fields(reply).get("result", msgspec.Raw(b"null"))
        if bytes(memoryview(result)[:8]).strip() == b"null":
            return
        id = wire.read(result, _Tokens).result_id
        if id is not None:
            self._given[key_of(uri)] = server, server.names.generation, id


def _has_delta(abilities: Abilities) -> bool:
    return any(at(options, "full", "delta") for options in abilities.options_of(ROUTES[FULL]))
