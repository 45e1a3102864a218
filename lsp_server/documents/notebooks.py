"""Treats the cells of a notebook as text documents (LSP 3.17, "Notebook Document Synchronization").

Ranking and restarts need the text of each cell. Wrapped servers without notebook support need it too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lsp_server.documents.texts import Documents
from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Json

PREFIX = "notebookDocument/"


def text_events(method: str, params: Json) -> Iterator[tuple[str, Json]]:
    """Yield (method, params) of the text document notifications that describe the same change of the cells."""
    if method == PREFIX + "didOpen":
        for item in params.get("cellTextDocuments") or ():
            yield "textDocument/didOpen", {"textDocument": item}
    elif method == PREFIX + "didChange":
        cells = wire.as_object(wire.as_object(params.get("change")).get("cells"))
        structure = wire.as_object(cells.get("structure"))
        for item in wire.as_array(structure.get("didOpen")):
            yield "textDocument/didOpen", {"textDocument": item}
        for content in wire.as_array(cells.get("textContent")):
            changes = wire.as_array(content.get("changes"))
            yield "textDocument/didChange", {"textDocument": content["document"], "contentChanges": changes}
        for identifier in wire.as_array(structure.get("didClose")):
            yield "textDocument/didClose", {"textDocument": identifier}
    elif method == PREFIX + "didClose":
        for identifier in params.get("cellTextDocuments") or ():
            yield "textDocument/didClose", {"textDocument": identifier}


class Notebooks:
    """The open notebooks without the texts of their cells. Used to open them in a server that starts later."""

    def __init__(self) -> None:
        self._open: dict[str, dict[str, Any]] = {}

    def follow(self, method: str, params: Json) -> None:
        """Apply one notebookDocument notification."""
        uri = params["notebookDocument"]["uri"]
        if method == PREFIX + "didOpen":
            self._open[uri] = {
                **params["notebookDocument"],
                "cells": list(params["notebookDocument"].get("cells") or ()),
            }
        elif method == PREFIX + "didClose":
            self._open.pop(uri, None)
        elif method == PREFIX + "didChange" and uri in self._open:
            notebook, change = self._open[uri], wire.as_object(params.get("change"))
            notebook["version"] = params["notebookDocument"].get("version", notebook.get("version"))
            if "metadata" in change:
                notebook["metadata"] = change["metadata"]
            changed = wire.as_object(change.get("cells"))
            array = wire.as_object(wire.as_object(changed.get("structure")).get("array"))
            if array:
                start, end = array["start"], array["start"] + array["deleteCount"]
                notebook["cells"][start:end] = wire.as_array(array.get("cells"))
            data = {cell["document"]: cell for cell in wire.as_array(changed.get("data"))}
            notebook["cells"] = [data.get(cell["document"], cell) for cell in notebook["cells"]]

    def openings(self, documents: Documents) -> Iterator[tuple[Json, frozenset[str]]]:
        """Yield for each notebook the params of a notebookDocument/didOpen, as it is now, and the URIs of its cells."""
        for notebook in self._open.values():
            uris = [cell["document"] for cell in notebook["cells"]]
            items = [document.as_item() for uri in uris if (document := documents.get(uri)) is not None]
            yield {"notebookDocument": notebook, "cellTextDocuments": items}, frozenset(uris)
