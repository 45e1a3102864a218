"""One wrapped server of a session: started, initialized, kept running, ended. Knows no feature and no other server.

A crash costs the editor an error reply or a retry, and one message; a server that nothing needs is not running.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from lsp_server.documents import synchronisation
from lsp_server.documents.editor_state import EditorState
from lsp_server.documents.positions import Encoding
from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Envelope, Id, Json
from lsp_server.protocol.capabilities import at, resolves
from lsp_server.servers.asks import Ask, OpenAsks
from lsp_server.servers.backend import BackendError, BackendExited, BackendMissing, find_command
from lsp_server.servers.generation import Generation, Phase
from lsp_server.servers.id_mapping import Left, ServerNames
from lsp_server.servers.plans import Plan

if TYPE_CHECKING:
    from lsp_server.protocol.typed import ServerClient

log = logging.getLogger(__name__)

BACK_OFF = (0.3, 1.0, 3.0, 10.0, 30.0)  # seconds before each restart; after the last one we give up
STABLE = 180.0  # a server that ran this long starts the count anew


class State(Enum):
    IDLE = "idle"
    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    FAILED = "failed"


class ServerEvents(Protocol):
    """What a wrapped server tells those above it."""

    def server_said(self, server: WrappedServer, body: bytes, envelope: Envelope) -> None:
        """A request or notification of its own."""
        ...

    def server_ready(self, server: WrappedServer) -> None:
        """It knows what the session knows, and answers."""
        ...

    def server_lost(self, server: WrappedServer, left: Left) -> None:
        """Its process has gone; `left` is what the editor still holds of it."""
        ...

    def server_failed(self, server: WrappedServer, message: str, *, for_good: bool) -> None:
        """Something for the user to know."""
        ...


@dataclass(kw_only=True, eq=False)
class WrappedServer:
    """`plan.language_ids` says whose documents it gets: those, or all where there are none."""

    plan: Plan
    editor: EditorState
    events: ServerEvents
    state: State = State.IDLE
    why_not: str = "the wrapped server is not running"
    capabilities: dict[str, Any] = field(default_factory=dict[str, Any])
    encoding: Encoding = "utf-16"
    registered: dict[str, tuple[str, Json]] = field(default_factory=dict[str, tuple[str, Json]])
    announced: set[str] = field(default_factory=set[str])  # registrations that Starling made for it
    _asks: OpenAsks = field(default_factory=OpenAsks)
    _process: Generation | None = None  # the newest; it may have ended
    _crashes: int = 0
    _missing: bool = False  # its command was not found
    _told: bool = False
    _task: asyncio.Task[None] | None = None  # starts it
    _leaving: asyncio.Task[None] | None = None  # ends a process that it had
    _idle: asyncio.TimerHandle | None = None
    _result: msgspec.Raw | None = None
    _answered: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.names = ServerNames(f"starling-{self.key}" if self.plan.language_ids else "starling")

    @property
    def key(self) -> str:
        """What the rest of the session calls it; the same over its restarts."""
        return self.plan.name

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.alive

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self._process.alive else None

    @property
    def client(self) -> ServerClient:
        """It as pygls shows a server, for features that ask it something of their own. Raises BackendExited where it does not run."""
        if self._process is None or not self._process.alive:
            raise BackendExited(self.plan.command[0], -1, ())
        return self._process.client

    # What it can do

    def handles(self, language_id: str) -> bool:
        return not self.plan.language_ids or language_id in self.plan.language_ids

    def provider(self, key: str, method: str) -> Json:
        """What it announced for a method, at its start (under `key`) or later; None where it can't."""
        announced = at(self.capabilities, *key.split("."))
        if announced not in (None, False):
            return announced
        return next((options or True for name, options in self.registered.values() if name == method), None)

    @property
    def announced_commands(self) -> list[str]:
        found = at(self.provider("executeCommandProvider", "workspace/executeCommand"), "commands")
        return [command for command in found if isinstance(command, str)] if wire.is_array(found) else []

    @property
    def resolves(self) -> bool:
        """Whether it resolves completion items."""
        return resolves(self.provider("completionProvider", "textDocument/completion"))

    # Starting and ending

    async def start(self) -> msgspec.Raw:
        """Start it for an editor that waits for its result of initialize. Raises BackendError; no process is left then."""
        result = await self._start_process()
        self.state = State.RUNNING
        return result

    async def _start_process(self) -> msgspec.Raw:
        process = self._process = Generation(self.plan, self.editor, self)
        try:
            result = await process.start()
        except BackendError as error:
            self.why_not, self._missing = str(error), isinstance(error, BackendMissing)
            raise
        self.capabilities, self.encoding = process.capabilities, process.encoding
        return result

    def wake(self) -> None:
        """A document of its languages was opened: start it in the background unless it is there."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self.state is State.IDLE or (self.state is State.FAILED and self._missing and self.is_installed):
            self.state = State.STARTING
            self._task = asyncio.get_running_loop().create_task(self._bring_up())

    @property
    def is_missing(self) -> bool:
        """Whether it could not be started because its command was not found."""
        return self._missing

    @property
    def is_installed(self) -> bool:
        """Whether its command is there, as far as a quick look tells."""
        return find_command(self.plan.command) is not None

    async def restart(self) -> None:
        """End its process, if there is one, and start another, however often it has failed.

        Requests that come meanwhile wait for the new process.
        """
        leaving = self._leave(politely=True, keep_reads=True)
        self._crashes, self._told, self._result = 0, False, None
        self._answered.clear()
        self.state = State.STARTING
        self._task = asyncio.get_running_loop().create_task(self._bring_up())
        await leaving

    async def _bring_up(self, *, delay: float = 0.0) -> None:
        """A process that knows what the session knows; `delay`: again, after a crash."""
        again = self.state is State.RESTARTING
        try:
            if self._leaving is not None:  # one process at a time: they may share a folder on disk
                await asyncio.wait([self._leaving])
            await asyncio.sleep(delay)
            self._result = await self._start_process()
        except BackendExited as error:
            if again:
                self._crashed(error)
            else:
                self._give_up(str(error))
            return
        except BackendError as error:
            self._give_up(f"{error}; not started again." if again else str(error))
            return
        except Exception as error:  # whatever it is, nobody is to wait for this server for ever
            log.exception("%s can't be started", self.key)
            self._give_up(f"'{self.plan.command[0]}' can't be started: {error!r}")
            return
        finally:
            self._answered.set()
        process = self._process
        await self.editor.initialized.wait()  # before it, an editor must be sent nothing that a server may send now
        if process is not None and process is self._process and process.phase is Phase.INITIALIZED:
            process.introduce(self.handles, notebooks=self.knows_notebooks)
            self._ready()
            self.events.server_ready(self)

    def _give_up(self, reason: str) -> None:
        self.events.server_failed(self, reason, for_good=True)
        self._fail(reason)

    async def answer(self, patience: float) -> Json:
        """Its result of initialize, or None where it can't start or takes longer than so many seconds."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._answered.wait(), patience)
        return None if self._result is None else wire.loads(self._result)

    def _ready(self) -> None:
        """From here on it gets messages as they come; those that waited go first."""
        self.state = State.RUNNING
        for ask in self._asks:
            if not ask.cancelled:
                self.send(ask.body)

    def rest_after(self, seconds: float) -> None:
        """End it in so many seconds unless it is woken before: no document needs it."""
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(seconds, self._rest)

    def _rest(self) -> None:
        self._idle = None
        if self.state is State.RUNNING and not self._asks:
            log.info("%s has no open document and is ended until it has", self.key)
            self.state = State.IDLE
            self.stop()

    def stop(self) -> Awaitable[None]:
        """shutdown, exit, and its process ended whatever it says. Begins at once, awaited or not."""
        return self._leave(politely=True)

    def end(self) -> Awaitable[None]:
        """exit (it was asked to shut down, or nobody is left to ask), and its process ended. Begins at once."""
        return self._leave(politely=False)

    def _leave(self, *, politely: bool, keep_reads: bool = False) -> Awaitable[None]:
        """Let go of the process, whatever it was doing: what it says or does from here on is no news."""
        if self._idle is not None:
            self._idle.cancel()
        task, self._task = self._task, None
        process, self._process = self._process, None
        before = self._leaving

        async def leave() -> None:
            if before is not None:
                await asyncio.wait([before])
            if task is not None and task is not asyncio.current_task():
                task.cancel()
                await asyncio.wait([task])
            if process is not None:
                await process.end(politely=politely)

        self._asks.fail(self.why_not, keep_reads=keep_reads)
        if process is not None:
            process.fail_client(self.why_not)
            process.phase = Phase.ENDED
            if not self.editor.ending:
                self._forget()
        self._leaving = asyncio.get_running_loop().create_task(leave())
        return self._leaving

    def pause(self, paused: bool) -> None:
        if self._process is not None:
            self._process.pause(paused)

    # Messages to it

    def send(self, body: bytes) -> None:
        if self._process is not None:
            self._process.send(body)

    def tell(self, body: bytes) -> None:
        """A notification, unless it is not running: a server that starts hears the state of things then."""
        if self.state is State.RUNNING:
            self.send(body)

    def tell_initialized(self, body: bytes) -> None:
        """The editor's `initialized`; each process gets one."""
        if self.state is State.RUNNING and self._process is not None:
            self._process.initialized(body)

    def tell_open(self, uri: str, body: bytes) -> None:
        """A didOpen. A document that the process has open already is closed first."""
        if self.state is State.RUNNING and self._process is not None:
            self._process.open(uri, body)

    def tell_close(self, uri: str, body: bytes) -> None:
        """A didClose."""
        if self.state is State.RUNNING and self._process is not None:
            self._process.close(uri, body)

    def tell_change(self, uri: Callable[[], str], body: bytes) -> None:
        """A document's didChange, likewise."""
        if self.state is State.RUNNING and self._process is not None:
            self._process.change(uri, body)

    def forget_changes(self, uri: str) -> None:
        """A document was opened or closed: what of its changes has not been sent is void."""
        if self._process is not None:
            self._process.forget_changes(uri)

    def ask(self, ask: Ask) -> None:
        """Send an editor's request on, or keep it until the server is ready; or say at once why neither can be."""
        waits = self.state is State.STARTING or (self.state is State.RESTARTING and ask.reads)
        if not waits and (self.state is not State.RUNNING or not self.alive):
            ask.on_reply(wire.failure(ask.id, wire.REQUEST_FAILED, self.why_not))
            return
        self._asks.add(ask)
        if not waits:
            self.send(ask.body)

    def cancel(self, ask: Ask, body: bytes) -> None:
        """The editor cancels a request: the server may still answer it."""
        ask.cancelled = True
        if ask in self._asks and self.state is State.RUNNING:
            self.send(body)

    def forget(self, ask: Ask) -> bool:
        """Its answer is not waited for any more. Whether it was."""
        if ask not in self._asks:
            return False
        self._asks.remove(ask)
        if not ask.cancelled:
            self.tell(wire.notification("$/cancelRequest", {"id": ask.id}))
        return True

    @property
    def knows_notebooks(self) -> bool:
        return self.provider("notebookDocumentSync", "notebookDocument/sync") is not None

    @property
    def sync_kind(self) -> int:
        return synchronisation.kind(self.capabilities, self.registered.values())

    # From its process (Owner)

    def process_said(self, process: Generation, body: bytes, envelope: Envelope) -> None:
        self.events.server_said(self, body, envelope)

    def process_replied(self, process: Generation, id: Id, body: bytes) -> None:
        if not self._asks.reply(id, body):
            log.debug("%s answered %r, which nobody waits for", self.key, id)

    def process_exited(self, process: Generation, error: BackendExited) -> None:
        self.why_not = str(error)
        if self.editor.ending:
            self._asks.fail(str(error))
        elif process is self._process:
            self._crashed(error, process.age)

    def _crashed(self, error: BackendExited, age: float = 0.0) -> None:
        if age > STABLE:
            self._crashes, self._told = 0, False
        self._forget()
        gave_up = self._crashes >= len(BACK_OFF)
        self._asks.fail(str(error), keep_reads=not gave_up)
        if gave_up:
            self.state = State.FAILED
            message = f"{error}, {self._crashes + 1} times now; not started again. {last_words(error)}"
            self.events.server_failed(self, message, for_good=True)
            return
        self.state = State.RESTARTING
        delay = BACK_OFF[self._crashes]
        self._crashes += 1
        if not self._told:
            self._told = True
            self.events.server_failed(self, f"{error}; starting it again.", for_good=False)
        self._task = asyncio.get_running_loop().create_task(self._bring_up(delay=delay))

    def _fail(self, reason: str) -> None:
        self.state, self.why_not = State.FAILED, reason
        self._asks.fail(reason)

    def _forget(self) -> None:
        """The process has gone, and what it registered and asked for."""
        self.registered.clear()
        self.events.server_lost(self, self.names.next_generation())


def last_words(error: BackendExited) -> str:
    return "Its last words: " + " / ".join(error.stderr[-3:]) if error.stderr else "The log has more."
