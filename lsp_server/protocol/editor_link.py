"""The way to the editor, as what lies below a session sees it."""

from __future__ import annotations

from typing import Protocol

from lsp_server.jsonrpc.wire import Json

ERROR, WARNING, INFO = 1, 2, 3  # MessageType (LSP 3.18, window/showMessage)


class EditorLink(Protocol):
    """Sends to the editor. Nothing here waits or raises."""

    def send(self, body: bytes) -> None:
        """One whole message."""
        ...

    def notify(self, method: str, params: Json) -> None: ...

    def show(self, message: str, *, kind: int = WARNING) -> None:
        """window/showMessage, and a line in the log."""
        ...
