"""The composition root: the only place that builds objects. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lsp_server.features.loading import LazyFeatures
from lsp_server.session.session import Admission, Session
from lsp_server.settings import Settings
from lsp_server.transport import sockets
from lsp_server.transport.connection import Connection, on_signals


@dataclass(frozen=True, kw_only=True)
class Start:
    """What the command line says: settings, and files with features of the user's own."""

    settings: Settings
    features: tuple[Path, ...] = ()


def connection(start: Start, admission: Admission, *, is_socket: bool = False) -> Connection:
    """One editor's connection and the session behind it."""

    def session(client: Connection, admission: Admission) -> Session:
        return Session(client, start.settings, lambda session: LazyFeatures(session, start.features), admission)

    return Connection(session, admission, is_socket=is_socket)


async def serve_stdio(start: Start) -> int:
    """Serve one editor on stdin and stdout. Returns the exit code."""
    editor = connection(start, Admission())
    on_signals(editor.session.closed_by_client)
    await editor.use_standard_streams()
    return await editor.done


async def serve_tcp(start: Start, host: str, port: int, *, allow_remote: bool) -> int:
    """See `sockets.serve_tcp`."""
    return await sockets.serve_tcp(_on_socket(start), host, port, allow_remote=allow_remote)


async def serve_pipe(start: Start, path: Path) -> int:
    """See `sockets.serve_pipe`."""
    return await sockets.serve_pipe(_on_socket(start), path)


def _on_socket(start: Start) -> sockets.Connect:
    return lambda admission: connection(start, admission, is_socket=True)
