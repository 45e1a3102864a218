"""The composition root: the only module that builds sessions and connections. Imports nothing that is slow to load."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lsp_server.features.loading import LazyFeatures
from lsp_server.session.authentication import Authentication
from lsp_server.session.session import Session
from lsp_server.settings import Settings
from lsp_server.transport import sockets
from lsp_server.transport.connection import Connection, on_signals


@dataclass(frozen=True, kw_only=True)
class LaunchOptions:
    """What the command line sets: the settings, and the Python files with the user's own features."""

    settings: Settings
    features: tuple[Path, ...] = ()


def connection(options: LaunchOptions, authentication: Authentication, *, is_socket: bool = False) -> Connection:
    """Make the connection to one editor, with its session."""

    def session(client: Connection, authentication: Authentication) -> Session:
        return Session(
            client, options.settings, lambda session: LazyFeatures(session, options.features), authentication
        )

    return Connection(session, authentication, is_socket=is_socket)


async def serve_stdio(options: LaunchOptions) -> int:
    """Serve one editor on stdin and stdout. Returns the exit code."""
    editor = connection(options, Authentication())
    on_signals(editor.session.abort)
    await editor.use_standard_streams()
    return await editor.done


async def serve_tcp(options: LaunchOptions, host: str, port: int, *, allow_remote: bool) -> int:
    """See `sockets.serve_tcp`."""
    return await sockets.serve_tcp(_socket_connections(options), host, port, allow_remote=allow_remote)


async def serve_pipe(options: LaunchOptions, path: Path) -> int:
    """See `sockets.serve_pipe`."""
    return await sockets.serve_pipe(_socket_connections(options), path)


def _socket_connections(options: LaunchOptions) -> sockets.ConnectionFactory:
    return lambda authentication: connection(options, authentication, is_socket=True)
