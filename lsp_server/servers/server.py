"""One wrapped server of a session: starts it, restarts it after a crash, and stops it. Knows no feature and no other server.

After a crash the requests that were not answered fail or are sent again, and the user sees one message. A server without open
documents is stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Protocol

import msgspec

from lsp_server.documents.editor_state import EditorState
from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Envelope, Id, Json
from lsp_server.servers.announced import Announced
from lsp_server.servers.backend import BackendError, BackendExited, BackendMissing, find_command
from lsp_server.servers.forwarded_requests import ForwardedRequest, ForwardedRequests
from lsp_server.servers.generation import Generation, Phase
from lsp_server.servers.id_mapping import Left, ServerNames
from lsp_server.servers.plans import Plan

if TYPE_CHECKING:
    from lsp_server.protocol.typed import ServerClient

log = logging.getLogger(__name__)

BACK_OFF = (0.3, 1.0, 3.0, 10.0, 30.0)  # seconds before each restart; after the last one the server has failed
STABLE = 180.0  # seconds after which a running server is stable: its earlier crashes do not count any more
GAVE_UP = "not started again. To try again, use your editor's command to restart Starling's servers."


class State(Enum):
    IDLE = "idle"
    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    FAILED = "failed"


class ServerEvents(Protocol):
    """Callbacks of a wrapped server, to the layers above it."""

    def server_message(self, server: WrappedServer, body: bytes, envelope: Envelope) -> None:
        """The server sent a request or notification."""
        ...

    def server_ready(self, server: WrappedServer) -> None:
        """The server has got the session's state and answers requests."""
        ...

    def server_lost(self, server: WrappedServer, left: Left) -> None:
        """Its process has ended. `left`: progress tokens, registrations and requests of it that the editor still has."""
        ...

    def server_failed(self, server: WrappedServer, message: str, *, for_good: bool) -> None:
        """The server crashed or can't be started. `message` is for the user; `for_good`: it is not started again."""
        ...


