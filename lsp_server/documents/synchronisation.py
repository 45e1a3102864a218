"""Which document notifications one wrapped server wants (LSP 3.17, "Text Document Synchronization").

Starling announces open/close and incremental changes to the editor. A server gets only the notifications that it wants.
A server that wants full texts gets the whole text after each change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lsp_server.documents.texts import OpenDocument
from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Json

NONE, FULL, INCREMENTAL = 0, 1, 2

ANNOUNCED = {"openClose": True, "change": INCREMENTAL, "save": {"includeText": False}}


def kind(capabilities: Mapping[str, Any], registered: Iterable[tuple[str, Json]]) -> int:
    """Return the kind of changes that a server wants (TextDocumentSyncKind); INCREMENTAL if it announced none."""
    for method, options in registered:
        if method == "textDocument/didChange" and wire.is_object(options):
            return _kind(options.get("syncKind"))
    announced = capabilities.get("textDocumentSync")
    return _kind(announced.get("change") if wire.is_object(announced) else announced)


def _kind(value: Json) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 2 else INCREMENTAL


def with_text(body: bytes, params: Json, document: OpenDocument) -> bytes:
    """Add the document's text to a didSave, for a server that asked for it."""
    if "text" in params:
        return body
    return wire.notification("textDocument/didSave", {**params, "text": document.as_item()["text"]})
