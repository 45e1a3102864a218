"""A session's life: initialize, shutdown, exit, and an editor that goes without a word. One wrapped server's is `wrapped`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Envelope, Id, Json
from lsp_server.protocol import capabilities, registrations
from lsp_server.servers.backend import BackendError, BackendExited, BackendRefused
from lsp_server.servers.presets import UnknownPreset
from lsp_server.servers.wrapped_server import SHUTDOWN_PATIENCE, State, Wrapped, last_words

if TYPE_CHECKING:
    from lsp_server.session.session import Session

log = logging.getLogger(__name__)

END_PATIENCE = 15.0  # seconds for all processes to end
NO_TOKEN = (
    'This server asks for the token that it printed at its start: initializationOptions {"starling": {"token": "…"}}.'
)
FIRST_PATIENCE = 3.0  # seconds that the answer to initialize waits for servers which an editor must hear of in it


class Lifecycle:
    """Begins and ends one session."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.ending: asyncio.Task[None] | None = None
        self._dropped: list[Awaitable[None]] = []  # ends of servers that an initialize which failed had started

    async def initialize(self, id: Id, body: bytes, envelope: Envelope) -> bytes:
        """Answer with what the wrapped server says and what we add; for several servers, see `announcing`."""
        from lsp_server.session.session import Phase

        try:
            reply = await self._initialize(id, body)
        except Exception:
            self.undo_initialize()
            raise
        if "error" in wire.fields(reply):
            self.undo_initialize()
        else:
            self.session.phase = Phase.RUNNING
            asyncio.get_running_loop().call_soon(self.session.ranker.start)  # after this reply is on its way
        return reply

    def undo_initialize(self) -> None:
        """It was refused or cancelled: its servers end, and the client may try again (LSP 3.17)."""
        from lsp_server.session.session import Phase

        self._dropped += [server.end() for server in self.session.fleet.dropped()]
        self.session.phase = Phase.NEW

    async def _initialize(self, id: Id, body: bytes) -> bytes:
        session = self.session
        params = wire.fields(body).get("params", wire.raw(None))
        decoded = wire.loads(params)
        if not isinstance(decoded, dict):
            return wire.failure(id, wire.INVALID_PARAMS, "initialize takes an object")
        session.client_capabilities = decoded.get("capabilities") or {}
        session.roots = _roots(decoded)
        given = capabilities.at(decoded, "initializationOptions", capabilities.KEY)
        if not session.admission.ask(given):
            log.warning("a client is refused: it has not the token")
            asyncio.get_running_loop().call_soon(session.closed_by_client)  # after our reply
            return wire.failure(id, wire.INVALID_REQUEST, NO_TOKEN)
        session.client.admitted()
        if isinstance(given, dict):
            given = {name: value for name, value in given.items() if name != "token"}
        session.configure(given, trusted=session.admission.trusting, origin="a client on a socket")
        session.ranker.settings = session.settings
        try:
            session.fleet.choose()
        except UnknownPreset as error:
            session.show(str(error), kind=1)
        one = session.fleet.one
        session.server_params = capabilities.server_params(params, encodings=() if one is not None else ("utf-16",))
        return await (self._several(id) if one is None else self._one(id, one))

    async def _one(self, id: Id, server: Wrapped) -> bytes:
        """The wrapped server's own result, with what Starling adds."""
        try:
            result = wire.loads(await server.start(self.session.server_params))
        except BackendRefused as error:
            return wire.dumps({"jsonrpc": "2.0", "id": id, "error": error.error})
        except BackendExited as error:
            self.session.show(f"{error}. {last_words(error)}", kind=1)
            return wire.failure(id, wire.REQUEST_FAILED, str(error))
        except BackendError as error:
            self.session.show(str(error), kind=1)
            return wire.response(id, capabilities.announced({}))
        self.session.documents.encoding = server.encoding
        server.state = State.RUNNING
        return wire.response(id, capabilities.announced(result))

    async def _several(self, id: Id) -> bytes:
        """At once where the editor takes registrations later; else with the workspace's servers merged."""
        session = self.session
        results: list[Json] = []
        if registrations.needs_servers_first(session.client_capabilities):
            servers = session.fleet.of_workspace(session.roots)
            for server in servers:
                server.wake()
            answers = await asyncio.gather(*(server.answer(FIRST_PATIENCE) for server in servers))
            results = [answer for answer in answers if answer is not None] or [registrations.ANY]
        triggers = session.fleet.trigger_characters
        return wire.response(id, registrations.merged_result(results, session.client_capabilities, triggers))

    async def shutdown(self, id: Id, body: bytes) -> bytes:
        """The one wrapped server's own answer to shutdown; ours where it is gone or silent, or there are several."""
        one = self.session.fleet.one
        if one is None:
            await asyncio.gather(*(server.stop() for server in self.session.fleet))
        elif one.state is State.RUNNING and one.alive:
            try:
                return await asyncio.wait_for(self.session.ask(id, one, body), SHUTDOWN_PATIENCE)
            except TimeoutError:
                return wire.response(id, None)
        return wire.response(id, None)

    def exit(self) -> None:
        """End everything; the exit code is 0 after a shutdown and 1 without (LSP 3.17)."""
        from lsp_server.session.session import Phase

        self._end_with(0 if self.session.phase is Phase.SHUT_DOWN else 1)

    def abandon(self) -> None:
        """The editor has gone: children end now."""
        self._end_with(1)

    def _end_with(self, code: int) -> None:
        if self.ending is None:
            self.ending = asyncio.get_running_loop().create_task(self._end(code))

    async def _end(self, code: int) -> None:
        session = self.session
        try:
            async with asyncio.timeout(END_PATIENCE):
                await session.drop_requests()  # initialize may be starting a server
                ends = [server.end() for server in session.fleet]
                await asyncio.gather(session.ranker.stop(), *ends, *self._dropped, return_exceptions=True)
        except TimeoutError:
            log.error("some process did not end in %g s; it is killed as we end", END_PATIENCE)
        finally:
            session.client.close(code)


def _roots(params: Json) -> list[str]:
    """The workspace's folders as URIs."""
    folders = params.get("workspaceFolders") or ()
    uris = [folder["uri"] for folder in folders if isinstance(folder, dict) and "uri" in folder]
    return uris or [uri for uri in (params.get("rootUri"),) if isinstance(uri, str)]
