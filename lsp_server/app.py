"""The composition root: the only place that builds objects. Imports nothing heavy."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from lsp_server.features.completion import completion
from lsp_server.features.rank import rank
from lsp_server.features.resolve import resolve
from lsp_server.features.status import status
from lsp_server.session.session import Admission, Session
from lsp_server.session.settings import Settings
from lsp_server.transport.connection import Connection

OWNED = {
    "textDocument/completion": completion,
    "completionItem/resolve": resolve,
    "starling/rank": rank,
    "starling/status": status,
}


def connection(settings: Settings, admission: Admission, *, is_socket: bool = False) -> Connection:
    """One editor's connection and the session behind it."""
    return Connection(
        lambda client, admission: Session(client, settings, OWNED, admission), admission, is_socket=is_socket
    )


def on_signals(stop: Callable[[], object]) -> None:
    """Call `stop` on SIGTERM and SIGINT."""
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            asyncio.get_running_loop().add_signal_handler(number, stop)
        except NotImplementedError:  # Windows: its default handling ends us, and our pipes end the children
            break


async def serve_stdio(settings: Settings) -> int:
    """Serve one editor on stdin and stdout. Returns the exit code."""
    editor = connection(settings, Admission())
    on_signals(editor.session.closed_by_client)
    await editor.use_standard_streams()
    return await editor.done
