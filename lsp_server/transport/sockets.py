"""Editors on a socket: TCP, or a Unix socket that only its owner can use.

Whoever reaches a port is not trusted: a web page can reach it. A client says nothing before `initialize`, which must bring
the token; it chooses no command and no model (see `Admission`); and what does not begin with a header is no editor.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import secrets
import socket
import stat
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from lsp_server.session.session import Admission
from lsp_server.transport.connection import Connection, on_signals

TOKEN_VARIABLE = "STARLING_TOKEN"
CLIENTS = 64  # at once
RISK = (
    "anyone who can reach the port can try to connect, the connection is not encrypted, and who has the token reads and runs "
    "what your language servers can"
)


class ListenError(Exception):
    """Starling can't listen there, or must not; says what to do."""


Connect = Callable[[Admission], Connection]  # makes the connection of one client, and the session behind it


async def serve_tcp(connect: Connect, host: str, port: int, *, allow_remote: bool = False) -> int:
    """Serve every editor that connects, each with a session (and wrapped servers) of its own, until interrupted.

    Raises ListenError for another host than loopback without `allow_remote`, and OSError.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    hosts = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    remote = [host for host in hosts if not ipaddress.ip_address(host.partition("%")[0]).is_loopback]
    if remote and not allow_remote:
        raise ListenError(
            f"{remote[0]} is not this machine's own loopback address. Use 127.0.0.1, or add --allow-remote: {RISK}."
        )
    given = os.environ.get(TOKEN_VARIABLE, "")
    token = given or secrets.token_urlsafe(24)
    clients = _Clients(connect, Admission(token=token, trusting=False))
    stop = asyncio.Event()
    on_signals(stop.set)
    servers = [await loop.create_server(clients.accept, host, port) for host in hosts]
    for server in servers:
        for listening in server.sockets:
            address = listening.getsockname()
            place = f"[{address[0]}]" if ":" in address[0] else address[0]
            _say(f"Starling listens on {place}:{address[1]}")
    if remote:
        _say(f"Warning: {RISK}.")
    if not given:
        _say(f'Clients must send "initializationOptions": {{"starling": {{"token": "{token}"}}}}')
        _say(f"(choose the token yourself with the environment variable {TOKEN_VARIABLE})")
    return await _until_stopped(stop, servers, clients)


async def serve_pipe(connect: Connect, path: Path) -> int:
    """Serve over a Unix socket: the one that an editor listens on (LSP's `--pipe`), or one that is made here, mode 0600.

    Raises ListenError and OSError.
    """
    loop = asyncio.get_running_loop()
    if sys.platform == "win32":
        raise ListenError("--pipe needs Unix sockets; on Windows use --stdio.")
    admission = Admission(trusting=False)
    if _is_our_socket(path):
        editor = connect(admission)
        try:
            await loop.create_unix_connection(lambda: editor, str(path))
        except ConnectionRefusedError:
            path.unlink()  # left behind by a process that has gone
        else:
            on_signals(editor.session.closed_by_client)
            return await editor.done
    listening = _private_socket(path)
    own = path.stat()
    clients = _Clients(connect, admission)
    stop = asyncio.Event()
    on_signals(stop.set)
    try:
        server = await loop.create_unix_server(clients.accept, sock=listening)
        _say(f"Starling listens on {path}")
        return await _until_stopped(stop, [server], clients)
    finally:
        with contextlib.suppress(OSError):
            if os.path.samestat(path.stat(), own):
                path.unlink()


def _is_our_socket(path: Path) -> bool:
    """Whether a socket of this user is there; raises ListenError for anything else."""
    assert sys.platform != "win32"
    try:
        there = path.lstat()
    except FileNotFoundError:
        return False
    if not stat.S_ISSOCK(there.st_mode):
        raise ListenError(f"{path} is there and is no socket. Choose another path, or remove it.")
    if there.st_uid != os.geteuid():
        raise ListenError(f"{path} is another user's. Choose another path.")
    return True


def _private_socket(path: Path) -> socket.socket:
    """A listening socket at `path` that only this user can open, from its first moment on."""
    assert sys.platform != "win32"
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        made.bind(str(path))
    except OSError as error:
        made.close()
        raise ListenError(f"{path}: {error.strerror or error}. Choose another path, at most 100 bytes long.") from error
    finally:
        os.umask(before)
    return made


class _Clients:
    """Those that are connected."""

    def __init__(self, connect: Connect, admission: Admission) -> None:
        self._connect, self._admission = connect, admission
        self.open: set[Connection] = set()

    def accept(self) -> asyncio.Protocol:
        if len(self.open) >= CLIENTS:
            return _TurnedAway()
        made = self._connect(self._admission.anew())
        self.open.add(made)
        made.done.add_done_callback(lambda _: self.open.discard(made))
        return made


class _TurnedAway(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        _say(f"A connection is closed: there are {CLIENTS} already.")
        transport.close()


async def _until_stopped(stop: asyncio.Event, servers: Sequence[asyncio.Server], clients: _Clients) -> int:
    await stop.wait()
    for server in servers:
        server.close()
    left = list(clients.open)
    for client in left:
        client.session.closed_by_client()
    await asyncio.gather(*(client.done for client in left))
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
