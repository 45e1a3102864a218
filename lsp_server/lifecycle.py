"""The wrapped server's life within a session: initialize, crash and restart, shutdown, exit.

Knows no feature. A crash costs the editor an error reply or a retry, and one message.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

from lsp_server import capabilities, wire
from lsp_server.backend import Backend, BackendError, BackendExited
from lsp_server.presets import UnknownPreset, preset
from lsp_server.routing import SAFE_TO_RETRY
from lsp_server.wire import Envelope, Id, Json

if TYPE_CHECKING:
    from lsp_server.session import Session

log = logging.getLogger(__name__)

BACK_OFF = (0.3, 1.0, 3.0, 10.0, 30.0)  # seconds before each restart; after the last one we give up
STABLE = 180.0  # a server that ran this long starts the count anew
SHUTDOWN_PATIENCE = 5.0
INITIALIZE_AGAIN_PATIENCE = 60.0


class Lifecycle:
    """Starts, restarts and ends the wrapped server of one session."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.why_no_backend = "the wrapped server is not running"
        self.starting_again = False  # between a crash and the moment its documents are open again
        self._initialize_params: dict[str, Any] = {}
        self._configuration: bytes | None = None
        self._crashes = 0
        self._told = False
        self._started = 0.0
        self._restarting: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None

    async def initialize(self, id: Id, body: bytes, envelope: Envelope) -> bytes:
        """Start the wrapped server, let it answer, and answer with what it said and what we add."""
        from lsp_server.session import Phase

        try:
            return await self._initialize(id, body)
        finally:
            if self.session.phase is Phase.STARTING:
                self.session.phase = Phase.NEW  # LSP 3.17: after an error the client may try again

    async def _initialize(self, id: Id, body: bytes) -> bytes:
        from lsp_server.session import Phase

        session = self.session
        params = wire.loads(wire.fields(body).get("params", b"null"))
        if not isinstance(params, dict):
            return wire.failure(id, wire.INVALID_PARAMS, "initialize takes an object")
        session.client_capabilities = params.get("capabilities") or {}
        session.roots = _roots(params)
        options = params.get("initializationOptions")
        if isinstance(options, dict):
            session.configure(options.get(capabilities.KEY), trusted=True)
        session.ranker.settings = session.settings
        forwarded = capabilities.forwarded_initialize(body)
        self._initialize_params = wire.loads(wire.fields(forwarded)["params"])
        try:
            await self._start()
        except (BackendError, UnknownPreset) as error:
            self.why_no_backend = str(error)
            session.show(str(error), kind=1)
            session.phase = Phase.RUNNING
            return wire.response(id, capabilities.announced({}))
        reply = await session.ask_backend(id, forwarded)
        message = wire.fields(reply)
        if "result" not in message:
            return reply
        result = wire.loads(message["result"])
        session.documents.encoding = capabilities.encoding_of(result)
        session.server_resolves = capabilities.resolves(capabilities.at(result, "capabilities", "completionProvider"))
        session.phase = Phase.RUNNING
        asyncio.get_running_loop().call_soon(session.ranker.start)  # after this reply is on its way
        return wire.dumps({**message, "result": capabilities.announced(result)})

    async def shutdown(self, id: Id, body: bytes) -> bytes:
        """The wrapped server's own answer to shutdown, or ours when it is gone or silent."""
        if self._restarting is not None:
            self._restarting.cancel()
            self.starting_again = False
        if self.session.backend is None or not self.session.backend.alive:
            return wire.response(id, None)
        try:
            return await asyncio.wait_for(self.session.ask_backend(id, body), SHUTDOWN_PATIENCE)
        except TimeoutError:
            return wire.response(id, None)

    def exit(self) -> None:
        """End everything; the exit code is 0 after a shutdown and 1 without (LSP 3.17)."""
        from lsp_server.session import Phase

        code = 0 if self.session.phase is Phase.SHUT_DOWN else 1
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._end(code))

    def abandon(self) -> None:
        """The editor has gone: children end now."""
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._end(1))

    async def _end(self, code: int) -> None:
        session = self.session
        if self._restarting is not None:
            self._restarting.cancel()
        if session.backend is not None:
            session.backend.send(wire.notification("exit", None))
        await asyncio.gather(session.ranker.stop(), *([session.backend.stop()] if session.backend is not None else []))
        session.client.close(code)

    async def _start(self) -> None:
        chosen = preset(self.session.settings)
        if self.session.backend is not None and self.session.backend.alive:  # it refused to initialize
            await self.session.backend.stop()
        backend = Backend(
            chosen.command,
            install=chosen.install,
            on_message=self.session.from_backend,
            on_exit=self._exited,
        )
        await backend.start()
        self._started = time.monotonic()
        self.session.backend = backend

    def _exited(self, error: BackendExited) -> None:
        from lsp_server.session import Phase

        session = self.session
        self.why_no_backend = str(error)
        if time.monotonic() - self._started > STABLE:
            self._crashes, self._told = 0, False
        if self._ending is not None or session.phase is Phase.SHUT_DOWN:
            self._fail_pending(str(error))
            return
        if session.phase is Phase.STARTING:
            session.show(f"{error}. {_last_words(error)}", kind=1)
            self._fail_pending(str(error))
            return
        self._forget()
        gave_up = self._crashes >= len(BACK_OFF)
        self.starting_again = not gave_up
        self._fail_pending(str(error), keep_safe=not gave_up)
        if gave_up:
            session.show(f"{error}, {self._crashes + 1} times now; not started again. {_last_words(error)}", kind=1)
            return
        delay = BACK_OFF[self._crashes]
        self._crashes += 1
        if not self._told:
            self._told = True
            session.show(f"{error}; starting it again.")
        self._restarting = asyncio.get_running_loop().create_task(self._restart(delay))

    async def _restart(self, delay: float) -> None:
        """A new process brought to where the old one was: initialized, configured, documents open."""
        session = self.session
        await asyncio.sleep(delay)
        try:
            await self._start()
            backend = session.backend
            assert backend is not None
            await backend.request("initialize", self._initialize_params, INITIALIZE_AGAIN_PATIENCE)
        except BackendExited:
            return  # _exited counts it and tries again
        except BackendError as error:
            self.why_no_backend = str(error)
            self.starting_again = False
            session.show(f"{error}; not started again.", kind=1)
            self._fail_pending(str(error))
            return
        backend.notify("initialized", {})
        if self._configuration is not None:
            backend.send(self._configuration)
        for document in session.documents:
            backend.notify("textDocument/didOpen", {"textDocument": document.as_item()})
        self.starting_again = False
        for _, pending in session.pending():
            if pending.method in SAFE_TO_RETRY and not pending.cancelled and not pending.answered:
                backend.send(pending.body)

    def configured(self, body: bytes) -> None:
        """Remember the last configuration, for a restarted server."""
        self._configuration = body

    def _forget(self) -> None:
        """Take back at the editor what the dead server had there."""
        session = self.session
        tokens, registrations, asked = session.names.next_generation()
        for token in tokens:
            session.notify("$/progress", {"token": token, "value": {"kind": "end"}})
        for ours in asked:
            session.notify("$/cancelRequest", {"id": ours})
        if registrations:
            taken = [{"id": id, "method": method} for id, method in registrations]
            id = session.names.ask("unregister", "client/unregisterCapability")
            session.names.answered(id)  # nobody waits for the reply
            session.client.send(wire.request(id, "client/unregisterCapability", {"unregisterations": taken}))

    def _fail_pending(self, reason: str, *, keep_safe: bool = False) -> None:
        for id, pending in self.session.pending():
            if pending.answered or (pending.task is not None and pending.reply is None):
                continue  # not the wrapped server's any more, or never
            if keep_safe and pending.method in SAFE_TO_RETRY and not pending.retried and not pending.cancelled:
                pending.retried = True
                continue
            failure = wire.failure(id, wire.REQUEST_FAILED, reason)
            if pending.method == "shutdown":
                failure = wire.response(id, None)
            if pending.reply is not None and not pending.reply.done():
                pending.reply.set_result(failure)
            else:
                self.session.reply(id, failure)


def _roots(params: Json) -> list[str]:
    """The workspace's folders as URIs."""
    folders = params.get("workspaceFolders") or ()
    uris = [folder["uri"] for folder in folders if isinstance(folder, dict) and "uri" in folder]
    return uris or [uri for uri in (params.get("rootUri"),) if isinstance(uri, str)]


def _last_words(error: BackendExited) -> str:
    return "Its last words: " + " / ".join(error.stderr[-3:]) if error.stderr else "The log has more."
