"""What the editor has sent so far. Servers and rankers that start later get their state from here."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from corpus.syntax.language import language_for
from lsp_server.documents.notebooks import Notebooks
from lsp_server.documents.texts import Documents
from lsp_server.documents.uris import path_of
from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Json
from lsp_server.settings import Settings


@dataclass(kw_only=True)
class EditorState:
    """The session updates it when messages arrive. The layers below the session only read it."""

    settings: Settings
    documents: Documents = field(default_factory=Documents)
    notebooks: Notebooks = field(default_factory=Notebooks)
    client_capabilities: Json = field(default_factory=dict[str, Any])
    server_params: dict[str, msgspec.Raw] = field(default_factory=dict[str, msgspec.Raw])  # for a server's initialize
    configuration: bytes | None = None  # the last didChangeConfiguration
    roots: list[str] = field(default_factory=list[str])
    initialized: asyncio.Event = field(default_factory=asyncio.Event)  # the editor has sent `initialized`
    ending: bool = False
    does_not_read: bool = False  # the editor does not read what Starling sends

    @property
    def working_folder(self) -> Path | None:
        """The folder where wrapped servers start: the first workspace folder.

        None if it is not a folder of this computer.
        """
        folder = path_of(self.roots[0]) if self.roots else None
        return folder if folder is not None and folder.is_dir() else None

    def language_of(self, uri: str) -> str:
        """Return the languageId of a document: the one in didOpen; if it is not open, one inferred from its name."""
        document = self.documents.get(uri)
        if document is not None:
            return document.language_id
        language = language_for("", uri)
        return language.language_ids[0] if language is not None else ""

    def initialize_params(self) -> dict[str, msgspec.Raw]:
        """Return the params of initialize for the next process.

        Only the first process gets the editor's progress token.
        """
        given = dict(self.server_params)
        self.server_params.pop("workDoneToken", None)
        return given

    def change_folders(self, event: Json) -> None:
        """Apply a change of the workspace folders (WorkspaceFoldersChangeEvent)."""
        gone = {folder["uri"] for folder in event.get("removed") or ()}
        come = list(event.get("added") or ())
        self.roots = [uri for uri in self.roots if uri not in gone] + [folder["uri"] for folder in come]
        known = wire.as_array(wire.loads(self.server_params.get("workspaceFolders", wire.raw(None))))
        folders = [folder for folder in known if folder["uri"] not in gone] + come
        self.server_params["workspaceFolders"] = wire.raw(folders)

    def ranker_snapshot(self) -> list[bytes]:
        """Return the notifications that a new ranker process must get first."""
        opening = {"roots": self.roots, "encoding": self.documents.encoding}
        return [
            wire.notification("starling/open", opening),
            *(
                wire.notification("textDocument/didOpen", {"textDocument": document.as_item()})
                for document in self.documents
            ),
        ]
