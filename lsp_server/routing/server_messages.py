"""Messages that a wrapped server sends on its own: the few that carry its own names, or say what it can do.

Everything else goes to the editor as the bytes it came as.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Envelope, Json
from lsp_server.protocol import capabilities

if TYPE_CHECKING:
    from lsp_server.servers.wrapped_server import Wrapped
    from lsp_server.session.session import Session

Rewrite = Callable[["Session", "Wrapped", bytes, Envelope], bytes]


def for_client(session: Session, server: Wrapped, body: bytes, envelope: Envelope) -> bytes:
    """A server's request or notification as the editor gets it."""
    rewrite = REWRITES.get(str(envelope.method))
    if rewrite is not None:
        return rewrite(session, server, body, envelope)
    if envelope.is_request:
        return wire.with_id(body, server.names.ask(wire.id_of(envelope), str(envelope.method)))
    return body


def _registering(session: Session, server: Wrapped, body: bytes, envelope: Envelope) -> bytes:
    params = wire.loads(wire.params_of(envelope))
    for registration in params.get("registrations", ()):
        ours = server.names.registration(registration["id"])
        registration["id"] = ours
        method, options = registration["method"], registration.get("registerOptions")
        server.names.register(ours, method)
        server.registered[ours] = method, options
        if method == capabilities.COMPLETION:
            options = registration["registerOptions"] = capabilities.with_resolve(options)
        if session.fleet.one is None and method.startswith("textDocument/") and isinstance(options, dict | None):
            # With no selector it would be registered for every document, those of other servers too.
            selector = (options or {}).get("documentSelector") or session.selector(server)
            registration["registerOptions"] = {**(options or {}), "documentSelector": selector}
    return _asked(server, body, envelope, params)


def _unregistering(session: Session, server: Wrapped, body: bytes, envelope: Envelope) -> bytes:
    params = wire.loads(wire.params_of(envelope))
    for unregistration in params.get("unregisterations", ()):  # the specification's own spelling
        unregistration["id"] = server.names.registration(unregistration["id"])
        server.names.unregister(unregistration["id"])
        server.registered.pop(unregistration["id"], None)
    return _asked(server, body, envelope, params)


def _progress_created(session: Session, server: Wrapped, body: bytes, envelope: Envelope) -> bytes:
    params = wire.loads(wire.params_of(envelope))
    return _asked(server, body, envelope, {**params, "token": server.names.token(params["token"])})


def _progress(session: Session, server: Wrapped, body: bytes, envelope: Envelope) -> bytes:
    params = wire.fields(wire.params_of(envelope))
    theirs = wire.loads(params["token"])
    ours = server.names.known_token(theirs)
    if ours is None:  # a token that the client made
        return body
    if capabilities.at(wire.loads(params.get("value", b"null")), "kind") == "end":
        server.names.token_ended(theirs)
    return wire.dumps({**wire.fields(body), "params": {**params, "token": ours}})


def _cancelled(session: Session, server: Wrapped, body: bytes, envelope: Envelope) -> bytes:
    ours = server.names.asked_as(wire.loads(wire.params_of(envelope)).get("id"))
    return body if ours is None else wire.notification("$/cancelRequest", {"id": ours})


def _diagnostics(session: Session, server: Wrapped, body: bytes, envelope: Envelope) -> bytes:
    if session.fleet.one is not None:
        return body
    params = wire.fields(wire.params_of(envelope))
    if len(session.fleet.of_document(wire.loads(params["uri"]))) < 2:
        return body
    return session.diagnostics.published(server.key, params)


def _asked(server: Wrapped, body: bytes, envelope: Envelope, params: Json) -> bytes:
    ours = server.names.ask(wire.id_of(envelope), str(envelope.method))
    return wire.dumps({**wire.fields(body), "id": ours, "params": params})


REWRITES: Mapping[str, Rewrite] = {
    "client/registerCapability": _registering,
    "client/unregisterCapability": _unregistering,
    "window/workDoneProgress/create": _progress_created,
    "$/progress": _progress,
    "$/cancelRequest": _cancelled,
    "textDocument/publishDiagnostics": _diagnostics,
}
