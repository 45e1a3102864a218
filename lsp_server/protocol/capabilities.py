"""The changes that Starling makes to initialize and to registrations. Pure functions; everything else stays raw."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import msgspec

from lsp_server import __version__
from lsp_server.documents.positions import ENCODINGS, Encoding
from lsp_server.jsonrpc import wire
from lsp_server.jsonrpc.wire import Json

COMPLETION = "textDocument/completion"
KEY = "starling"


def server_params(params: msgspec.Raw, *, encodings: Sequence[Encoding] = ()) -> dict[str, msgspec.Raw]:
    """Return the client's initialize params as a wrapped server gets them. Only what Starling changes is decoded.

    Starling's own key is removed from initializationOptions. `processId` becomes our process id: the wrapped server
    watches this process and ends with it, even if its stdin stays open. A null stays null: it means that the two sides
    can't see each other's processes (containers). `encodings` replaces the position encodings that the client offers.
    """
    given = wire.fields(params)
    if bytes(given.get("processId", b"")).strip() != b"null":
        given["processId"] = wire.raw(os.getpid())
    if "initializationOptions" in given:
        options = wire.loads(given["initializationOptions"])
        if isinstance(options, dict) and KEY in options:
            del options[KEY]
            given["initializationOptions"] = wire.raw(options)
    if encodings:
        offered = dict(wire.loads(given.get("capabilities", msgspec.Raw(b"{}"))) or {})
        offered["general"] = {**(offered.get("general") or {}), "positionEncodings": list(encodings)}
        offered.pop("offsetEncoding", None)
        given["capabilities"] = wire.raw(offered)
    return given


def announced(result: Json) -> Json:
    """Return the wrapped server's initialize result with Starling's additions."""
    result = dict(wire.as_object(result))
    capabilities = dict(wire.as_object(result.get("capabilities")))
    if "completionProvider" in capabilities:
        capabilities["completionProvider"] = with_resolve(capabilities["completionProvider"])
    experimental = capabilities.get("experimental")
    if experimental is None or wire.is_object(experimental):
        capabilities["experimental"] = {**wire.as_object(experimental), KEY: {"version": __version__, "rank": True}}
    return {**result, "capabilities": capabilities}


def with_resolve(provider: Json) -> Json:
    """Return completion options that announce resolve: Starling answers it even if the wrapped server can't."""
    return {**wire.as_object(provider), "resolveProvider": True}


def resolves(provider: Json) -> bool:
    return bool(wire.as_object(provider).get("resolveProvider"))


def encoding_of(result: Json) -> Encoding:
    """Return the position encoding that the wrapped server chose; utf-16 if it names none (LSP 3.17)."""
    chosen = at(result, "capabilities", "positionEncoding")
    return chosen if chosen in ENCODINGS else "utf-16"


def at(value: Json, *path: str) -> Any:
    """Return the value at a path in nested JSON objects; None if the path does not exist."""
    found = value
    for key in path:
        if not wire.is_object(found):
            return None
        found = found.get(key)
    return found


def document_of(params: Json) -> str | None:
    """Return the document's URI in a request's params: in `textDocument`, in a hierarchy's `item`, or in `uri`."""
    for path in (("textDocument", "uri"), ("item", "uri"), ("uri",)):
        uri = at(params, *path)
        if isinstance(uri, str):
            return uri
    return None
