"""Handles the editor's notifications: forwards them to servers and to the ranker, and updates the session's state.

A notification is forwarded before our own copy is updated, because updating large documents is slow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from lsp_server.documents import messages, notebooks
from lsp_server.documents.editor_state import EditorState
from lsp_server.documents.texts import CHANGE, CLOSE, OPEN
from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Json
from lsp_server.protocol import capabilities
from lsp_server.protocol.capabilities import document_of
from lsp_server.routing.mode import Mode
from lsp_server.servers.pool import Pool

# These contain the text of a document.
TEXTS = frozenset((OPEN, CHANGE, *(notebooks.PREFIX + name for name in ("didOpen", "didChange"))))
# The other LSP notifications that are forwarded.
PASSED_ON = frozenset((
    "$/setTrace", "$/progress", "notebookDocument/didSave", "textDocument/willSave", "textDocument/didSave",
    *(f"workspace/did{name}Files" for name in ("ChangeWatched", "Create", "Delete", "Rename")),
))  # fmt: skip
FOR_RANKER = frozenset((OPEN, CLOSE, "workspace/didChangeWatchedFiles", "workspace/didChangeWorkspaceFolders"))


class RankerLink(Protocol):
    """Sends notifications about documents to the ranker."""

    def forward(self, body: bytes) -> None: ...
    def forward_change(self, uri: Callable[[], str], body: bytes) -> None: ...
    def forget_changes(self, uri: str) -> None: ...


class Notifications:
    """`configure` applies Starling's own section of the editor's configuration."""

    def __init__(
        self, mode: Mode, pool: Pool, *, state: EditorState, ranker: RankerLink, configure: Callable[[Json], None]
    ) -> None:
        self._mode, self._pool, self._state, self._ranker, self._configure = mode, pool, state, ranker, configure
        self._special: Mapping[str, Callable[[str, bytes, msgspec.Raw], None]] = {
            "initialized": self._initialized,
            "workspace/didChangeConfiguration": self._configuration,
            "workspace/didChangeWorkspaceFolders": self._folders,
            "window/workDoneProgress/cancel": self._progress_cancelled,
            "$/setTrace": self._traced,
        }

    def take(self, method: str, body: bytes, params: msgspec.Raw) -> None:
        """Forward one notification, and update the session's state."""
        if method in self._special:
            self._special[method](method, body, params)
        elif method.startswith(("textDocument/", notebooks.PREFIX)):
            self._mode.sent_first(method, body, params)
            self._of_document(method, body, params)
        else:
            self._mode.tell(method, body, params)
        if method == CHANGE:
            self._ranker.forward_change(lambda: str(document_of(wire.loads(params))), body)
        elif method in FOR_RANKER:
            self._ranker.forward(body)

    def _initialized(self, method: str, body: bytes, params: msgspec.Raw) -> None:
        self._mode.initialized(body)

    def _configuration(self, method: str, body: bytes, params: msgspec.Raw) -> None:
        given = wire.loads(params)
        settings = given.get("settings") if wire.is_object(given) else None
        if wire.is_object(settings) and capabilities.KEY in settings:
            self._configure(settings.pop(capabilities.KEY))
            body = wire.dumps({**wire.fields(body), "params": {**given, "settings": settings}})
        self._state.configuration = body
        self._mode.tell(method, body, params)

    def _folders(self, method: str, body: bytes, params: msgspec.Raw) -> None:
        self._state.change_folders(
            messages.params_of(method, params)["event"]
        )  # for servers and rankers that start later
        self._mode.tell(method, body, params)

    def _traced(self, method: str, body: bytes, params: msgspec.Raw) -> None:
        given = wire.fields(params)
        if "value" in given:
            self._state.server_params["trace"] = given["value"]  # for servers that start later
        self._mode.tell(method, body, params)

    def _progress_cancelled(self, method: str, body: bytes, params: msgspec.Raw) -> None:
        given = messages.params_of(method, params)
        for server in self._pool:
            theirs = server.names.token_of(given.get("token"))
            if theirs is not None:
                server.tell(wire.notification(method, {**given, "token": theirs}))
                return
        self._mode.tell(method, body, params)

    def _of_document(self, method: str, body: bytes, params: msgspec.Raw) -> None:
        given = messages.params_of(method, params)
        if not method.startswith(notebooks.PREFIX):
            self._of_text(method, body, given)
            return
        self._state.notebooks.follow(method, given)
        self._mode.notebook(body)
        for name, event in notebooks.text_events(method, given):
            told = wire.notification(name, event)
            self._of_text(name, told, event, cell=True)
            if name == CHANGE:
                self._ranker.forward_change(lambda event=event: str(document_of(event)), told)
            else:
                self._ranker.forward(told)

    def _of_text(self, method: str, body: bytes, params: Json, *, cell: bool = False) -> None:
        """Forward a notification about one text, update our copy, then do what needs the updated copy."""
        if method == OPEN:
            body, params = self._mode.opening(body, params)
        self._mode.text(method, body, params, cell=cell)
        documents = self._state.documents
        if method == OPEN:
            documents.did_open(params)
        elif method == CHANGE:
            documents.did_change(params)
        elif method == CLOSE:
            documents.did_close(params)
        if method in (OPEN, CLOSE):
            self._forget_changes(params["textDocument"]["uri"])
        self._mode.followed(method, params)

    def _forget_changes(self, uri: str) -> None:
        self._ranker.forget_changes(uri)
        for server in self._pool:
            server.forget_changes(uri)
