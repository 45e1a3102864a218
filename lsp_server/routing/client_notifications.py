"""The editor's notifications: what each wrapped server and the ranker hear of them. A table for those that are read.

Documents are followed here too. Bytes go on first: following costs time on long texts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import msgspec

from lsp_server.documents import notebooks, synchronisation
from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Json
from lsp_server.protocol import capabilities
from lsp_server.servers.pool import document_of
from lsp_server.servers.wrapped_server import State

if TYPE_CHECKING:
    from lsp_server.session.session import Session

OPEN, CHANGE, CLOSE, SAVE = (f"textDocument/did{name}" for name in ("Open", "Change", "Close", "Save"))
FOLLOWED = frozenset(
    (OPEN, CHANGE, *(notebooks.PREFIX + name for name in ("didOpen", "didChange")))
)  # they say what a text is
FOLLOWED_BY_RANKER = frozenset(
    (OPEN, CHANGE, CLOSE, SAVE, "workspace/didChangeWatchedFiles", "workspace/didChangeWorkspaceFolders")
)


def pass_on(session: Session, method: str, body: bytes, params: msgspec.Raw) -> None:
    """Send one notification on, and take in what it says."""
    one = session.fleet.one
    read = READ.get(method, _document if method.startswith(("textDocument/", notebooks.PREFIX)) else _everyone)
    if one is not None and read is _document:  # as it came, before anything is read of it
        if method == CHANGE:
            one.tell_change(lambda: str(document_of(wire.loads(params))), body)
        else:
            one.tell(body)
    read(session, method, body, params)
    if method == CHANGE:
        session.ranker.forward_change(lambda: str(document_of(wire.loads(params))), body)
    elif method in FOLLOWED_BY_RANKER:
        session.ranker.forward(body)


def _everyone(session: Session, method: str, body: bytes, params: msgspec.Raw) -> None:
    for server in session.fleet:
        server.tell(body)


def _initialized(session: Session, method: str, body: bytes, params: msgspec.Raw) -> None:
    if session.fleet.one is not None:
        session.fleet.one.tell(body)  # several servers each hear it when they have started


def _configuration(session: Session, method: str, body: bytes, params: msgspec.Raw) -> None:
    given = wire.loads(params)
    settings = given.get("settings") if isinstance(given, dict) else None
    if isinstance(settings, dict) and capabilities.KEY in settings:
        session.configure(settings.pop(capabilities.KEY), trusted=False)
        session.ranker.configure(session.settings)
        body = wire.dumps({**wire.fields(body), "params": {**given, "settings": settings}})
    session.configuration = body
    _everyone(session, method, body, params)


def _folders(session: Session, method: str, body: bytes, params: msgspec.Raw) -> None:
    session.change_folders(wire.loads(params).get("event") or {})  # for servers and rankers that start later
    _everyone(session, method, body, params)


def _progress_cancelled(session: Session, method: str, body: bytes, params: msgspec.Raw) -> None:
    given = wire.loads(params)
    for server in session.fleet:
        theirs = server.names.token_of(given.get("token"))
        if theirs is not None:
            server.tell(wire.notification(method, {**given, "token": theirs}))
            return
    _everyone(session, method, body, params)


def _document(session: Session, method: str, body: bytes, params: msgspec.Raw) -> None:
    """Of a document or notebook: to its servers, each as it wants it, and into our own copy."""
    several = session.fleet.one is None
    if not several and method not in FOLLOW and not method.startswith(notebooks.PREFIX):
        return
    given = wire.loads(params)
    if method.startswith(notebooks.PREFIX):
        _notebook(session, method, body, given)
    else:
        _text(session, method, body, given)


def _text(session: Session, method: str, body: bytes, params: Json, *, cell: bool = False) -> None:
    """Of one text: on to its servers, into our copy, and as a whole to those that want it so."""
    several = session.fleet.one is None
    if several and method == OPEN:
        body, params = _named_by_us(session, body, params)
    if several:
        _to_servers(session, method, body, params, cell=cell)
    if method in FOLLOW:
        FOLLOW[method](session, params)
    if several and method == CHANGE:
        _whole_text(session, params)


def _named_by_us(session: Session, body: bytes, params: Json) -> tuple[bytes, Json]:
    """A didOpen whose languageId some server knows: editors have names of their own ("js"), and then a file's name tells."""
    item = params["textDocument"]
    language_id = session.fleet.known_id(item.get("languageId", ""), str(item.get("uri")))
    if language_id == item.get("languageId"):
        return body, params
    params = {**params, "textDocument": {**item, "languageId": language_id}}
    return wire.dumps({**wire.fields(body), "params": params}), params


def _to_servers(session: Session, method: str, body: bytes, params: Json, *, cell: bool = False) -> None:
    uri = document_of(params)
    language_id = params["textDocument"].get("languageId") if method == OPEN else session.fleet.language_of(str(uri))
    for server in session.fleet:
        if not server.handles(language_id) or (cell and server.knows_notebooks):
            continue
        if method == CHANGE and server.sync_kind != synchronisation.INCREMENTAL:
            continue  # after it has been taken in
        if method == CHANGE:
            server.tell_change(lambda: str(uri), body)
        elif method == SAVE:
            document = session.documents.get(str(uri))
            server.tell(synchronisation.saved(body, params, server.capabilities, document))
        else:
            server.tell(body)


def _whole_text(session: Session, params: Json) -> None:
    document = session.documents.get(params["textDocument"]["uri"])
    if document is None:
        return
    for server in session.fleet.of_document(document.uri):
        if server.state is State.RUNNING and server.sync_kind == synchronisation.FULL:
            server.tell_change(lambda: document.uri, document.whole_change(params))


def _notebook(session: Session, method: str, body: bytes, params: Json) -> None:
    session.notebooks.follow(method, params)
    if session.fleet.one is None:
        for server in session.fleet:
            if server.knows_notebooks:
                server.tell(body)
    for name, event in notebooks.text_events(method, params):
        told = wire.notification(name, event)
        _text(session, name, told, event, cell=True)
        if name == CHANGE:
            session.ranker.forward_change(lambda event=event: str(document_of(event)), told)
        else:
            session.ranker.forward(told)


def _opened(session: Session, params: Json) -> None:
    session.documents.did_open(params)
    _forget_changes(session, params)
    session.fleet.opened(params["textDocument"].get("languageId", ""))


def _closed(session: Session, params: Json) -> None:
    session.documents.did_close(params)
    _forget_changes(session, params)
    session.fleet.closed()


def _forget_changes(session: Session, params: Json) -> None:
    uri = params["textDocument"]["uri"]
    session.ranker.forget_changes(uri)
    for server in session.fleet:
        server.forget_changes(uri)


FOLLOW: Mapping[str, Callable[[Session, Json], None]] = {
    OPEN: _opened,
    CHANGE: lambda session, params: session.documents.did_change(params),
    CLOSE: _closed,
}
READ: Mapping[str, Callable[[Session, str, bytes, msgspec.Raw], None]] = {
    "initialized": _initialized,
    "workspace/didChangeConfiguration": _configuration,
    "workspace/didChangeWorkspaceFolders": _folders,
    "window/workDoneProgress/cancel": _progress_cancelled,
}
