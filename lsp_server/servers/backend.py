"""
Talks to one wrapped server: starts its process, sends requests, receives messages, stops it. Used by the language server, the
command line and replay.

Knows nothing of the editor: the server's own requests and notifications go to `on_message`. Retries no request.

BackendError
  BackendMissing   the command is not installed; carries the command and how to install it
  BackendExited    the process exited; carries the exit code and the end of its stderr
  BackendSilent    no response in time; carries the method and the seconds
  BackendRefused   an error response; carries the method and the whole error
  BackendGarbled   a response that can't be decoded; carries the method and the problem
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.child import Child
from lsp_server.jsonrpc.frames import Oversized
from lsp_server.jsonrpc.outbox import Outbox
from lsp_server.jsonrpc.wire import Envelope, Id, Json

log = logging.getLogger(__name__)

CHECK_PATIENCE = 10.0  # seconds for the `check` of a command
ID_PREFIX = "starling:"  # of the ids of our own requests; the editor's ids are not changed


class BackendError(Exception):
    """A wrapped server did not do what was asked."""


class BackendMissing(BackendError):
    def __init__(self, command: str, install: str) -> None:
        super().__init__(f"The language server '{command}' was not found. {install}")
        self.command, self.install = command, install


class BackendExited(BackendError):
    def __init__(self, command: str, code: int, stderr: Sequence[str]) -> None:
        tail = ": " + stderr[-1] if stderr else ""
        super().__init__(f"The language server '{command}' exited with exit code {code}{tail}")
        self.command, self.code, self.stderr = command, code, tuple(stderr)

    @property
    def last_words(self) -> str:
        """The end of the server's stderr, for a message to the user."""
        if not self.stderr:
            return "See Starling's log for more."
        return "Its last lines on stderr: " + " / ".join(self.stderr[-3:])


class BackendSilent(BackendError):
    def __init__(self, command: str, method: str, seconds: float) -> None:
        super().__init__(f"'{command}' did not answer {method} within {seconds:g} s")
        self.method, self.seconds = method, seconds


class BackendRefused(BackendError):
    def __init__(self, method: str, error: Json) -> None:
        self.method, self.error = method, error
        self.code = error.get("code") if wire.is_object(error) else None
        message = error.get("message") if wire.is_object(error) else error
        super().__init__(f"{method} failed: {message}")


class BackendGarbled(BackendError):
    def __init__(self, command: str, method: str, problem: object) -> None:
        super().__init__(f"The response of '{command}' to {method} can't be read: {problem}")
        self.method, self.problem = method, problem


def find_command(command: Sequence[str], check: Sequence[str] = (), cwd: str | None = None) -> str | None:
    """The absolute path of a command, from PATH or beside the running interpreter (a venv that is not activated).

    Returns None if it is not found, or if it exits non-zero when run with the arguments `check` in the folder `cwd`: then it is
    only a placeholder executable.
    """
    found = _path_of(command[0])
    return None if found is not None and check and _fails((found, *check), cwd) else found


def _path_of(name: str) -> str | None:
    """Find a command. A bare name is searched only in absolute folders of PATH, and never in the current folder: editors start
    Starling in the workspace, which is untrusted.
    """
    folders = [folder for folder in os.get_exec_path() if os.path.isabs(folder)]  # noqa: PTH117
    for path in (os.pathsep.join(folders), str(Path(sys.executable).parent)):
        found = shutil.which(name, path=path)
        if found is not None:
            absolute = Path(found).absolute()
            if os.path.dirname(name) or absolute.parent != Path.cwd():  # noqa: PTH120  (Windows looks here first)
                return str(absolute)
    return None


