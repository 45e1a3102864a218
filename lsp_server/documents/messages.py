"""Validates the editor's notifications about documents and folders. An error names the part that is malformed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from lsp_server.documents.notebooks import PREFIX
from lsp_server.documents.texts import CHANGE, CLOSE, OPEN, SAVE, WILL_SAVE
from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Json

FOLDERS = "workspace/didChangeWorkspaceFolders"


class _Position(msgspec.Struct):
    line: int
    character: int


class _Range(msgspec.Struct):
    start: _Position
    end: _Position


class _Item(msgspec.Struct, rename="camel"):
    uri: str
    text: str = ""
    language_id: str = ""


class _Identifier(msgspec.Struct):
    uri: str


class _Change(msgspec.Struct):
    text: str = ""
    range: _Range | None = None


class _Opened(msgspec.Struct, rename="camel"):
    text_document: _Item


class _Changed(msgspec.Struct, rename="camel"):
    text_document: _Identifier
    content_changes: list[_Change] | None = None


class _OfText(msgspec.Struct, rename="camel"):
    text_document: _Identifier


class _Cell(msgspec.Struct):
    document: str


class _Notebook(msgspec.Struct):
    uri: str
    cells: list[_Cell] | None = None


class _NotebookOpened(msgspec.Struct, rename="camel"):
    notebook_document: _Notebook
    cell_text_documents: list[_Item] | None = None


class _NotebookClosed(msgspec.Struct, rename="camel"):
    notebook_document: _Identifier
    cell_text_documents: list[_Identifier] | None = None


class _Array(msgspec.Struct, rename="camel"):
    start: int
    delete_count: int
    cells: list[_Cell] | None = None


class _Structure(msgspec.Struct, rename="camel"):
    array: _Array | None = None
    did_open: list[_Item] | None = None
    did_close: list[_Identifier] | None = None


class _TextContent(msgspec.Struct):
    document: _Identifier
    changes: list[_Change] | None = None


class _Cells(msgspec.Struct, rename="camel"):
    structure: _Structure | None = None
    data: list[_Cell] | None = None
    text_content: list[_TextContent] | None = None


class _NotebookChange(msgspec.Struct):
    cells: _Cells | None = None


class _NotebookChanged(msgspec.Struct, rename="camel"):
    notebook_document: _Identifier
    change: _NotebookChange | None = None


class _Event(msgspec.Struct):
    added: list[_Identifier] | None = None
    removed: list[_Identifier] | None = None


class _Folders(msgspec.Struct):
    event: _Event


_KINDS: Mapping[str, type[msgspec.Struct]] = {
    OPEN: _Opened,
    CHANGE: _Changed,
    **dict.fromkeys((CLOSE, SAVE, WILL_SAVE), _OfText),
    f"{PREFIX}didOpen": _NotebookOpened,
    f"{PREFIX}didChange": _NotebookChanged,
    **dict.fromkeys((f"{PREFIX}didClose", f"{PREFIX}didSave"), _NotebookClosed),
    FOLDERS: _Folders,
}


def params_of(method: str, params: msgspec.Raw) -> dict[str, Any]:
    """Decode the params of a notification. All members are kept.

    Raises Malformed if a member that Starling reads is not valid.
    """
    kind = _KINDS.get(method)
    if kind is not None:
        wire.read(params, kind)
    given: Json = wire.loads(params)
    if not wire.is_object(given):
        raise wire.Malformed(f"the params of {method} must be an object")
    return given
