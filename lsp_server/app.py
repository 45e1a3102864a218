"""The composition root: the only place that builds objects. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

from lsp_server.features.loading import LazyFeatures
from lsp_server.session.session import Admission, Session
from lsp_server.settings import Settings
from lsp_server.transport import sockets
from lsp_server.transport.connection import Connection, on_signals


def connection(settings: Settings, admission: Admission, *, is_socket: bool = False) -> Connection:
    """One editor's connection and the session behind it."""
    return Connection(
        lambda client, admission: Session(client, settings, LazyFeatures, admission), admission, is_socket=is_socket
    )


async def serve_stdio(settings: Settings) -> int:
    """Serve one editor on stdin and stdout. Returns the exit code."""
    editor = connection(settings, Admission())
    on_signals(editor.session.closed_by_client)
    await editor.use_standard_streams()
    return await editor.done


async def serve_tcp(settings: Settings, host: str, port: int, *, allow_remote: bool) -> int:
    """See `sockets.serve_tcp`."""
    return await sockets.serve_tcp(_on_socket(settings), host, port, allow_remote=allow_remote)


async def serve_pipe(settings: Settings, path: Path) -> int:
    """See `sockets.serve_pipe`."""
    return await sockets.serve_pipe(_on_socket(settings), path)


def _on_socket(settings: Settings) -> sockets.Connect:
    return lambda admission: connection(settings, admission, is_socket=True)
