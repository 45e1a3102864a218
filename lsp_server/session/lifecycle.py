"""Handles initialize, and ends every process when the session ends.

`servers.server` starts and ends one wrapped server.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import Protocol

from lsp_server.documents.editor_state import EditorState
from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Id, Json
from lsp_server.protocol import capabilities
from lsp_server.protocol.editor_link import EditorLink
from lsp_server.ranking.ranker_client import RankerClient
from lsp_server.routing.many_servers import ManyServers
from lsp_server.routing.mode import Mode
from lsp_server.routing.one_command import OneCommand
from lsp_server.routing.requests import Requests
from lsp_server.servers.pool import Pool
from lsp_server.session.authentication import Authentication

log = logging.getLogger(__name__)

END_PATIENCE = 15.0  # seconds to wait until all processes have ended
NO_TOKEN = 'Starling printed a token when it started. Send it in initialize, as initializationOptions {"starling": {"token": "…"}}.'


class Host(EditorLink, Protocol):
    """The part of the session that its lifecycle uses."""

    @property
    def authentication(self) -> Authentication: ...
    @property
    def client(self) -> AuthenticatedClient: ...
    def configure(self, given: Json, *, trusted: bool, origin: str) -> None: ...
    def set_mode(self, mode: Mode) -> None: ...
    def abort(self) -> None: ...
    def close(self, code: int) -> None: ...


class AuthenticatedClient(Protocol):
    def authenticated(self) -> None:
        """The client sent the right token."""
        ...


class Lifecycle:
    """Initializes and ends one session."""

    def __init__(self, state: EditorState, pool: Pool, requests: Requests, ranker: RankerClient, host: Host) -> None:
        self._state, self._pool, self._requests, self._ranker, self._host = state, pool, requests, ranker, host
        self._ending: asyncio.Task[None] | None = None
        self._stopping: list[Awaitable[None]] = []  # servers that a failed initialize had started

    async def initialize(self, id: Id, body: bytes) -> bytes:
        """Check the token, take the settings, choose the mode, and return its response (a message)."""
        host, state = self._host, self._state
        params = wire.fields(body).get("params", wire.raw(None))
        decoded = wire.loads(params)
        if not wire.is_object(decoded):
            return wire.failure(id, wire.INVALID_PARAMS, "the params of initialize must be an object")
        state.client_capabilities = decoded.get("capabilities") or {}
        state.roots = _roots(decoded)
        given = capabilities.at(decoded, "initializationOptions", capabilities.KEY)
        if not host.authentication.check(given):
            log.warning("refused a client that did not send the right token")
            asyncio.get_running_loop().call_soon(host.abort)  # after the reply is sent
            return wire.failure(id, wire.INVALID_REQUEST, NO_TOKEN)
        host.client.authenticated()
        if wire.is_object(given):
            given = {name: value for name, value in given.items() if name != "token"}
        host.configure(given, trusted=host.authentication.trusted, origin="a client on a socket")
        self._ranker.settings = state.settings
        for problem in self._pool.choose():
            host.show(problem)
        mode = self._mode()
        state.server_params = capabilities.server_params(params, encodings=mode.encodings)
        host.set_mode(mode)
        return await mode.initialize(id)

    def _mode(self) -> Mode:
        one = self._pool.one
        if one is not None:
            return OneCommand(one, state=self._state, requests=self._requests, editor=self._host)
        return ManyServers(self._pool, state=self._state, requests=self._requests, editor=self._host)

    def drop_servers(self) -> None:
        """End the servers that a failed initialize started."""
        self._stopping += [server.end() for server in self._pool.dropped()]

    def end(self, code: int) -> None:
        """End every process, then the session. `code` is the exit code. A second call does nothing."""
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._end(code))

    async def _end(self, code: int) -> None:
        try:
            async with asyncio.timeout(END_PATIENCE):
                await self._requests.drop()  # initialize may be starting a server
                ends = [server.end() for server in self._pool]
                await asyncio.gather(self._ranker.stop(), *ends, *self._stopping, return_exceptions=True)
        except TimeoutError:
            log.error("some process did not end within %g s; it is killed when Starling exits", END_PATIENCE)
        finally:
            self._host.close(code)


def _roots(params: dict[str, Json]) -> list[str]:
    """The URIs of the workspace's folders, from workspaceFolders or rootUri. Raises Malformed."""
    folders: Json = params.get("workspaceFolders") or []
    if not wire.is_array(folders):
        raise wire.Malformed("workspaceFolders must be an array")
    uris = [str(folder["uri"]) for folder in folders if wire.is_object(folder) and "uri" in folder]
    return uris or [uri for uri in (params.get("rootUri"),) if isinstance(uri, str)]
