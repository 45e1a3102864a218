"""How the layers below the session send messages to the editor."""

from __future__ import annotations

from typing import Protocol

from lsp_server.jsonrpc.wire import Json

ERROR, WARNING, INFO = 1, 2, 3  # MessageType (LSP 3.18, window/showMessage)


class EditorLink(Protocol):
    """Sends messages to the editor. No method waits or raises."""

    def send(self, body: bytes) -> None:
        """Send one whole message."""
        ...

    def notify(self, method: str, params: Json) -> None:
        """Send a notification."""
        ...

    def show(self, message: str, *, kind: int = WARNING) -> None:
        """Show a message to the user (window/showMessage) and log it. `kind`: ERROR, WARNING or INFO."""
        ...