def _fails(command: Sequence[str], cwd: str | None) -> bool:
    quiet = subprocess.DEVNULL  # our standard streams belong to the editor
    try:
        done = subprocess.run(
            command, cwd=cwd, stdin=quiet, stdout=quiet, stderr=quiet, timeout=CHECK_PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return False  # it is slow, but it is installed
    except OSError:
        return True
    return done.returncode != 0


def _ignore_exit(error: BackendExited) -> None:
    """For an exit that we caused."""


class Backend:
    """A wrapped server's process. The responses to our own requests complete futures; other messages go to `on_message`.

    `on_unreadable` gets the id and method of a message that can't be decoded, as far as they can be found, and the error.
    `on_exit` gets the error when the process exits by itself.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        on_message: Callable[[bytes, Envelope], None],
        on_exit: Callable[[BackendExited], None],
        on_unreadable: Callable[[Id | msgspec.UnsetType, str, wire.WireError], None] = lambda id, method, error: None,
        whole: Callable[[str], bytes | None] = lambda uri: None,
        install: str = "Install it, or name another with --server or after '--'.",
        check: Sequence[str] = (),
    ) -> None:
        """`check`: arguments that detect placeholder executables, which exit non-zero with them. `whole`: see Outbox."""
        self.command = tuple(command)
        self._install, self._check = install, tuple(check)
        self._on_message = on_message
        self._on_exit, self._on_unreadable = on_exit, on_unreadable
        self.exited: BackendExited | None = None
        self._child: Child | None = None
        self._outbox = Outbox(self._write, whole=whole, on_full=self._kill_hung)
        self._pending: dict[str, asyncio.Future[Json]] = {}
        self._count = 0

    @property
    def name(self) -> str:
        return Path(self.command[0]).name

    @property
    def alive(self) -> bool:
        return self._child is not None and self._child.alive

    @property
    def pid(self) -> int:
        assert self._child is not None, "not started"
        return self._child.pid

    async def start(self, cwd: str | None = None, env: Mapping[str, str] | None = None) -> None:
        """Start the process in the folder `cwd`, with the environment `env` (None: our own). Raises BackendMissing."""
        executable = await asyncio.to_thread(find_command, self.command, self._check, cwd)
        if executable is None:
            raise BackendMissing(self.command[0], self._install)
        try:
            self._child = await Child.start(
                (executable, *self.command[1:]),
                name=self.name,
                on_body=self._received,
                on_exit=self._exited,
                on_flow=self._outbox.flow,
                cwd=cwd,
                env=env,
            )
        except OSError as error:
            raise BackendMissing(self.command[0], f"{error.strerror or error}. {self._install}") from error

    def send(self, body: bytes) -> None:
        self._outbox.send(body)

    def change(self, uri: Callable[[], str], body: bytes) -> None:
        """Send a document's change. See Outbox."""
        self._outbox.change(uri, body)

    def forget_changes(self, uri: str) -> None:
        self._outbox.forget(uri)

    def pause(self, paused: bool) -> None:
        if self._child is not None:
            self._child.pause(paused)

    def notify(self, method: str, params: Json) -> None:
        self.send(wire.notification(method, params))

    async def request(self, method: str, params: Json, timeout: float | None = None) -> Json:
        """Send a request and wait `timeout` seconds (None: for ever). Returns the decoded result.

        Raises BackendExited, BackendSilent, BackendRefused or BackendGarbled.
        """
        return wire.loads(await self.request_raw(method, params, timeout))

    async def request_raw(self, method: str, params: Json, timeout: float | None = None) -> msgspec.Raw:
        """Like `request`, but returns the result undecoded."""
        if not self.alive:
            raise self.exited or BackendExited(self.command[0], -1, ())
        self._count += 1
        id = f"{ID_PREFIX}{os.getpid()}:{self._count}"
        future: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._pending[id] = future
        self.send(wire.request(id, method, params))
        try:
            envelope: Envelope = await asyncio.wait_for(future, timeout)
        except TimeoutError as error:
            self.notify("$/cancelRequest", {"id": id})
            raise BackendSilent(self.command[0], method, timeout or 0) from error
        except asyncio.CancelledError:
            self.notify("$/cancelRequest", {"id": id})
            raise
        finally:
            self._pending.pop(id, None)
        if isinstance(envelope.error, msgspec.Raw):
            raise BackendRefused(method, wire.loads(envelope.error))
        return envelope.result if isinstance(envelope.result, msgspec.Raw) else msgspec.Raw(b"null")

    async def stop(self, grace: float = 2.0) -> None:
        """End the process, by force after `grace` seconds. Send shutdown and exit before."""
        if self._child is not None:
            self._on_exit = _ignore_exit
            await self._child.stop(grace)

    def kill(self) -> None:
        """Kill the process at once."""
        if self._child is not None:
            self._child.kill()

    def _write(self, body: bytes) -> None:
        if self._child is not None:
            self._child.send(body)

    def _kill_hung(self) -> None:
        log.warning("%s has stopped reading: killing it", self.name)
        self.kill()

    def _received(self, body: bytes | wire.WireError) -> None:
        if isinstance(body, wire.WireError):
            self._unreadable(body.edges if isinstance(body, Oversized) else b"", body)
            return
        try:
            envelope = wire.peek(body)
        except wire.WireError as error:
            self._unreadable(body, error)
            return
        future = self._pending.get(envelope.id) if envelope.is_response and isinstance(envelope.id, str) else None
        if future is not None:
            if not future.done():
                future.set_result(envelope)
            return
        self._on_message(body, envelope)

    def _unreadable(self, body: bytes, error: wire.WireError) -> None:
        """Report a message that can't be decoded to whoever waits for it.

        An oversized message without a known id may be a response. The process is killed then, so that nobody waits for ever.
        """
        id, method = wire.guess(body)
        log.warning("%s sent a message that can't be read (id %s, method %r): %s", self.name, id, method, error)
        future = self._pending.get(id) if isinstance(id, str) and not method else None
        if future is not None and not future.done():
            future.set_exception(BackendGarbled(self.command[0], "a request", error))
        elif id is not msgspec.UNSET:
            self._on_unreadable(id, method, error)
        elif isinstance(error, Oversized) and not method:
            self.kill()

    def _exited(self, code: int) -> None:
        stderr = () if self._child is None else tuple(self._child.stderr_tail)
        self.exited = BackendExited(self.command[0], code, stderr)
        for future in self._pending.values():
            if not future.done():
                future.set_exception(self.exited)
        self._on_exit(self.exited)