@dataclass(kw_only=True, eq=False)
class WrappedServer:
    """One wrapped server. It gets the documents of `plan.language_ids`, or all documents if that is empty."""

    plan: Plan
    editor: EditorState
    events: ServerEvents
    has: Callable[[str], bool] = lambda uri: True  # whether a document is of its project
    state: State = State.IDLE
    why_not: str = "the wrapped server is not running"
    announced: Announced = field(default_factory=Announced)
    _forwarded: ForwardedRequests = field(default_factory=ForwardedRequests)
    _process: Generation | None = None  # the current process; it may have ended
    _crashes: int = 0
    _missing: bool = False  # its command was not found
    _crash_reported: bool = False
    _start_task: asyncio.Task[None] | None = None
    _stop_task: asyncio.Task[None] | None = None  # ends an earlier process
    _idle_timer: asyncio.TimerHandle | None = None
    _initialize_result: msgspec.Raw | None = None
    _start_ended: asyncio.Event = field(default_factory=asyncio.Event)  # initialize was answered, or the start failed

    def __post_init__(self) -> None:
        self.names = ServerNames(f"starling-{self.key}" if self.plan.language_ids else "starling")

    @property
    def key(self) -> str:
        """Its name in the session. A restart does not change it."""
        return self.plan.name

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.alive

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self._process.alive else None

    @property
    def client(self) -> ServerClient:
        """The server as a pygls client, for requests of features. Raises BackendError if it answers no requests (yet)."""
        if self._process is None or self.state is not State.RUNNING or not self._process.alive:
            raise BackendError(
                f"The language server '{self.plan.command[0]}' is not ready; its state: {self.state.value}"
            )
        return self._process.client

    # Capabilities

    def handles(self, language_id: str) -> bool:
        return not self.plan.language_ids or language_id in self.plan.language_ids

    def is_for(self, uri: str, language_id: str) -> bool:
        """Whether a document is one of its own: of its languages, and of its project."""
        return self.handles(language_id) and self.has(uri)

    # Starting and ending

    async def start(self) -> msgspec.Raw:
        """Start it and wait. Returns the undecoded result of initialize. Raises BackendError; no process is left then."""
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
        self.announced.capabilities, self.announced.encoding = process.capabilities, process.encoding
        if self.editor.does_not_read:
            process.pause(True)
        return result

    def wake(self) -> None:
        """Start it in the background if it does not run, because a document of its languages was opened."""
        self._stop_resting()
        if self.state is State.IDLE or (self.state is State.FAILED and self._missing and self.is_installed):
            self.state = State.STARTING
            self._start_task = asyncio.get_running_loop().create_task(self._start_in_background())

    @property
    def is_missing(self) -> bool:
        """Whether the last start failed because its command was not found."""
        return self._missing

    @property
    def is_installed(self) -> bool:
        """Whether its command is found now. Does not run the `check` of the command."""
        return find_command(self.plan.command) is not None

    async def restart(self) -> None:
        """End its process if there is one, and start another, even if it has failed too often.

        Requests that arrive meanwhile wait for the new process.
        """
        stopped = self._stop_process(politely=True, keep_reads=True)
        self._crashes, self._crash_reported, self._initialize_result = 0, False, None
        self._start_ended.clear()
        self.state = State.STARTING
        self._start_task = asyncio.get_running_loop().create_task(self._start_in_background())
        await stopped

    async def _start_in_background(self, *, delay: float = 0.0) -> None:
        """Start a process after `delay` seconds and send it the session's state. Reports failures instead of raising."""
        is_restart = self.state is State.RESTARTING
        try:
            if self._stop_task is not None:  # one process at a time: two may use the same folder on disk
                await asyncio.wait([self._stop_task])
            await asyncio.sleep(delay)
            self._initialize_result = await self._start_process()
        except BackendExited as error:
            if is_restart:
                self._crashed(error)
            else:
                self._give_up(str(error))
            return
        except BackendError as error:
            self._give_up(f"{error}; {GAVE_UP}" if is_restart else str(error))
            return
        except Exception as error:  # requests must not wait for this server for ever
            log.exception("%s can't be started", self.key)
            self._give_up(
                f"The language server '{self.plan.command[0]}' can't be started: {error!r}. See Starling's log for more."
            )
            return
        finally:
            self._start_ended.set()
        process = self._process
        await self.editor.initialized.wait()  # until then the editor must not get what a running server may send
        if process is not None and process is self._process and process.phase is Phase.INITIALIZED:
            process.send_state(self.is_for, notebooks=self.announced.knows_notebooks)
            self._ready()
            self.events.server_ready(self)

    def _give_up(self, reason: str) -> None:
        """Report that the server failed for good."""
        self.events.server_failed(self, reason, for_good=True)
        self._fail(reason)

    async def answer(self, patience: float) -> Json:
        """Wait for its result of initialize. Returns None if it can't start or takes longer than `patience` seconds."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._start_ended.wait(), patience)
        return None if self._initialize_result is None else wire.loads(self._initialize_result)

    def _ready(self) -> None:
        """Send the requests that waited. From now on messages are sent at once."""
        self.state = State.RUNNING
        for request in self._forwarded:
            self.send(request.body)

    @property
    def is_resting(self) -> bool:
        """Whether `rest_after` was called, and its time is not over."""
        return self._idle_timer is not None

    def rest_after(self, seconds: float) -> None:
        """Stop it after so many seconds without open documents. `wake` cancels this."""
        self._stop_resting()
        self._idle_timer = asyncio.get_running_loop().call_later(seconds, self._stop_idle)

    def _stop_resting(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

    def _stop_idle(self) -> None:
        self._idle_timer = None
        if self.state is State.RUNNING and not self._forwarded:
            log.info("stopping %s until one of its documents is opened", self.key)
            self.state = State.IDLE
            self.stop()

    def stop(self) -> Awaitable[None]:
        """Send shutdown and exit, then end the process whether it obeys or not. Starts at once, awaited or not."""
        return self._stop_process(politely=True)

    def end(self) -> Awaitable[None]:
        """Send exit without shutdown, then end the process. Starts at once, awaited or not."""
        return self._stop_process(politely=False)

    def _stop_process(self, *, politely: bool, keep_reads: bool = False) -> Awaitable[None]:
        """Stop starting it, and end its process. Its messages are ignored from now on.

        `politely`: send shutdown first. `keep_reads`: requests that only read wait for the next process.
        """
        self._stop_resting()
        task, self._start_task = self._start_task, None
        process, self._process = self._process, None
        before = self._stop_task

        async def stop() -> None:
            if before is not None:
                await asyncio.wait([before])
            if task is not None and task is not asyncio.current_task():
                task.cancel()
                await asyncio.wait([task])
            if process is not None:
                await process.end(politely=politely)

        self._forwarded.fail(self.why_not, keep_reads=keep_reads)
        if process is not None:
            process.fail_client(self.why_not)
            process.phase = Phase.ENDED
            if not self.editor.ending:
                self._process_lost()
        self._stop_task = asyncio.get_running_loop().create_task(stop())
        return self._stop_task

    def pause(self, paused: bool) -> None:
        if self._process is not None:
            self._process.pause(paused)

    # Messages to it

    def send(self, body: bytes) -> None:
        if self._process is not None:
            self._process.send(body)

    def tell(self, body: bytes) -> None:
        """Send a notification if it is running. A server that starts later gets the session's state instead."""
        if self.state is State.RUNNING:
            self.send(body)

    def tell_initialized(self, body: bytes) -> None:
        """Send the editor's `initialized`, once per process."""
        if self.state is State.RUNNING and self._process is not None:
            self._process.initialized(body)

    def tell_open(self, uri: str, body: bytes) -> None:
        """Send a didOpen. If the document is open in the process already, send didClose first."""
        if self.state is State.RUNNING and self._process is not None:
            self._process.open(uri, body)

    def tell_close(self, uri: str, body: bytes) -> None:
        """Send a didClose."""
        if self.state is State.RUNNING and self._process is not None:
            self._process.close(uri, body)

    def tell_change(self, uri: Callable[[], str], body: bytes) -> None:
        """Send a didChange. See Outbox.change."""
        if self.state is State.RUNNING and self._process is not None:
            self._process.change(uri, body)

    def forget_changes(self, uri: str) -> None:
        """Drop the unsent changes of a document, because it was opened or closed."""
        if self._process is not None:
            self._process.forget_changes(uri)

    def forward(self, request: ForwardedRequest) -> None:
        """Forward a request of the editor, keep it until the server is ready, or answer it with an error if neither is possible."""
        waits = self.state is State.STARTING or (self.state is State.RESTARTING and request.reads)
        if not waits and (self.state is not State.RUNNING or not self.alive):
            request.on_reply(wire.failure(request.id, wire.REQUEST_FAILED, self.why_not))
            return
        self._forwarded.add(request)
        if not waits:
            self.send(request.body)

    def cancel(self, request: ForwardedRequest, body: bytes) -> None:
        """Forward the editor's $/cancelRequest (`body`): the server may still answer. A request that waits is answered at once."""
        request.cancelled = True
        if request not in self._forwarded:
            return
        if self.state is State.RUNNING:
            self.send(body)
        else:
            self._forwarded.reply(request.id, wire.failure(request.id, wire.REQUEST_CANCELLED, "cancelled"))

    def forget(self, request: ForwardedRequest) -> bool:
        """Stop waiting for the answer, and cancel the request. Returns False if it has been answered."""
        if request not in self._forwarded:
            return False
        self._forwarded.remove(request)
        if not request.cancelled:
            self.tell(wire.notification("$/cancelRequest", {"id": request.id}))
        return True

    # From its process (ProcessEvents)

    def process_message(self, process: Generation, body: bytes, envelope: Envelope) -> None:
        self.events.server_message(self, body, envelope)

    def process_response(self, process: Generation, id: Id, body: bytes) -> None:
        if not self._forwarded.reply(id, body):
            log.debug("%s answered the request %r, which is not pending", self.key, id)

    def process_exited(self, process: Generation, error: BackendExited) -> None:
        self.why_not = str(error)
        if self.editor.ending:
            self._forwarded.fail(str(error))
        elif process is self._process:
            self._crashed(error, process.age)

    def _crashed(self, error: BackendExited, age: float = 0.0) -> None:
        if age > STABLE:
            self._crashes, self._crash_reported = 0, False
        self._process_lost()
        gave_up = self._crashes >= len(BACK_OFF)
        self._forwarded.fail(str(error), keep_reads=not gave_up)
        if gave_up:
            self.state = State.FAILED
            message = f"{error}, {self._crashes + 1} times now; {GAVE_UP} {error.last_words}"
            self.events.server_failed(self, message, for_good=True)
            return
        self.state = State.RESTARTING
        delay = BACK_OFF[self._crashes]
        self._crashes += 1
        if not self._crash_reported:
            self._crash_reported = True
            self.events.server_failed(self, f"{error}; restarting it.", for_good=False)
        self._start_task = asyncio.get_running_loop().create_task(self._start_in_background(delay=delay))

    def _fail(self, reason: str) -> None:
        self.state, self.why_not = State.FAILED, reason
        self._forwarded.fail(reason)

    def _process_lost(self) -> None:
        """Forget the registrations and requests of a process that has ended, and report it."""
        self.announced.registered.clear()
        self.events.server_lost(self, self.names.next_generation())
