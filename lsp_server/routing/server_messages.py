"""Rewrites a wrapped server's requests and notifications: those with its ids or tokens, and registrations.

All other messages go to the editor as the bytes that were received.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Envelope, Json
from lsp_server.protocol import capabilities
from lsp_server.protocol.editor_link import EditorLink
from lsp_server.servers.id_mapping import Left
from lsp_server.servers.server import WrappedServer


class _Registration(msgspec.Struct, rename="camel"):
    id: str
    method: str
    register_options: Any = None


class _Token(msgspec.Struct):
    token: int | str


class _Cancel(msgspec.Struct):
    id: int | str


class _Progress(msgspec.Struct):
    token: int | str
    value: msgspec.Raw


class _ProgressValue(msgspec.Struct):
    kind: str


Rewrite = Callable[[WrappedServer, bytes, Envelope], bytes]


def for_editor(server: WrappedServer, body: bytes, envelope: Envelope) -> bytes:
    """Return a server's request or notification as the editor gets it."""
    rewrite = REWRITES.get(str(envelope.method))
    if rewrite is not None:
        return rewrite(server, body, envelope)
    if envelope.is_request:
        return wire.with_id(body, server.names.ask(wire.id_of(envelope), str(envelope.method)))
    return body


def is_anothers_progress(server: WrappedServer, envelope: Envelope, others: Iterable[WrappedServer]) -> bool:
    """Whether another server already reports on the token of this $/progress.

    The editor expects one begin and one end.
    """
    params = wire.read(wire.params_of(envelope), _Progress)
    names, kind = server.names, _kind(params.value)
    if names.known_token(params.token) is not None:
        return False
    if kind == "begin" and any(other.names.reports_on(params.token) for other in others if other is not server):
        names.editors_token_began(params.token, unseen=True)
    unseen = names.is_unseen(params.token)
    if unseen and kind == "end":
        names.editors_token_ended(params.token)
    return unseen


def take_back(server: WrappedServer, left: Left, editor: EditorLink) -> None:
    """End the progress, requests and registrations that a process had in the editor when it ended."""
    for token in left.tokens:
        editor.notify("$/progress", {"token": token, "value": {"kind": "end"}})
    for ours in left.asked:
        editor.notify("$/cancelRequest", {"id": ours})
    if left.registrations:
        taken = [{"id": id, "method": method} for id, method in left.registrations]
        id = server.names.ask("unregister", "client/unregisterCapability")
        server.names.answered(id)  # the response is ignored
        editor.send(wire.request(id, "client/unregisterCapability", {"unregisterations": taken}))


def _registering(server: WrappedServer, body: bytes, envelope: Envelope) -> bytes:
    registrations: list[Json] = []
    for each in _elements(envelope, "registrations"):
        given = wire.read(wire.raw(each), _Registration)
        ours, options = server.names.registration(given.id), given.register_options
        server.names.register(ours, given.method)
        server.announced.registered[ours] = given.method, options
        own = {"registerOptions": capabilities.with_resolve(options)} if given.method == capabilities.COMPLETION else {}
        registrations.append({**each, "id": ours, **own})
    return _asked(server, body, envelope, {**_params(envelope), "registrations": registrations})


def _unregistering(server: WrappedServer, body: bytes, envelope: Envelope) -> bytes:
    unregistrations: list[Json] = []
    for each in _elements(envelope, "unregisterations"):  # the specification's own spelling
        ours = server.names.registration(wire.read(wire.raw(each), _Registration).id)
        server.names.unregister(ours)
        server.announced.registered.pop(ours, None)
        unregistrations.append({**each, "id": ours})
    return _asked(server, body, envelope, {**_params(envelope), "unregisterations": unregistrations})


def _elements(envelope: Envelope, name: str) -> list[dict[str, msgspec.Raw]]:
    """Return the objects of an array in the params. Raises Malformed."""
    return wire.read(_params(envelope).get(name, msgspec.Raw(b"[]")), list[dict[str, msgspec.Raw]])


def _params(envelope: Envelope) -> dict[str, msgspec.Raw]:
    return wire.fields(wire.params_of(envelope))


def _progress_created(server: WrappedServer, body: bytes, envelope: Envelope) -> bytes:
    token = server.names.token(wire.read(wire.params_of(envelope), _Token).token)
    return _asked(server, body, envelope, {**_params(envelope), "token": token})


def _progress(server: WrappedServer, body: bytes, envelope: Envelope) -> bytes:
    params = wire.read(wire.params_of(envelope), _Progress)
    theirs, kind = params.token, _kind(params.value)
    ours = server.names.known_token(theirs)
    if ours is None:  # a token that the editor made
        if kind == "begin":
            server.names.editors_token_began(theirs)
        elif kind == "end":
            server.names.editors_token_ended(theirs)
        return body
    if kind == "end":
        server.names.token_ended(theirs)
    return wire.dumps({**wire.fields(body), "params": {**_params(envelope), "token": ours}})


def _kind(value: msgspec.Raw) -> str:
    """Return the kind of a progress value; "" for a partial result, which may be any value."""
    try:
        return wire.read(value, _ProgressValue).kind
    except wire.Malformed:
        return ""


def _cancelled(server: WrappedServer, body: bytes, envelope: Envelope) -> bytes:
    ours = server.names.asked_as(wire.read(wire.params_of(envelope), _Cancel).id)
    return body if ours is None else wire.notification("$/cancelRequest", {"id": ours})


def _asked(server: WrappedServer, body: bytes, envelope: Envelope, params: Json) -> bytes:
    ours = server.names.ask(wire.id_of(envelope), str(envelope.method))
    return wire.dumps({**wire.fields(body), "id": ours, "params": params})


REWRITES: Mapping[str, Rewrite] = {
    "client/registerCapability": _registering,
    "client/unregisterCapability": _unregistering,
    "window/workDoneProgress/create": _progress_created,
    "$/progress": _progress,
    "$/cancelRequest": _cancelled,
}
