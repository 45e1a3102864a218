"""What one wrapped server announced: the capabilities of its initialize result, and what it has registered since."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lsp_server.documents import synchronisation
from lsp_server.documents.positions import Encoding
from lsp_server.jsonrpc.wire import Json
from lsp_server.protocol.capabilities import at, resolves


@dataclass(kw_only=True)
class Announced:
    """While a server is started again after a crash, `capabilities` are still those of its last process.

    `registered`: method and options by registration id; empty when a process has ended.
    """

    capabilities: dict[str, Any] = field(default_factory=dict[str, Any])
    encoding: Encoding = "utf-16"
    registered: dict[str, tuple[str, Json]] = field(default_factory=dict[str, tuple[str, Json]])

    @property
    def resolves(self) -> bool:
        """Whether the server resolves completion items."""
        return resolves(self._options("completionProvider", "textDocument/completion"))

    @property
    def knows_notebooks(self) -> bool:
        return self._options("notebookDocumentSync", "notebookDocument/sync") is not None

    @property
    def sync_kind(self) -> int:
        """How it wants to get changes: TextDocumentSyncKind."""
        return synchronisation.kind(self.capabilities, self.registered.values())

    def _options(self, key: str, method: str) -> Json:
        """The options of a capability (`key` in the initialize result, or registered for `method`). None: not announced."""
        announced = at(self.capabilities, *key.split("."))
        if announced not in (None, False):
            return announced
        return next((options or True for name, options in self.registered.values() if name == method), None)
