"""Serves editors over a socket: TCP, or a Unix socket that only its owner can use.

Socket clients are not trusted, because even a web page can reach a local port. A client must send the token in its
`initialize` request, and it can't choose a command or a model (see `session.authentication`). A connection that does
not begin with an LSP header is closed.
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

from lsp_server.session.authentication import Authentication
from lsp_server.transport.connection import Connection, on_signals

TOKEN_VARIABLE = "STARLING_TOKEN"
MAX_CLIENTS = 64  # connected at the same time
RISK = (
    "anyone who can reach the port can try to connect, the connection is not encrypted, and anyone who has the token can read "
    "and run whatever your language servers can"
)


class ListenError(Exception):
    """Starling can't listen on this address, or refuses to. The message says what to do."""


ConnectionFactory = Callable[[Authentication], Connection]  # makes the connection of one client and its session


async def serve_tcp(connect: ConnectionFactory, host: str, port: int, *, allow_remote: bool = False) -> int:
    """Serve every editor that connects, each with its own session and wrapped servers, until a signal stops it.

    Returns the exit code. Raises ListenError if `host` is not a loopback address and `allow_remote` is not set. Raises
    OSError if the port can't be opened.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    hosts = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    remote = [host for host in hosts if not ipaddress.ip_address(host.partition("%")[0]).is_loopback]
    if remote and not allow_remote:
        raise ListenError(
            f"{remote[0]} is not a loopback address. Use 127.0.0.1, or add --allow-remote. Beware: {RISK}."
        )
    given = os.environ.get(TOKEN_VARIABLE, "")
    token = given or secrets.token_urlsafe(24)
    clients = _Connections(connect, Authentication(token=token, trusted=False))
    stop = asyncio.Event()
    on_signals(stop.set)
    servers = [await loop.create_server(clients.accept, host, port) for host in hosts]
    for server in servers:
        for listening in server.sockets:
            address = listening.getsockname()
            place = f"[{address[0]}]" if ":" in address[0] else address[0]
            _print(f"Starling listens on {place}:{address[1]}")
    if remote:
        _print(f"Warning: {RISK}.")
    if not given:
        _print(f'Clients must send "initializationOptions": {{"starling": {{"token": "{token}"}}}}')
        _print(f"(to choose the token yourself, set the environment variable {TOKEN_VARIABLE})")
    return await _until_stopped(stop, servers, clients)


async def serve_pipe(connect: ConnectionFactory, path: Path) -> int:
    """Serve over a Unix socket.

    If an editor listens on `path` (LSP's `--pipe`), connects to it; if not, listens there (mode 0600).
    Returns the exit code. Raises ListenError and OSError.
    """
    loop = asyncio.get_running_loop()
    if sys.platform == "win32":
        raise ListenError("--pipe needs Unix sockets; on Windows use --stdio.")
    authentication = Authentication(trusted=False)
    if _is_our_socket(path):
        editor = connect(authentication)
        try:
            await loop.create_unix_connection(lambda: editor, str(path))
        except ConnectionRefusedError:
            path.unlink()  # nobody listens: an earlier process left it behind
        else:
            on_signals(editor.session.abort)
            return await editor.done
    listening = _private_socket(path)
    own = path.stat()
    clients = _Connections(connect, authentication)
    stop = asyncio.Event()
    on_signals(stop.set)
    try:
        server = await loop.create_unix_server(clients.accept, sock=listening)
        _print(f"Starling listens on {path}")
        return await _until_stopped(stop, [server], clients)
    finally:
        with contextlib.suppress(OSError):
            if os.path.samestat(path.stat(), own):
                path.unlink()


def _is_our_socket(path: Path) -> bool:
    """Whether `path` is a socket of this user. Raises ListenError if it is anything else that exists."""
    assert sys.platform != "win32"
    try:
        there = path.lstat()
    except FileNotFoundError:
        return False
    if not stat.S_ISSOCK(there.st_mode):
        raise ListenError(f"{path} exists and is not a socket. Choose another path, or remove it.")
    if there.st_uid != os.geteuid():
        raise ListenError(f"{path} belongs to another user. Choose another path.")
    return True


def _private_socket(path: Path) -> socket.socket:
    """Create a socket at `path`. The umask makes sure that only this user can ever open it."""
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


class _Connections:
    """The open connections of a listening socket."""

    def __init__(self, connect: ConnectionFactory, authentication: Authentication) -> None:
        self._connect, self._authentication = connect, authentication
        self.open: set[Connection] = set()

    def accept(self) -> asyncio.Protocol:
        if len(self.open) >= MAX_CLIENTS:
            return _Refused()
        connection = self._connect(self._authentication.for_new_client())
        self.open.add(connection)
        connection.done.add_done_callback(lambda _: self.open.discard(connection))
        return connection


class _Refused(asyncio.Protocol):
    """Closes a connection at once: there are too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        _print(f"Refused a connection: {MAX_CLIENTS} clients are connected already. Close one of them first.")
        transport.close()


async def _until_stopped(stop: asyncio.Event, servers: Sequence[asyncio.Server], clients: _Connections) -> int:
    await stop.wait()
    for server in servers:
        server.close()
    still_open = list(clients.open)
    for client in still_open:
        client.session.abort()
    await asyncio.gather(*(client.done for client in still_open))
    return 0


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
